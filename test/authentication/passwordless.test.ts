import { createRemoteJWKSet, jwtVerify } from 'jose';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DEFAULT_CONNECTION as DEFAULT } from '../../src/store/connections.ts';
import { sealedAs } from '../../src/store/ledger-rows.ts';
import { CLIENT_ID, postJson, send } from '../http/test-app.ts';
import { type LoginApp, OTP, PUBLIC_CLIENT, startLoginApp } from './login-app.ts';

let app: LoginApp;
const WRONG = { error: 'invalid_grant', error_description: 'Wrong email or verification code.' };

beforeAll(async () => {
  app = await startLoginApp();
});

afterAll(async () => {
  await app.close();
});

async function idToken(token: string) {
  const keys = createRemoteJWKSet(new URL(`${app.url}/.well-known/jwks.json`));
  return (await jwtVerify(token, keys, { issuer: `${app.url}/` })).payload;
}

/** Another code of as many digits. */
const other = (code: string) => String((Number(code) + 1) % 10 ** code.length).padStart(code.length, '0');

describe('the first login with a code from a mail', () => {
  it('makes the user, verified, by a registration with both triggers, and gives tokens', async () => {
    await app.bind('pre-user-registration', [{ name: 'look', code: 'exports.onExecutePreUserRegistration = async (event, api) => { api.user.setAppMetadata("saw", { body: event.request.body, email: event.user.email, strategy: event.connection.strategy, client: event.client.client_id }); };' }]);
    await app.bind('post-user-registration', [{ name: 'tell', code: 'exports.onExecutePostUserRegistration = async () => {};' }]);
    const code = await app.codeFor('Ada@Example.com'.toLowerCase());
    expect(code).toMatch(/^\d{6}$/);

    const { status, body, headers } = await app.login('Ada@Example.com', code);

    expect({ status, body }).toEqual({ status: 200, body: { access_token: expect.any(String), id_token: expect.any(String), scope: 'openid profile email phone', expires_in: 86_400, token_type: 'Bearer' } });
    expect(headers.get('cache-control')).toBe('no-store');
    const claims = await idToken(body.id_token);
    expect(claims).toMatchObject({ aud: CLIENT_ID, sub: expect.stringMatching(/^email\|[0-9a-f]{24}$/), email: 'ada@example.com', email_verified: true, name: 'ada@example.com', nickname: 'ada', picture: expect.any(String), updated_at: expect.any(String) });
    expect(claims.exp! - claims.iat!).toBe(36_000);
    const row = await app.user(claims.sub!);
    expect(row).toMatchObject({ email: 'ada@example.com', email_verified: 1, password_hash: null, logins_count: 1, last_ip: expect.stringContaining('127.0.0.1'), last_login: expect.any(Number) });
    expect(JSON.parse(row!['app_metadata'] as string)).toEqual({ saw: { body: expect.objectContaining({ realm: 'email', username: 'Ada@Example.com' }), email: 'ada@example.com', strategy: 'email', client: CLIENT_ID } });
    expect(row!['app_metadata']).not.toContain(code);
    const [registration, ...more] = await app.registrations(claims.sub!);
    expect([registration?.source, more]).toEqual(['passwordless-email', []]);
    expect(await app.ledger.readRegistration(registration!.id)).toMatchObject({ state: 'open', steps: [{ actionName: expect.stringContaining('tell') }] });
    const { event_sealed: sealed, key_id: keyId } = await app.database.db.selectFrom('registration').select(['event_sealed', 'key_id']).where('id', '=', registration!.id).executeTakeFirstOrThrow();
    expect(await app.keyring.openJson(keyId, sealedAs.event(registration!.id), sealed)).toMatchObject({ user: { email_verified: true, user_id: claims.sub }, connection: { name: 'email', strategy: 'email' } });
    expect(await app.newestLog('ss')).toMatchObject({ user_id: claims.sub, strategy: 'email', strategy_type: 'passwordless' });
    expect(await app.newestLog('s')).toMatchObject({ user_id: claims.sub });
    expect(await app.newestLog('cls')).toMatchObject({ user_name: 'ada@example.com' });
    await app.bind('pre-user-registration', []);
    await app.bind('post-user-registration', []);
  });

  it('is one registration, whoever logs in again', async () => {
    const first = await idToken((await app.login('ben@example.com', await app.codeFor('ben@example.com'))).body.id_token);
    const second = await idToken((await app.login('ben@example.com', await app.codeFor('ben@example.com'))).body.id_token);
    expect(second.sub).toBe(first.sub);
    expect(await app.user(first.sub!)).toMatchObject({ logins_count: 2 });
    expect(await app.registrations(first.sub!)).toHaveLength(1);
  });

  it('of ten that come at once with one code, logs one in and makes one user', async () => {
    const code = await app.codeFor('race@example.com');
    const answers = await Promise.all(Array.from({ length: 10 }, () => app.login('race@example.com', code)));
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(1);
    expect(answers.filter(({ status }) => status === 403 || status === 429)).toHaveLength(9);
    const users = await app.database.db.selectFrom('user_account').select('id').where('email', '=', 'race@example.com').execute();
    expect(users).toHaveLength(1);
    expect(await app.registrations(users[0]!.id)).toHaveLength(1);
  });

  it('of two at once with a code each, from two clients, makes one user and logs both in', async () => {
    const codes = [await app.codeFor('two@example.com'), await app.codeFor('two@example.com', { client_id: PUBLIC_CLIENT })];
    const answers = await Promise.all([
      app.login('two@example.com', codes[0]!),
      app.login('two@example.com', codes[1]!, { client_id: PUBLIC_CLIENT, client_secret: undefined }),
    ]);
    expect(answers.map(({ status }) => status)).toEqual([200, 200]);
    const subs = await Promise.all(answers.map(async ({ body }) => (await idToken(body.id_token)).sub));
    expect(subs[0]).toBe(subs[1]);
    expect(await app.registrations(subs[0]!)).toHaveLength(1);
  });

  it('that an Action denies makes nobody, tells the message, and spends the code', async () => {
    await app.bind('pre-user-registration', [{ name: 'deny', code: 'exports.onExecutePreUserRegistration = async (event, api) => api.access.deny("internal reason", "Not from here, sorry.");' }]);
    const code = await app.codeFor('denied@example.com');
    expect(await app.login('denied@example.com', code)).toMatchObject({ status: 403, body: { error: 'access_denied', error_description: 'Not from here, sorry.' } });
    await app.bind('pre-user-registration', []);
    expect(await app.login('denied@example.com', code)).toMatchObject({ status: 403, body: WRONG });
    expect(await app.database.db.selectFrom('user_account').select('id').where('email', '=', 'denied@example.com').execute()).toEqual([]);
  });
});

