import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { readFile, stat, writeFile } from 'node:fs/promises';
import https from 'node:https';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import tls, { rootCertificates } from 'node:tls';
import { promisify } from 'node:util';
import { afterAll, afterEach, expect, test } from 'vitest';
import { createManagementClient, type ManagementClient } from '../../examples/management-client.ts';
import { readRunning } from '../../examples/start-usher.ts';
import { apiOf, NO_TEMPORAL, plainEnv, signUp, spawnUsher, type UsherProcess } from '../e2e/usher-process.ts';
import { askTrusting, testAuthority, testFolder } from './clients.ts';

const folder = await testFolder();
const dataDir = join(folder, 'data');
const receiver = await testAuthority(join(folder, 'receiver'));
const server = https.createServer(receiver.pair, (_request, response) => response.end('received')).listen(0, '127.0.0.1');
await once(server, 'listening');
const receiverPort = (server.address() as AddressInfo).port;
afterAll(() => server.close());

let usher: UsherProcess | undefined;
afterEach(async () => {
  if (usher !== undefined) await end(usher);
});

async function start(args: string[], env: Record<string, string> = {}): Promise<UsherProcess> {
  usher = spawnUsher({ args, env: { ...NO_TEMPORAL, USHER_PORT: '0', USHER_DATA_DIR: dataDir, ...env } });
  // The last line: what stands above it is asked for.
  await usher.prints(args.includes('--role') ? 'is ready' : '  Sign up    ');
  return usher;
}

async function end({ child, ended }: UsherProcess): Promise<void> {
  usher = undefined;
  if (child.exitCode === null && child.signalCode === null) child.kill('SIGTERM');
  expect(await ended()).toBe(0);
}

/** Lets this process's `fetch` trust it from now on, as the examples do with `running.json`. */
function trust(ca: string): void {
  tls.setDefaultCACertificates([...tls.getCACertificates('default'), ca]);
}

/** Binds a pre-user-registration Action that puts into the sign-up's answer what the address answers. */
async function bindFetch(management: ManagementClient, name: string, urls: string[]): Promise<void> {
  const code = `exports.onExecutePreUserRegistration = async (event, api) => {
    const answers = [];
    for (const url of ${JSON.stringify(urls)}) {
      answers.push(await fetch(url).then((response) => response.status, (error) => error.cause?.message ?? error.message));
    }
    api.access.deny('told', answers.join('; '));
  };`;
  await management.bind('pre-user-registration', [await management.deployAction({ name, triggerId: 'pre-user-registration', code })]);
}

test('`--https` serves HTTPS to whoever trusts the authority that it names, and its Actions trust that and the extra ones', async () => {
  const running = await start(['--https'], { USHER_EXTRA_CA_CERTS: receiver.paths.ca, USHER_PUBLIC_URL: 'https://usher.example.com' });
  const api = apiOf(running);
  expect(api).toMatch(/^https:\/\/127\.0\.0\.1:\d+$/);
  expect(running.stdout()).toContain('  Public     https://usher.example.com\n');
  const [, caFile = ''] = /^ {2}Trust +NODE_EXTRA_CA_CERTS=(\S+)$/m.exec(running.stdout()) ?? [];
  expect(caFile).toBe(join(dataDir, 'tls', 'ca.pem'));
  const ca = await readFile(caFile, 'utf8');

  const local = api.replace('127.0.0.1', 'localhost');
  for (const url of [api, local]) expect(JSON.parse((await askTrusting(ca, `${url}/healthz`)).body)).toEqual({ status: 'ok' });
  await expect(askTrusting(rootCertificates, `${local}/healthz`)).rejects.toThrow(/unable to verify|self-signed certificate/);
  const client = ['-e', `fetch('${local}/healthz').then((r) => console.log(r.status), (e) => console.log(e.cause.code))`];
  const fetched = async (env: Record<string, string>) => (await promisify(execFile)(process.execPath, client, { env: { ...plainEnv(), ...env } })).stdout.trim();
  expect(await fetched({ NODE_EXTRA_CA_CERTS: caFile })).toBe('200');
  expect(await fetched({})).toBe('SELF_SIGNED_CERT_IN_CHAIN');
  const [, command = ''] = /^ {2}Sign up +(curl .+)$/m.exec(running.stdout()) ?? [];
  expect(JSON.parse((await promisify(execFile)('sh', ['-c', `${command} -s`])).stdout)).toMatchObject({ email: 'ada@example.com' });

  const { clientId, clientSecretFile } = await readRunning(dataDir);
  const management = await createManagementClient({ api, clientId, clientSecret: await readFile(clientSecretFile, 'utf8') });
  await bindFetch(management, 'Ask', [`https://localhost:${receiverPort}/`, `${local}/healthz`]);
  expect((await signUp(api, 'trust@example.com')).body).toMatchObject({ error_description: '200; 200' });
});

