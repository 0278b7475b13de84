import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { hash } from '@node-rs/bcrypt';
import { decodeJwt } from 'jose';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { until } from '../builds/harness.ts';
import { bearer, postJson, send } from '../http/test-app.ts';
import { deployCli, INCLUDED } from './deploy-cli.ts';
import { type HttpsUsher, startHttpsUsher } from './https-usher.ts';

const TENANT = new URL('fixtures/tenant', import.meta.url).pathname;
const USHER_CLI = new URL('../../src/cli/usher.ts', import.meta.url).pathname;

let usher: HttpsUsher;
let folder: string;
let page: string;
let headers: { authorization: string };

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'usher-migration-'));
  page = await readFile(new URL('../../docs/migrate-from-auth0.md', import.meta.url), 'utf8');
  usher = await startHttpsUsher();
  headers = await bearer(usher.app);
});
afterAll(async () => {
  await usher?.close();
  await rm(folder, { recursive: true, force: true });
});

/** The page's example in this language that has these words in it. */
function example(language: string, words: string): string {
  const found = [...page.matchAll(/```(\w+)\n([\s\S]*?)```/g)].filter(([, lang, code]) => lang === language && code!.includes(words));
  expect(found, `an example with ${words}`).toHaveLength(1);
  return found[0]![2]!;
}

async function run(program: string, args: string[], env: NodeJS.ProcessEnv = {}): Promise<{ code: number | null; output: string }> {
  const child = spawn(program, args, { cwd: folder, env: { PATH: process.env['PATH'], ...env }, stdio: ['ignore', 'pipe', 'inherit'] });
  let output = '';
  child.stdout.on('data', (chunk: Buffer) => { output += chunk.toString(); });
  const [code] = (await once(child, 'close')) as [number | null];
  return { code, output };
}

const ndjson = (lines: object[]): string => `${lines.map((line) => JSON.stringify(line)).join('\n')}\n`;

/** Users as Auth0 exports them, and their hashes as its support does. */
async function writeExports(): Promise<void> {
  const database = 'Username-Password-Authentication';
  const exported = (provider: string, connection: string, id: string, more: object) => ({
    user_id: `${provider}|${id}`, identities: [{ connection, provider, user_id: id, isSocial: provider === 'google-oauth2' }], created_at: '2021-03-05T16:35:16.775Z', logins_count: 7, ...more,
  });
  const many = Array.from({ length: 30 }, (_, index) => exported('auth0', database, `bulk-${index}`, { email: `bulk-${index}@example.com`, user_metadata: { notes: 'n'.repeat(30_000) } }));
  await writeFile(join(folder, 'users.ndjson'), ndjson([
    exported('auth0', database, '60425dc43519d90068f82973', { email: 'ada@example.com', email_verified: true, name: 'Ada', user_metadata: { lang: 'en' }, app_metadata: { plan: 'gold' } }),
    exported('auth0', database, 'euclid', { email: 'euclid@example.com', email_verified: false }),
    exported('google-oauth2', 'google-oauth2', '1', { email: 'social@example.com' }),
    exported('email', 'email', '5f00000000000000000000aa', { email: 'code@example.com', email_verified: true }),
    ...many,
  ]));
  const hashed = async (password: string, ids: object) => ({ ...ids, passwordHash: await hash(password, { cost: 10 }), connection: database, tenant: 'acme', _tmp_is_unique: true });
  await writeFile(join(folder, 'hashes.ndjson'), ndjson([
    await hashed("ada's old password", { _id: { $oid: '60425dc43519d90068f82973' }, email: 'ada@example.com' }),
    await hashed("euclid's old password", { _id: { $oid: '5dea9f9c82dd7c0e76e4ec93' }, alt_id: 'euclid' }),
  ]));
}

/** What the shop's application asks for, which is given the grant that its pages at Auth0 could do without. */
async function openShop() {
  const { body: [shop] } = await send(`${usher.app.url}/api/v2/clients?app_type=spa`, { headers });
  const grants = { grant_types: [...shop.grant_types, 'password'] };
  const patched = await send(`${usher.app.url}/api/v2/clients/${shop.client_id}`, { method: 'PATCH', headers: { ...headers, 'content-type': 'application/json' }, body: JSON.stringify(grants) });
  expect(patched.status).toBe(200);
  const post = (path: string, fields: object) => postJson(`https://${usher.domain}${path}`, { client_id: shop.client_id, ...fields });
  return {
    login: (username: string, password: string) => post('/oauth/token', { grant_type: 'password', username, password, scope: 'openid' }),
    signUp: (fields: object) => post('/dbconnections/signup', { connection: 'Username-Password-Authentication', email: 'new@example.com', password: 'a-New-passw0rd', ...fields }),
  };
}

const read = async (path: string) => (await send(`${usher.app.url}/api/v2/${path}`, { headers })).body;