describe('a code', () => {
  it('that is wrong is refused, and the right one after two wrong ones is not', async () => {
    const code = await app.codeFor('typo@example.com');
    expect(await app.login('typo@example.com', other(code))).toMatchObject({ status: 403, body: WRONG });
    expect(await app.login('typo@example.com', 'x')).toMatchObject({ status: 403, body: WRONG });
    expect((await app.login('typo@example.com', code)).status).toBe(200);
    expect(await app.newestLog('fepotpft')).toMatchObject({ user_name: 'typo@example.com', client_id: CLIENT_ID });
  });

  it('is dead after three wrong ones, also when they are guessed at once', async () => {
    const code = await app.codeFor('guessed@example.com');
    const guesses = await Promise.all(Array.from({ length: 6 }, (_, index) => app.login('guessed@example.com', String((Number(code) + index + 1) % 1_000_000).padStart(6, '0'))));
    expect(guesses.map(({ status }) => status)).toEqual(Array.from({ length: 6 }, () => 403));
    expect(await app.login('guessed@example.com', code)).toMatchObject({ status: 403, body: WRONG });
  });

  it('is good once', async () => {
    const code = await app.codeFor('once@example.com');
    expect((await app.login('once@example.com', code)).status).toBe(200);
    expect(await app.login('once@example.com', code)).toMatchObject({ status: 403, body: WRONG });
  });

  it('is good for three minutes', async () => {
    const code = await app.codeFor('late@example.com');
    const [{ expires_at: expiresAt }] = await app.database.db.selectFrom('passwordless_code').select('expires_at').where('recipient', '=', 'late@example.com').execute() as [{ expires_at: number }];
    expect(Math.abs(expiresAt - Date.now() - 180_000)).toBeLessThan(10_000);
    await app.database.db.updateTable('passwordless_code').set({ expires_at: Date.now() - 1 }).where('recipient', '=', 'late@example.com').execute();
    expect(await app.login('late@example.com', code)).toMatchObject({ status: 403, body: WRONG });
  });

  it('is replaced by the next one', async () => {
    const first = await app.codeFor('again@example.com');
    const second = await app.codeFor('again@example.com');
    if (first !== second) expect((await app.login('again@example.com', first)).status).toBe(403);
    expect((await app.login('again@example.com', second)).status).toBe(200);
  });

  it('is of no use to another address, client or connection', async () => {
    await app.addConnection('other-mails', 'email');
    const code = await app.codeFor('own@example.com');
    expect((await app.login('else@example.com', code)).status).toBe(403);
    expect((await app.login('own@example.com', code, { client_id: PUBLIC_CLIENT, client_secret: undefined })).status).toBe(403);
    expect((await app.login('own@example.com', code, { realm: 'other-mails' })).status).toBe(403);
    expect((await app.login('own@example.com', code)).status).toBe(200);
  });

  it('stands nowhere as it is: not in the store, not in the log', async () => {
    // So long that it is not there by chance.
    await app.addConnection('longest-codes', 'email', { totp: { length: 20 } });
    const code = await app.codeFor('secret@example.com', { connection: 'longest-codes' });
    const rows = await app.database.db.selectFrom('passwordless_code').selectAll().where('recipient', '=', 'secret@example.com').execute();
    expect(rows[0]?.code_hash).toMatch(/^[0-9a-f]{64}$/);
    await app.login('secret@example.com', code, { realm: 'longest-codes' });
    expect(app.logText()).not.toContain(code);
    expect(app.logText()).not.toContain('secret@example.com');
  });

  it('has the length and the lifetime that the connection says', async () => {
    await app.addConnection('long-codes', 'email', { totp: { length: 8, time_step: 600 } });
    const code = await app.codeFor('long@example.com', { connection: 'long-codes' });
    expect(code).toMatch(/^\d{8}$/);
    expect(app.mail.to('long@example.com').at(-1)?.text).toContain('10 minutes');
  });

  it('of a blocked user logs nobody in', async () => {
    const { sub } = await idToken((await app.login('blocked@example.com', await app.codeFor('blocked@example.com'))).body.id_token);
    await app.database.db.updateTable('user_account').set({ blocked: 1 }).where('id', '=', sub!).execute();
    expect(await app.login('blocked@example.com', await app.codeFor('blocked@example.com'))).toMatchObject({ status: 403, body: { error: 'unauthorized', error_description: 'user is blocked' } });
  });
});