test('`--role api --https` keeps the authority, and opens to Actions its own address but no other port beside it', async () => {
  const { ino } = await stat(join(dataDir, 'tls', 'cert.pem'));
  const ca = await readFile(join(dataDir, 'tls', 'ca.pem'), 'utf8');
  const running = await start(['--role', 'api', '--https'], { USHER_EXTRA_CA_CERTS: receiver.paths.ca });
  expect(running.stderr()).toContain(`"NODE_EXTRA_CA_CERTS":"${join(dataDir, 'tls', 'ca.pem')}"`);
  const api = apiOf(running);
  expect((await askTrusting(ca, `${api}/healthz`)).body).toContain('ok');
  expect((await stat(join(dataDir, 'tls', 'cert.pem'))).ino).toBe(ino);

  trust(ca);
  const { clientId } = JSON.parse(/\{.*"clientId":.*\}/.exec(running.stderr())![0]) as { clientId: string };
  const management = await createManagementClient({ api, clientId, clientSecret: await readFile(join(dataDir, 'client-secret'), 'utf8') });
  await bindFetch(management, 'Look around', [`${api}/healthz`, `${api.replace('127.0.0.1', 'localhost')}/healthz`, `https://localhost:${receiverPort}/`]);
  expect((await signUp(api, 'own@example.com')).body['error_description']).toMatch(/^200; 200; Connecting to localhost \([^)]+, loopback\) is refused/);
});

test('a certificate of one\'s own is served', async () => {
  const running = await start(['--role', 'api'], { USHER_TLS_CERT: receiver.paths.cert, USHER_TLS_KEY: receiver.paths.key });
  expect((await askTrusting(receiver.ca, `${apiOf(running)}/healthz`)).body).toContain('ok');
});

test('what is wrong with certificates ends the start with one line that says what to do', async () => {
  const broken = join(folder, 'broken.pem');
  await writeFile(broken, 'nothing');
  const own = { USHER_TLS_CERT: receiver.paths.cert, USHER_TLS_KEY: receiver.paths.key };
  const starts: [string[], Record<string, string>, RegExp][] = [
    [[], { ...own, USHER_TLS_KEY: broken }, /cannot be used together/],
    [[], { USHER_EXTRA_CA_CERTS: broken }, /holds no certificate: give a file/],
    [['--role', 'worker'], { USHER_EXTRA_CA_CERTS: broken }, /holds no certificate: give a file/],
    [['--https'], own, /^--https makes a certificate, and USHER_TLS_CERT names one: use one of the two\.$/],
  ];
  await Promise.all(starts.map(async ([args, env, message], index) => {
    const refused = spawnUsher({ args, env: { ...NO_TEMPORAL, USHER_PORT: '0', USHER_DATA_DIR: join(folder, `refused-${index}`), ...env } });
    expect(await refused.ended()).toBe(1);
    expect(refused.said()).toEqual([expect.stringMatching(message)]);
  }));
});
