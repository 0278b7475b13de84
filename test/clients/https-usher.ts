import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { dataPaths } from '../../src/data-dir.ts';
import { localPair, openAuthority } from '../../src/tls/local-authority.ts';
import { trustAlso } from '../../src/tls/trust.ts';
import { startTestApp, type TestApp } from '../http/test-app.ts';

/** The test API over HTTPS, which is all that Auth0's clients speak. */
export interface HttpsUsher<A extends TestApp = TestApp> {
  app: A;
  /** Host and port: what a client of Auth0 is given as its domain. */
  domain: string;
  /** For the `NODE_EXTRA_CA_CERTS` of other programs. */
  caFile: string;
  /** Every request so far, with what the client says that it is: `node-auth0 7.1.0`. */
  asked: { client: string; method: string; path: string }[];
  close(): Promise<void>;
}

/** Starts it; this process trusts its certificate from then on, as with `NODE_EXTRA_CA_CERTS`. */
export async function startHttpsUsher(): Promise<HttpsUsher> {
  return await serveOverHttps(await startTestApp());
}

/** The same for an app that was started already; it is closed with it. */
export async function serveOverHttps<A extends TestApp>(app: A): Promise<HttpsUsher<A>> {
  const folder = await mkdtemp(join(tmpdir(), 'usher-clients-'));
  const { tls } = dataPaths(folder);
  const authority = await openAuthority(tls);
  trustAlso([authority.certificate]);
  const asked: HttpsUsher['asked'] = [];
  const server = createServer(await localPair(authority, tls, [])(), app.express);
  server.on('request', ({ headers, method = '', url = '' }) => asked.push({ client: clientOf(headers['auth0-client']), method, path: url.split('?')[0]! }));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    app,
    caFile: tls.ca,
    asked,
    domain: `localhost:${(server.address() as AddressInfo).port}`,
    async close() {
      server.closeAllConnections();
      server.close();
      await app.close();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** Name and version, as clients of Auth0 tell them in this header; empty for others. */
function clientOf(header: string | string[] | undefined): string {
  if (typeof header !== 'string') return '';
  const { name, version } = JSON.parse(Buffer.from(header, 'base64').toString()) as { name: string; version: string };
  return `${name} ${version}`;
}
