import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import type { IncomingMessage } from 'node:http';
import https from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TLSSocket } from 'node:tls';
import { afterAll } from 'vitest';
import { dataPaths, type TlsPaths } from '../../src/data-dir.ts';
import type { CertificatePair } from '../../src/tls/certificate-pair.ts';
import { localPair, openAuthority } from '../../src/tls/local-authority.ts';

/** A folder that goes with the file's tests. */
export async function testFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'usher-tls-'));
  afterAll(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

/** An authority of its own and a server's certificate under it. */
export async function testAuthority(folder: string): Promise<{ ca: string; paths: TlsPaths; pair: CertificatePair }> {
  const paths = dataPaths(folder).tls;
  const authority = await openAuthority(paths);
  return { ca: authority.certificate, paths, pair: await localPair(authority, paths, [])() };
}

/** Asks over a new connection, trusting nothing but `ca`. @throws what TLS says of the server's certificate. */
export async function askTrusting(ca: string | readonly string[], url: string): Promise<{ body: string; serialNumber: string }> {
  const request = https.get(url, { ca: [ca].flat(), agent: false });
  const [response] = (await once(request, 'response')) as [IncomingMessage];
  const { serialNumber } = (response.socket as TLSSocket).getPeerCertificate();
  let body = '';
  for await (const chunk of response) body += String(chunk);
  return { body, serialNumber };
}
