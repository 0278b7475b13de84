import { X509Certificate } from 'node:crypto';
import tls from 'node:tls';
import { StartError } from '../start-error.ts';
import { readPem } from './certificate-pair.ts';

/**
 * The certificates of a bundle (`USHER_EXTRA_CA_CERTS`), each in PEM.
 *
 * @throws {StartError} when it cannot be read, holds none, or one of them is damaged.
 */
export async function readBundle(path: string): Promise<string[]> {
  const text = await readPem('USHER_EXTRA_CA_CERTS', path);
  const found = text.match(/-----BEGIN CERTIFICATE-----[\s\S]+?-----END CERTIFICATE-----/g) ?? [];
  if (found.length === 0) throw new StartError(`USHER_EXTRA_CA_CERTS names ${path}, which holds no certificate: give a file with one or more of them in PEM.`);
  for (const [index, certificate] of found.entries()) {
    try {
      void new X509Certificate(certificate);
    } catch (error) {
      throw new StartError(`Certificate ${index + 1} of ${found.length} in ${path} (USHER_EXTRA_CA_CERTS) cannot be read (${(error as Error).message}): replace or remove it.`, { cause: error });
    }
  }
  return found;
}

let also: string[] = [];

/** Lets every TLS connection that this process makes from now on trust these authorities beside Node's own. */
export function trustAlso(certificates: string[]): void {
  if (certificates.length === 0) return;
  also = [...also, ...certificates];
  tls.setDefaultCACertificates([...tls.getCACertificates('default'), ...certificates]);
}

/** The authorities that this process was made to trust: for processes that it starts. */
export function alsoTrusted(): string[] {
  return also;
}
