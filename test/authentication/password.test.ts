import { hashSync as argon2Sync } from '@node-rs/argon2';
import { hashSync } from '@node-rs/bcrypt';
import { createRemoteJWKSet, decodeJwt, jwtVerify } from 'jose';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DEFAULT_CONNECTION } from '../../src/store/connections.ts';
import { type Answer, CLIENT_ID, PASSWORD, signUp } from '../http/test-app.ts';
import { type LoginApp, PUBLIC_CLIENT, REALM, startLoginApp } from './login-app.ts';
import { medianTimes } from './median-times.ts';

let app: LoginApp;
const WRONG = { error: 'invalid_grant', error_description: 'Wrong email or password.' };
const BLOCKED = { error: 'too_many_attempts', error_description: 'Your account has been blocked after multiple consecutive login attempts.' };

beforeAll(async () => {
  app = await startLoginApp({ trustedProxies: ['127.0.0.1'] });
});

afterAll(async () => {
  await app.close();
});

let addresses = 0;
/** Each test comes from an address of its own: failures are counted by it. */
const newAddress = () => `198.51.100.${(addresses += 1)}`;

async function login(username: string, password: string, fields: Record<string, unknown> = {}, address = newAddress()): Promise<Answer> {
  return await app.token({ grant_type: 'password', username, password, scope: 'openid profile email', ...fields }, { 'x-forwarded-for': address });
}

async function newUser(email: string, fields: Record<string, unknown> = {}): Promise<string> {
  const { status, body } = await signUp(app, { email, ...fields });
  expect(status).toBe(200);
  return `auth0|${body._id}`;
}

describe('a login with a password', () => {
  it('gives tokens, whatever the case of the address', async () => {
    const id = await newUser('ada@example.com');
    const { status, body } = await login('ADA@Example.com', PASSWORD, {}, '198.51.100.250');
    expect({ status, body }).toEqual({ status: 200, body: { access_token: expect.any(String), id_token: expect.any(String), scope: 'openid profile email', expires_in: 86_400, token_type: 'Bearer' } });
    const keys = createRemoteJWKSet(new URL(`${app.url}/.well-known/jwks.json`));
    const { payload } = await jwtVerify(body.id_token, keys, { issuer: `${app.url}/`, audience: CLIENT_ID });
    expect(payload).toMatchObject({ sub: id, email: 'ada@example.com', email_verified: false, nickname: 'ada', name: 'ada@example.com' });
    expect(await app.user(id)).toMatchObject({ logins_count: 1, last_ip: '198.51.100.250', last_login: expect.any(Number) });
    expect(await app.newestLog('s')).toMatchObject({ user_id: id, user_name: 'ada@example.com', ip: '198.51.100.250' });
  });

  it('takes a username, and a realm', async () => {
    const id = await newUser('named@example.com', { username: 'Named' });
    expect(decodeJwt((await login('named', PASSWORD)).body.id_token).sub).toBe(id);
    expect((await login('named', PASSWORD, { grant_type: REALM, realm: DEFAULT_CONNECTION })).status).toBe(200);
    await app.addConnection('other-people', 'auth0');
    expect(await login('named', PASSWORD, { grant_type: REALM, realm: 'other-people' })).toMatchObject({ status: 403, body: WRONG });
  });

  it('gives no id token that nobody asked for', async () => {
    await newUser('bare@example.com');
    const { body } = await login('bare@example.com', PASSWORD, { scope: undefined });
    expect(body).toEqual({ access_token: expect.any(String), expires_in: 86_400, token_type: 'Bearer' });
  });

  it('works without a secret for a client that can keep none', async () => {
    await newUser('browser@example.com');
    expect((await login('browser@example.com', PASSWORD, { client_id: PUBLIC_CLIENT, client_secret: undefined })).status).toBe(200);
  });

  it.each([
    ['a wrong password', { password: 'wrong' }, 403, WRONG],
    ['an account that is not there', { username: 'nobody@example.com' }, 403, WRONG],
    ['no username', { username: undefined }, 400, { error: 'invalid_request' }],
    ['no password', { password: undefined }, 400, { error: 'invalid_request' }],
    ['no realm', { grant_type: REALM }, 400, { error: 'invalid_request' }],
    ['a passwordless realm', { grant_type: REALM, realm: 'email' }, 400, { error: 'invalid_request' }],
    ['a confidential client without its secret', { client_secret: undefined }, 401, { error: 'invalid_client' }],
    ['a client with a wrong secret', { client_secret: 'wrong' }, 401, { error: 'invalid_client' }],
  ])('refuses %s', async (_, fields, status, body) => {
    expect(await login('refused@example.com', PASSWORD, fields)).toMatchObject({ status, body });
  });

  it('tells of a block only who has the right password', async () => {
    const id = await newUser('blocked@example.com');
    await app.database.db.updateTable('user_account').set({ blocked: 1 }).where('id', '=', id).execute();
    expect(await login('blocked@example.com', 'wrong')).toMatchObject({ status: 403, body: WRONG });
    expect(await login('blocked@example.com', PASSWORD)).toMatchObject({ status: 403, body: { error: 'unauthorized', error_description: 'user is blocked' } });
  });

  it('logs the failures as Auth0 does, and no password', async () => {
    await newUser('logged@example.com');
    await login('logged@example.com', 'a-Wrong-passw0rd');
    await login('nobody-here@example.com', 'a-Wrong-passw0rd');
    expect(await app.newestLog('fp')).toMatchObject({ user_name: 'logged@example.com' });
    expect(await app.newestLog('fu')).toMatchObject({ user_name: 'nobody-here@example.com' });
    expect(app.logText()).not.toContain('a-Wrong-passw0rd');
  });

  it('takes as long for an account that is not there', async () => {
    await newUser('timed@example.com');
    const [there, not] = await medianTimes(() => login('timed@example.com', 'wrong'), (round) => login(`nobody${round}@example.com`, 'wrong'));
    // Without the hash it is a fraction: the rest is noise of a busy machine.
    expect(not / there).toBeGreaterThan(0.5);
    expect(not / there).toBeLessThan(2);
  });
});

