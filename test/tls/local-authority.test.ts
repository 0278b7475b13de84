import { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { readFile, rm, stat, writeFile } from 'node:fs/promises';
import https from 'node:https';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { rootCertificates } from 'node:tls';
import { afterEach, expect, test, vi } from 'vitest';
import { dataPaths } from '../../src/data-dir.ts';
import { StartError } from '../../src/start-error.ts';
import { localPair, openAuthority } from '../../src/tls/local-authority.ts';
import { askTrusting, testAuthority, testFolder } from './clients.ts';

const DAY_MS = 24 * 60 * 60 * 1000;

const folder = await testFolder();
let made = 0;
const newFolder = (): string => join(folder, String(++made));

afterEach(() => {
  vi.useRealTimers();
});

test.each(['localhost', '127.0.0.1'])('a client that trusts the authority alone accepts the server at %s, one that does not refuses it', async (host) => {
  const { ca, pair } = await testAuthority(newFolder());
  const server = https.createServer(pair, (_request, response) => response.end('hello')).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const url = `https://${host}:${(server.address() as AddressInfo).port}/`;
  expect((await askTrusting(ca, url)).body).toBe('hello');
  await expect(askTrusting(rootCertificates, url)).rejects.toThrow(/unable to verify/);
  await expect(askTrusting((await testAuthority(newFolder())).ca, url)).rejects.toThrow(/unable to verify|self-signed/);
  server.close();
});

test('the certificate has each name, the uses of a server, and the life that browsers allow', async () => {
  const paths = dataPaths(newFolder()).tls;
  const authority = await openAuthority(paths);
  const { cert, key } = await localPair(authority, paths, ['0.0.0.0', 'fe80::1%eth0', 'Usher.Example.com', '::ffff:10.0.0.1', 'not a host'])();
  const server = new X509Certificate(cert);
  const names = 'DNS:localhost, IP Address:127.0.0.1, IP Address:0:0:0:0:0:0:0:1, IP Address:0.0.0.0, IP Address:FE80:0:0:0:0:0:0:1, DNS:usher.example.com, IP Address:0:0:0:0:0:FFFF:A00:1';
  expect(server.subjectAltName).toBe(names);
  expect(server.ca).toBe(false);
  expect(server.keyUsage).toEqual(['1.3.6.1.5.5.7.3.1']);
  expect(server.validToDate.getTime() - server.validFromDate.getTime()).toBeLessThanOrEqual(397 * DAY_MS);
  expect(server.validFromDate.getTime()).toBeLessThan(Date.now());
  expect(server.checkIssued(new X509Certificate(authority.certificate))).toBe(true);
  expect(await readFile(paths.cert, 'utf8')).toBe(cert);
  expect(await readFile(paths.key, 'utf8')).toBe(key);
  expect(new X509Certificate(authority.certificate).ca).toBe(true);
});

test('the keys are their owner\'s alone, and anybody may read the authority\'s certificate', async () => {
  const { paths } = await testAuthority(newFolder());
  const modes = [paths.caKey, paths.key, paths.ca].map(async (path) => ((await stat(path)).mode & 0o777).toString(8));
  expect(await Promise.all(modes)).toEqual(['600', '600', '644']);
});

test('it stays as it is, also for two processes that make it at once', async () => {
  const paths = dataPaths(newFolder()).tls;
  const both = await Promise.all([openAuthority(paths), openAuthority(paths)]);
  expect(both[0].certificate).toBe(both[1].certificate);
  const first = await localPair(both[0], paths, [])();
  expect(await localPair(await openAuthority(paths), paths, [])()).toEqual(first);
});

test('the server\'s certificate is made anew for a further name, near its end, and when it is damaged; authority and key stay', async () => {
  const { ca, paths, pair } = await testAuthority(newFolder());
  const read = async (hosts: string[] = []) => await localPair(await openAuthority(paths), paths, hosts)();
  const named = await read(['usher.example.com']);
  expect(named.cert).not.toBe(pair.cert);
  expect(new X509Certificate(named.cert).checkHost('usher.example.com')).toBe('usher.example.com');
  // A name more does no harm.
  expect(await read()).toEqual(named);

  vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 364 * DAY_MS });
  expect(await read()).toEqual(named);
  vi.setSystemTime(Date.now() + 3 * DAY_MS);
  const renewed = await read();
  expect(new X509Certificate(renewed.cert).validToDate.getTime()).toBeGreaterThan(Date.now() + 390 * DAY_MS);

  await writeFile(paths.cert, 'damaged');
  const mended = await read();
  expect(new X509Certificate(mended.cert).checkHost('localhost')).toBe('localhost');
  expect([named, renewed, mended].map(({ key }) => key)).toEqual([pair.key, pair.key, pair.key]);
  expect((await openAuthority(paths)).certificate).toBe(ca);
});

test('an authority that cannot sign is told, and what that means for the clients', async () => {
  const damaged = await testAuthority(newFolder());
  await writeFile(damaged.paths.caKey, 'canary');
  const keyless = await testAuthority(newFolder());
  await rm(keyless.paths.caKey);
  const other = await testAuthority(newFolder());
  await writeFile(other.paths.ca, keyless.ca);
  const advice = /remove the folder .+\/tls and start again for a new one, which your clients then have to be told/;
  for (const { paths } of [damaged, keyless, other]) {
    const error = await openAuthority(paths).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(StartError);
    expect((error as Error).message).toMatch(advice);
    expect((error as Error).message).not.toContain('canary');
  }
  const { paths } = await testAuthority(newFolder());
  vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 3640 * DAY_MS });
  await expect(openAuthority(paths)).rejects.toThrow(/ends on/);
});