describe('a code by text message', () => {
  it('makes a user with a phone number and no address', async () => {
    const code = await app.codeFor('+4915112345678');
    expect(app.sms.messages.at(-1)?.body).toEqual({ to: '+4915112345678', from: 'Usher', text: `Your verification code is: ${code}` });
    expect(await app.login('+4915112345678', other(code))).toMatchObject({ status: 403, body: { error: 'invalid_grant', error_description: 'Wrong phone number or verification code.' } });
    const claims = await idToken((await app.login('+4915112345678', code)).body.id_token);
    expect(claims).toMatchObject({ sub: expect.stringMatching(/^sms\|/), phone_number: '+4915112345678', phone_verified: true, name: '+4915112345678' });
    expect(claims).not.toHaveProperty('email');
    expect(await app.user(claims.sub!)).toMatchObject({ email: null, phone_number: '+4915112345678', phone_verified: 1 });
    expect((await app.registrations(claims.sub!))[0]?.source).toBe('passwordless-sms');
    expect(await app.newestLog('cs')).toMatchObject({ user_name: '+4915112345678' });
  });
});

describe('/passwordless/start', () => {
  it('answers the same for who is there and who is not, by form too', async () => {
    await app.login('known@example.com', await app.codeFor('known@example.com'));
    const known = await app.start({ connection: 'email', email: 'known@example.com', send: 'code' });
    const form = new URLSearchParams({ client_id: CLIENT_ID, connection: 'email', email: 'Unknown@example.com', send: 'code', 'authParams[scope]': 'openid' });
    const unknown = await send(`${app.url}/passwordless/start`, { method: 'POST', body: form });
    expect([known.status, unknown.status]).toEqual([200, 200]);
    expect(known.body).toEqual({ _id: expect.stringMatching(/^[0-9a-f]{24}$/), email: 'known@example.com', email_verified: false });
    expect(unknown.body).toEqual({ _id: expect.stringMatching(/^[0-9a-f]{24}$/), email: 'unknown@example.com', email_verified: false });
    await app.mail.wait(1);
  });

  it('sends no code to strangers where nobody may sign up, and does not tell', async () => {
    await app.addConnection('members', 'email', { disable_signup: true });
    const before = await app.start({ connection: 'members', email: 'stranger@example.com' });
    expect(before).toMatchObject({ status: 200, body: { email: 'stranger@example.com' } });
    // Mails go out in order: when the second has come, the first would have.
    await app.codeFor('marker@example.com');
    expect(app.mail.to('stranger@example.com')).toEqual([]);
  });

  it.each([
    ['no client', { client_id: undefined, connection: 'email', email: 'a@example.com' }, 'bad.client_id', 'Missing required property: client_id'],
    ['an unknown client', { client_id: 'nobody', connection: 'email', email: 'a@example.com' }, 'bad.client_id', expect.any(String)],
    ['no connection', { email: 'a@example.com' }, 'bad.connection', 'Missing required property: connection'],
    ['an unknown connection', { connection: 'nothing', email: 'a@example.com' }, 'bad.connection', 'Connection does not exist'],
    ['a database connection', { connection: DEFAULT, email: 'a@example.com' }, 'bad.connection', 'Invalid connection strategy. It must either be a passwordless connection'],
    ['no phone number', { connection: 'sms', email: 'a@example.com' }, 'bad.phone_number', 'Missing required property: phone_number'],
    ['no real phone number', { connection: 'sms', phone_number: '0151' }, 'bad.phone_number', 'String does not match pattern: ^\\+[0-9]{1,15}$'],
    ['no real address', { connection: 'email', email: 'a@b@c' }, 'bad.email', expect.any(String)],
    ['a property that is not there', { connection: 'email', email: 'a@example.com', colour: 'red' }, 'bad.request', 'the following properties are not allowed: colour'],
    ['authParams that are no object', { connection: 'email', email: 'a@example.com', authParams: 'x' }, 'bad.authParams', expect.any(String)],
    ['a link', { connection: 'email', email: 'a@example.com', send: 'link' }, 'bad.request', expect.stringContaining('codes only')],
  ])('refuses %s', async (_, fields, error, description) => {
    expect(await app.start(fields)).toMatchObject({ status: 400, body: { error, error_description: description } });
  });

  it('refuses a wrong secret, and a connection that the client may not use', async () => {
    expect(await app.start({ connection: 'email', email: 'a@example.com', client_secret: 'wrong' })).toMatchObject({ status: 401, body: { error: 'invalid_client' } });
    const id = await app.addConnection('for-others', 'email');
    await app.database.db.updateTable('connection').set({ enabled_clients: '["somebody"]' }).where('id', '=', id).execute();
    expect(await app.start({ connection: 'for-others', email: 'a@example.com' })).toMatchObject({ status: 400, body: { error: 'bad.connection', error_description: 'Connection is disabled' } });
  });

  it('sends no more than 20 codes an hour to one recipient', async () => {
    const answers = [];
    for (let count = 0; count < 21; count++) answers.push((await app.start({ connection: 'email', email: 'bombed@example.com' })).status);
    expect(answers.slice(0, 20).every((status) => status === 200)).toBe(true);
    expect(answers[20]).toBe(429);
  });
});