describe('an imported hash', () => {
  it.each(['2a', '2b'] as const)('of bcrypt $%s$ is verified, and becomes one of argon2id with the first login', async (version) => {
    const id = await newUser(`${version}@example.com`);
    const bcrypt = hashSync('old-Passw0rd', { cost: 4, version });
    await app.database.db.updateTable('user_account').set({ password_hash: bcrypt }).where('id', '=', id).execute();

    expect((await login(`${version}@example.com`, 'wrong')).status).toBe(403);
    expect(await app.user(id)).toMatchObject({ password_hash: bcrypt });
    expect((await login(`${version}@example.com`, 'old-Passw0rd')).status).toBe(200);
    expect(await app.user(id)).toMatchObject({ password_hash: expect.stringMatching(/^\$argon2id\$/) });
    expect((await login(`${version}@example.com`, 'old-Passw0rd')).status).toBe(200);
    expect((await login(`${version}@example.com`, 'wrong')).status).toBe(403);
  });
});

it("an imported hash of argon2 that costs more or less than ours becomes one like ours with the first login", async () => {
  const id = await newUser('argon2@example.com');
  const before = argon2Sync('old-Passw0rd', { memoryCost: 4096, timeCost: 1, parallelism: 1 });
  await app.database.db.updateTable('user_account').set({ password_hash: before }).where('id', '=', id).execute();
  expect((await login('argon2@example.com', 'old-Passw0rd')).status).toBe(200);
  const { password_hash: after } = (await app.user(id))!;
  expect(String(after).split('$').slice(0, 4)).toEqual(['', 'argon2id', 'v=19', 'm=19456,t=2,p=1']);
  expect((await login('argon2@example.com', 'old-Passw0rd')).status).toBe(200);
  expect(await app.user(id)).toMatchObject({ password_hash: after });
});

