import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import https from 'node:https';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { readBundle } from '../../src/tls/trust.ts';
import { ended, runBody, testPool, texts } from '../sandbox/harness.ts';
import { testAuthority, testFolder } from './clients.ts';

const folder = await testFolder();
const one = await testAuthority(join(folder, 'one'));
const two = await testAuthority(join(folder, 'two'));
const bundle = join(folder, 'bundle.pem');
await writeFile(bundle, `# Our own\n${one.ca}\n${two.ca}`);
const server = https.createServer(two.pair, (_request, response) => response.end('secure')).listen(0, '127.0.0.1');
await once(server, 'listening');
const event = { port: (server.address() as AddressInfo).port };
afterAll(() => server.close());

const FETCH = `console.log(await (await fetch('https://localhost:' + event.port)).text());`;
const TLS = `await new Promise((done, fail) => { const s = require('tls').connect(event.port, 'localhost', () => { console.log(s.authorized); s.destroy(); done(); }).on('error', fail); });`;

test('an Action trusts the authorities of the bundle', async () => {
  const pool = await testPool({ trustedCertificates: await readBundle(bundle) });
  expect(texts(ended(await runBody(pool, FETCH, { event }), 'succeeded'))).toEqual(['secure']);
  expect(texts(ended(await runBody(pool, TLS, { event }), 'succeeded'))).toEqual(['true']);
  // Beside the usual ones.
  const roots = `const { getCACertificates, rootCertificates } = require('tls'); const bare = (pem) => pem.replace(/\\s/g, ''); const all = new Set(getCACertificates().map(bare)); console.log(rootCertificates.every((each) => all.has(bare(each))), all.size - rootCertificates.length);`;
  expect(texts(await runBody(pool, roots, { event }))).toEqual(['true 2']);
});

test('without it the same server is refused', async () => {
  const pool = await testPool();
  expect(ended(await runBody(pool, FETCH, { event }), 'failed').error.message).toMatch(/fetch failed|unable to verify/);
});

test.each([
  ['missing.pem', null, /^USHER_EXTRA_CA_CERTS names .+missing\.pem, which cannot be read \(ENOENT\)/],
  ['empty.pem', 'no certificate', /^USHER_EXTRA_CA_CERTS names .+empty\.pem, which holds no certificate: give /],
])('a bundle that cannot be used is told: %s', async (name, text, message) => {
  if (text !== null) await writeFile(join(folder, name), text);
  await expect(readBundle(join(folder, name))).rejects.toThrow(message);
});

test('a damaged certificate of a bundle is told by its place', async () => {
  const broken = '-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n';
  await writeFile(join(folder, 'second.pem'), one.ca + broken);
  await expect(readBundle(join(folder, 'second.pem'))).rejects.toThrow(/^Certificate 2 of 2 in .+second\.pem \(USHER_EXTRA_CA_CERTS\) cannot be read \(.+\): replace or remove it/);
});
