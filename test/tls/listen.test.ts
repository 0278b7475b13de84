import { mkdir, rename, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pino } from 'pino';
import { afterEach, expect, test } from 'vitest';
import { listen, type Listening } from '../../src/roles/listen.ts';
import { type CertificatePair, ownPair } from '../../src/tls/certificate-pair.ts';
import { until } from '../e2e/until.ts';
import { askTrusting, testAuthority, testFolder } from './clients.ts';

const folder = await testFolder();
const old = await testAuthority(join(folder, 'old'));
const renewed = await testAuthority(join(folder, 'renewed'));
const either = [old.ca, renewed.ca];
const serialOf = async (address: string) => (await askTrusting(either, address.replace('127.0.0.1', 'localhost'))).serialNumber;

let opened: Listening[] = [];
afterEach(() => {
  for (const { server } of opened) {
    server.close();
    server.closeAllConnections();
  }
  opened = [];
});

let made = 0;
async function newFolder(): Promise<string> {
  const path = join(folder, `live-${++made}`);
  await mkdir(path);
  return path;
}

async function put(into: string, { cert, key }: Partial<CertificatePair>): Promise<void> {
  for (const [name, text] of Object.entries({ 'cert.pem': cert, 'key.pem': key })) {
    if (text === undefined) continue;
    await writeFile(join(into, `.${name}`), text);
    await rename(join(into, `.${name}`), join(into, name));
  }
}

async function serve(from: string): Promise<{ address: string; logged(message: string): string[] }> {
  const lines: string[] = [];
  const logger = pino({ level: 'info' }, { write: (line: string) => void lines.push(line) });
  const readPair = ownPair(join(from, 'cert.pem'), join(from, 'key.pem'));
  const app = (_request: unknown, response: { end(text: string): void }): void => response.end('hello');
  // Two looks are far more apart than the two renames of a pair.
  const listening = await listen(app, { port: 0, host: '127.0.0.1', readPair, logger, lookEveryMs: 500 });
  opened.push(listening);
  expect(listening.address).toBe(`https://127.0.0.1:${listening.port}`);
  return { address: listening.address, logged: (message) => lines.filter((line) => line.includes(message)) };
}

test('a certificate that is replaced by renames serves the next connection', async () => {
  const from = await newFolder();
  await put(from, old.pair);
  const { address, logged } = await serve(from);
  const before = await serialOf(address);
  await put(from, renewed.pair);
  await until('the new one is served', async () => (await serialOf(address)) !== before);
  await expect(askTrusting(old.ca, address)).rejects.toThrow(/unable to verify|self-signed/);
  expect((await askTrusting(renewed.ca, address)).body).toBe('hello');
  expect(logged('"level":50')).toEqual([]);
});

test('a certificate in a folder that is swapped by its symbolic link, as Kubernetes does it, serves the next connection', async () => {
  const from = await newFolder();
  for (const [name, { pair }] of Object.entries({ one: old, two: renewed })) {
    await mkdir(join(from, name));
    await put(join(from, name), pair);
  }
  await symlink('one', join(from, '..data'));
  for (const name of ['cert.pem', 'key.pem']) await symlink(join('..data', name), join(from, name));
  const { address } = await serve(from);
  const before = await serialOf(address);
  await symlink('two', join(from, '..data_tmp'));
  await rename(join(from, '..data_tmp'), join(from, '..data'));
  await until('the new one is served', async () => (await serialOf(address)) !== before);
});

test('a new pair that cannot be used is logged once and the old one goes on, until a good one comes', async () => {
  const from = await newFolder();
  await put(from, old.pair);
  const { address, logged } = await serve(from);
  const before = await serialOf(address);
  const complaint = 'the new TLS certificate cannot be used; the old one goes on';
  // A certificate whose key has not come.
  await put(from, { cert: renewed.pair.cert });
  await until('it is logged', () => logged(complaint).length === 1);
  expect(await serialOf(address)).toBe(before);
  await put(from, { cert: 'damaged' });
  await until('the next problem is logged', () => logged(complaint).length === 2);
  expect(await serialOf(address)).toBe(before);
  expect(logged('PRIVATE KEY')).toEqual([]);

  await put(from, renewed.pair);
  await until('the new one is served', async () => (await serialOf(address)) !== before);
  expect(logged(complaint)).toHaveLength(2);
});

test('at the start a pair that cannot be used is an error that names the variables and what to do', async () => {
  const from = await newFolder();
  await expect(serve(from)).rejects.toThrow(/^USHER_TLS_CERT names .+cert\.pem, which cannot be read \(ENOENT\): give the path of a PEM file/);
  await put(from, { cert: old.pair.cert });
  await expect(serve(from)).rejects.toThrow(/^USHER_TLS_KEY names .+key\.pem, which cannot be read \(ENOENT\)/);
  await put(from, { key: renewed.pair.key });
  await expect(serve(from)).rejects.toThrow(/\(USHER_TLS_CERT\) and the key .+ \(USHER_TLS_KEY\) cannot be used together \(.*mismatch\)/);
});