describe('guessing', () => {
  it('is over for an account and an address after ten wrong passwords, also at once, until the block runs out', async () => {
    await newUser('guessed@example.com');
    const address = newAddress();
    const guesses = await Promise.all(Array.from({ length: 14 }, (_, index) => login('guessed@example.com', `wrong${index}`, {}, address)));
    expect(guesses.filter(({ status }) => status === 403)).toHaveLength(10);
    expect(guesses.filter(({ status }) => status === 429)).toHaveLength(4);

    expect(await login('guessed@example.com', PASSWORD, {}, address)).toMatchObject({ status: 429, body: BLOCKED });
    expect((await login('guessed@example.com', PASSWORD)).status).toBe(200);
    expect(await app.newestLog('limit_wc')).toMatchObject({ user_name: 'guessed@example.com', ip: address });
    await app.database.db.updateTable('counter').set({ expires_at: 1 }).execute();
    expect((await login('guessed@example.com', PASSWORD, {}, address)).status).toBe(200);
  });

  it('is blocked for accounts that are not there too', async () => {
    const address = newAddress();
    for (let count = 0; count < 10; count++) expect((await login('ghost@example.com', 'x', {}, address)).status).toBe(403);
    expect(await login('ghost@example.com', 'x', {}, address)).toMatchObject({ status: 429, body: BLOCKED });
  });

  it('is not stopped for an account whose connection wants no brute-force protection', async () => {
    await newUser('open@example.com');
    const address = newAddress();
    await app.setConnectionOptions({ passwordPolicy: 'good', brute_force_protection: false });
    for (let count = 0; count < 11; count++) expect((await login('open@example.com', `wrong${count}`, {}, address)).status).toBe(403);
    expect((await login('open@example.com', PASSWORD, {}, address)).status).toBe(200);
    await app.setConnectionOptions({ passwordPolicy: 'good' });
  });

  it('begins anew after a login that was right', async () => {
    await newUser('forgetful@example.com');
    const address = newAddress();
    for (let round = 0; round < 2; round++) {
      for (let count = 0; count < 9; count++) expect((await login('forgetful@example.com', 'x', {}, address)).status).toBe(403);
      expect((await login('forgetful@example.com', PASSWORD, {}, address)).status).toBe(200);
    }
  });

  it('counts the addresses of one IPv6 network as one', async () => {
    for (let count = 0; count < 10; count++) await login('six@example.com', 'x', {}, `2001:db8:1:20::${count}`);
    expect((await login('six@example.com', 'x', {}, '2001:db8:1:2f:1::1')).status).toBe(429);
    expect((await login('six@example.com', 'x', {}, '2001:db8:2::1')).status).toBe(403);
  });

  it('counts for the person behind a server that may say so', async () => {
    await app.addClient('server', { token_endpoint_auth_method: 'client_secret_post', is_token_endpoint_ip_header_trusted: true });
    const by = async (end: string, client: string) => await app.token({ grant_type: 'password', client_id: client, username: 'behind@example.com', password: 'x' }, { 'auth0-forwarded-for': end, 'x-forwarded-for': '198.51.100.240' });
    for (let count = 0; count < 10; count++) expect((await by('203.0.113.1', 'server')).status).toBe(403);
    expect((await by('203.0.113.1', 'server')).status).toBe(429);
    expect((await by('203.0.113.2', 'server')).status).toBe(403);
    for (let count = 0; count < 10; count++) await by(`203.0.113.${count}`, CLIENT_ID);
    expect((await by('203.0.113.77', CLIENT_ID)).status).toBe(429);
    // What is no address is nobody's: it would begin a count of its own each time.
    for (let count = 0; count < 10; count++) await by(`203.0.113.${count}, 203.0.113.9`, 'server');
    expect((await by('203.0.113.78, 203.0.113.9', 'server')).status).toBe(429);
  });
});
