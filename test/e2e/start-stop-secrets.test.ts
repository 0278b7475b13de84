import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { createManagementClient } from '../../examples/management-client.ts';
import { readRegistration } from './ledger-view.ts';
import { until } from './until.ts';
import { apiOf, NO_TEMPORAL, signUp, spawnUsher, type UsherProcess } from './usher-process.ts';

/** Nobody may ever see these again, once they were given. */
const CANARY = {
  clientSecret: 'canary-client-secret-0123456789-abcdefghij',
  masterKey: Buffer.from('canary-master-key-of-32-bytes-!!').toString('base64'),
  password: 'Canary-Password-77',
  wrongSecret: 'canary-wrong-secret-0123456789-abcdefghij',
  actionSecret: 'canary-action-secret',
  actionLog: 'canary-action-log',
  email: 'canary@example.com',
};
const GIVEN = { USHER_CLIENT_ID: 'my-client', USHER_CLIENT_SECRET: CANARY.clientSecret, USHER_MASTER_KEY: CANARY.masterKey };

let dataDir: string;
let usher: UsherProcess;

beforeEach(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'usher-secrets-'));
});
afterEach(async () => {
  await end();
  await rm(dataDir, { recursive: true, force: true });
});

async function start(env: Record<string, string>): Promise<string> {
  usher = spawnUsher({ env: { USHER_PORT: '0', USHER_DATA_DIR: dataDir, ...env } });
  await usher.prints('Usher serves sign-ups');
  return apiOf(usher);
}

async function end(): Promise<void> {
  if (usher.child.exitCode === null && usher.child.signalCode === null) usher.child.kill('SIGTERM');
  expect(await usher.ended()).toBe(0);
}

async function tokenStatus(api: string, clientId: string, secret: string): Promise<number> {
  const body = JSON.stringify({ grant_type: 'client_credentials', client_id: clientId, client_secret: secret, audience: `${api}/api/v2/` });
  return (await fetch(`${api}/oauth/token`, { method: 'POST', headers: { 'content-type': 'application/json', connection: 'close' }, body })).status;
}

function clientIdOf(stdout: string): string {
  return /^ {2}Client +(\S+)/m.exec(stdout)![1]!;
}

test('no secret, password or e-mail is ever printed or logged, nor stored where it can be read', async () => {
  const api = await start({ ...GIVEN, USHER_LOG_LEVEL: 'trace' });
  const management = await createManagementClient({ api, clientId: GIVEN.USHER_CLIENT_ID, clientSecret: CANARY.clientSecret });
  const secrets = [{ name: 'KEY', value: CANARY.actionSecret }];
  const code = `exports.onExecutePostUserRegistration = async (event) => {
    console.log(['canary', 'action', 'log'].join('-'), event.user.email);
    if (event.usher.attempt === 1) throw new Error('refused: ' + event.secrets.KEY + ' for ' + event.user.email);
  };`;
  await management.bind('post-user-registration', [await management.deployAction({ name: 'Tell all', triggerId: 'post-user-registration', code, secrets })]);
  const denying = `exports.onExecutePreUserRegistration = async (event, api) => {
    if (event.user.email.startsWith('denied')) throw new Error(event.secrets.KEY + event.user.email);
  };`;
  await management.bind('pre-user-registration', [await management.deployAction({ name: 'Ask', triggerId: 'pre-user-registration', code: denying, secrets })]);

  expect((await signUp(api, CANARY.email, CANARY.password)).status).toBe(200);
  for (const email of [CANARY.email, 'denied-canary@example.com', 'not-an-email-canary']) expect((await signUp(api, email, CANARY.password)).status).toBe(400);
  const broken = await fetch(`${api}/dbconnections/signup`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: `{"password": "${CANARY.password}", "email": ` });
  expect(broken.status).toBe(400);
  expect((await fetch(`${api}/api/v2/logs?canary-query=1`, { headers: { authorization: 'Bearer canary-token' } })).status).toBe(401);
  expect(await tokenStatus(api, GIVEN.USHER_CLIENT_ID, CANARY.wrongSecret)).toBe(401);
  await until('the Action has failed once and then succeeded', () => readRegistration(dataDir, CANARY.email)?.state === 'closed');
  expect(readRegistration(dataDir, CANARY.email)!.steps[0]!.attempts).toHaveLength(2);
  await end();

  const printed = usher.stdout() + usher.stderr();
  expect(printed).toContain('"level":"debug"');
  expect(printed.split('\n').filter((line) => /canary/i.test(line) || line.includes(CANARY.masterKey))).toEqual([]);

  // Users and Actions' code are stored readably, all the rest is sealed or hashed.
  for (const entry of await readdir(dataDir, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const content = await readFile(join(entry.parentPath, entry.name), 'latin1');
    for (const [name, canary] of Object.entries(CANARY)) {
      if (name === 'email' && entry.name.startsWith('usher.db')) continue;
      expect(content.includes(canary), `${name} in ${entry.name}`).toBe(false);
    }
  }
  expect(await readdir(dataDir)).not.toContain('master-key');
  expect(await readdir(dataDir)).not.toContain('client-secret');
});

test('the client and its secret can be given, go on without being given again, and can be replaced', async () => {
  const first = await start({ ...GIVEN, ...NO_TEMPORAL });
  expect(usher.stdout()).toContain('  Client     my-client (the secret is in USHER_CLIENT_SECRET)');
  expect(await tokenStatus(first, 'my-client', CANARY.clientSecret)).toBe(200);
  await end();

  const second = await start({ USHER_MASTER_KEY: CANARY.masterKey, ...NO_TEMPORAL });
  expect(usher.stdout()).toContain('  Client     my-client (the secret is the one given to an earlier start)');
  expect(await tokenStatus(second, 'my-client', CANARY.clientSecret)).toBe(200);
  await end();

  const third = await start({ ...GIVEN, USHER_CLIENT_SECRET: CANARY.wrongSecret, ...NO_TEMPORAL });
  expect(await tokenStatus(third, 'my-client', CANARY.wrongSecret)).toBe(200);
  expect(await tokenStatus(third, 'my-client', CANARY.clientSecret)).toBe(401);
});

test('a crash after the secret was kept and before the store has it is harmless: the next start takes it from its file', async () => {
  const secret = 'kept-by-a-start-that-was-killed-just-then-0123456789';
  await mkdir(dataDir, { recursive: true });
  await writeFile(join(dataDir, 'client-secret'), secret, { mode: 0o600 });
  const api = await start(NO_TEMPORAL);
  expect(await tokenStatus(api, clientIdOf(usher.stdout()), secret)).toBe(200);
  expect(usher.stdout() + usher.stderr()).not.toContain(secret);
});
