import { X509Certificate } from 'node:crypto';
import type { Server } from 'node:https';
import type { Logger } from '../logger.ts';
import type { CertificatePair, ReadPair } from './certificate-pair.ts';

/** Reading two small files: cheap, and it sees every kind of replacement (renames, swapped symbolic links, network file systems). */
const LOOK_EVERY_MS = 5_000;

/**
 * Serves new connections with the pair as it changes, until the server is closed. One that cannot be used is logged,
 * and the old one goes on.
 *
 * @param options.served the pair that the server was made with.
 */
export function followCertificate(
  server: Server,
  options: { readPair: ReadPair; served: CertificatePair; logger: Logger; everyMs?: number | undefined },
): void {
  const { readPair, logger, everyMs = LOOK_EVERY_MS } = options;
  let { served } = options;
  let problem = '';
  let told = '';

  async function look(): Promise<void> {
    try {
      const pair = await readPair();
      if (pair.cert !== served.cert || pair.key !== served.key) {
        server.setSecureContext(pair);
        served = pair;
        tell(pair, logger);
      }
      problem = told = '';
    } catch (error) {
      const { message } = error as Error;
      // Between the replacement of the one file and the other: only what is still so at the next look is a problem.
      if (message === problem && message !== told) {
        logger.error({ reason: message }, 'the new TLS certificate cannot be used; the old one goes on');
        told = message;
      }
      problem = message;
    }
  }

  async function follow(): Promise<void> {
    await look();
    if (server.listening) timer = setTimeout(() => void follow(), everyMs).unref();
  }

  let timer = setTimeout(() => void follow(), everyMs).unref();
  server.once('close', () => clearTimeout(timer));
  tell(served, logger);
}

function tell({ cert }: CertificatePair, logger: Logger): void {
  const { validTo, validToDate, subjectAltName } = new X509Certificate(cert);
  if (validToDate.getTime() > Date.now()) logger.info({ validTo, names: subjectAltName }, 'TLS certificate');
  else logger.warn({ validTo }, 'the TLS certificate has run out: clients refuse it until it is replaced');
}