describe('the grant', () => {
  it.each([
    ['no code', { otp: undefined }, 400, 'invalid_request'],
    ['no realm', { realm: undefined }, 400, 'invalid_request'],
    ['an unknown realm', { realm: 'nothing' }, 400, 'invalid_request'],
    ['a database as realm', { realm: DEFAULT }, 400, 'invalid_request'],
    ['an API that is not there', { audience: 'https://api.example/' }, 403, 'access_denied'],
    ['the Management API', { audience: 'https://tenant.example/api/v2/' }, 403, 'access_denied'],
    ['a confidential client without its secret', { client_secret: undefined }, 401, 'invalid_client'],
  ])('refuses %s', async (_, fields, status, error) => {
    expect(await app.login('a@example.com', '123456', fields)).toMatchObject({ status, body: { error } });
  });

  it('refuses a client that may not use it', async () => {
    await app.addClient('without-grant', { grant_types: ['password'] });
    expect(await app.login('a@example.com', '123456', { client_id: 'without-grant' })).toMatchObject({ status: 403, body: { error: 'unauthorized_client', error_description: `Grant type '${OTP}' not allowed for the client.` } });
  });

  it('gives a token for an API that is there, with the scopes that it has', async () => {
    await app.database.db.insertInto('resource_server').values({ id: 'api1', identifier: 'https://api.example/orders', name: 'Orders', scopes: '[{"value":"read:orders"},{"value":"write:orders"}]', settings: '{"token_lifetime":600}', created_at: 1 }).execute();
    const { body } = await app.login('api@example.com', await app.codeFor('api@example.com'), { audience: 'https://api.example/orders', scope: 'openid read:orders drop:tables' });
    expect(body).toMatchObject({ scope: 'openid read:orders', expires_in: 600 });
    const keys = createRemoteJWKSet(new URL(`${app.url}/.well-known/jwks.json`));
    const { payload } = await jwtVerify(body.access_token, keys, { issuer: `${app.url}/`, audience: 'https://api.example/orders' });
    expect(payload).toMatchObject({ sub: expect.stringMatching(/^email\|/), azp: CLIENT_ID, scope: 'openid read:orders' });
    for (const token of [body.access_token, body.id_token]) {
      expect((await send(`${app.url}/api/v2/logs`, { headers: { authorization: `Bearer ${token}` } })).status).toBe(401);
    }
  });

  it('counts 100 failed logins of one address a day, and then refuses', async () => {
    const own = await startLoginApp({ trustedProxies: ['127.0.0.1'] });
    try {
      const from = { 'x-forwarded-for': '203.0.113.7' };
      const guess = async (index: number, headers: Record<string, string>) => await postJson(`${own.url}/oauth/token`, { grant_type: OTP, client_id: PUBLIC_CLIENT, realm: 'email', username: `person${index}@example.com`, otp: '000000' }, headers);
      for (let index = 0; index < 100; index++) expect((await guess(index, from)).status).toBe(403);
      expect(await guess(100, from)).toMatchObject({ status: 429, body: { error: 'too_many_attempts' } });
      expect((await guess(100, { 'x-forwarded-for': '203.0.113.8' })).status).toBe(403);
      await own.addClient('server', { token_endpoint_auth_method: 'client_secret_post', is_token_endpoint_ip_header_trusted: true });
      const byServer = await own.login('behind@example.com', '000000', { client_id: 'server' }, { ...from, 'auth0-forwarded-for': '203.0.113.9' });
      expect(byServer.status).toBe(403);
      await own.database.db.updateTable('counter').set({ expires_at: 1 }).execute();
      expect((await guess(101, from)).status).toBe(403);
    } finally {
      await own.close();
    }
  });
});