test('a tenant moves by the steps of the page: configuration, users with their ids and passwords, and sign-ups that run its Actions', async () => {
  // 1. Look at the Actions.
  const checked = await run(USHER_CLI, ['check', TENANT]);
  expect(checked.output).toContain('Tell the CRM');

  // 2. Bring the configuration, with what the page says is to be included.
  const included = JSON.parse(/AUTH0_INCLUDED_ONLY='(\[.*\])'/.exec(page)![1]!) as string[];
  expect(included).toEqual(INCLUDED);
  await deployCli(usher, 'import', TENANT, { included, keywords: { INVITATION: 'come in', CRM_KEY: 'crm secret', CONNECTIONS_GOOGLE_OAUTH2_SECRET: 'google secret' } });

  // 3. Bring the users.
  await writeExports();
  await writeFile(join(folder, 'join.mjs'), example('js', 'join.mjs'));
  const joined = await run(process.execPath, ['join.mjs', 'users.ndjson', 'hashes.ndjson']);
  const files = joined.output.trim().split('\n');
  expect(files).toEqual(['Username-Password-Authentication-1.json', 'Username-Password-Authentication-2.json', 'email-1.json']);
  expect((await readdir(folder)).filter((name) => name.endsWith('-1.json') || name.endsWith('-2.json')).toSorted()).toEqual(files);

  const line = example('sh', 'users-imports').trimEnd();
  const connections = await read('connections') as { id: string; name: string }[];
  const idOf = (name: string) => connections.find((each) => each.name === name)!.id;
  const imported = async (file: string, more = '') => {
    const env = { USHER: usher.app.url, TOKEN: headers.authorization.slice('Bearer '.length), CONNECTION_ID: idOf(file.replace(/-\d+\.json$/, '')) };
    const { output } = await run('sh', ['-c', `${line.replace('Username-Password-Authentication-1.json', file)} ${more}`], env);
    const { id } = JSON.parse(output) as { id: string };
    return await until(() => read(`jobs/${id}`), ({ status }) => status !== 'pending' && status !== 'processing');
  };
  const { db } = usher.app.database;
  const registered = async () => (await db.selectFrom('registration').select('id').execute()).length;
  const before = await registered();
  for (const file of files) expect(await imported(file), file).toMatchObject({ status: 'completed', summary: { failed: 0 } });
  expect(await registered()).toBe(before);
  expect((await db.selectFrom('user_account').select('id').execute()).length).toBe(33);
  expect(await read(`users/${encodeURIComponent('email|5f00000000000000000000aa')}`)).toMatchObject({ email: 'code@example.com', email_verified: true });

  // 4. Switch: the old passwords are right, under the old ids.
  const { login, signUp } = await openShop();
  const ada = await login('ada@example.com', "ada's old password");
  expect(ada.status).toBe(200);
  expect(decodeJwt(ada.body.id_token).sub).toBe('auth0|60425dc43519d90068f82973');
  expect((await login('euclid@example.com', "euclid's old password")).status).toBe(200);
  expect((await login('ada@example.com', "euclid's old password")).status).toBe(403);
  // Again, when whatever a first login changes has been changed.
  expect((await login('ada@example.com', "ada's old password")).status).toBe(200);
  expect(await read(`users/${encodeURIComponent('auth0|60425dc43519d90068f82973')}`)).toMatchObject({ name: 'Ada', user_metadata: { lang: 'en' }, app_metadata: { plan: 'gold' } });

  // Who has signed up at Auth0 meanwhile, and whatever has changed.
  expect(await imported(files[0]!, '-F upsert=true')).toMatchObject({ status: 'completed', summary: { inserted: 0, updated: expect.toSatisfy((updated: number) => updated > 0), failed: 0 } });
  expect(await registered()).toBe(before);

  // A sign-up asks the Actions that came along, and its registration has a step for each of the others.
  expect(await signUp({})).toMatchObject({ status: 400, body: { error: 'extensibility_error', error_description: 'You need an invitation.' } });
  const { status, body: person } = await signUp({ invitation: 'come in' });
  expect(status).toBe(200);
  const [log] = await read('logs?q=type:ss');
  expect(log).toMatchObject({ user_id: `auth0|${person._id}`, user_name: 'new@example.com' });
  const executions = await Promise.all(log.details.actions.executions.map((id: string) => read(`actions/executions/${id}`)));
  expect(executions).toMatchObject([
    { trigger_id: 'pre-user-registration', status: 'final', results: [{ action_name: 'Note the plan' }, { action_name: 'Check the invitation' }] },
    { trigger_id: 'post-user-registration', usher: { user_id: `auth0|${person._id}`, steps: [{ action_name: 'Tell the CRM' }, { action_name: 'Count' }] } },
  ]);
  expect(await read(`users/${encodeURIComponent(`auth0|${person._id}`)}`)).toMatchObject({ app_metadata: { plan: 'gold' } });
});
