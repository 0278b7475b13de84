import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { verify } from '@node-rs/argon2';
import { DEFAULT_CONNECTION } from '../../src/store/connections.ts';
import { type Answer, bearer, callApi, CLIENT_ID, newestLog, PASSWORD, postJson, startTestApp, type TestApp } from './test-app.ts';

const MS_DATE = expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
const NEW_PASSWORD = 'Another-horse-8';

let app: TestApp;
let token: { authorization: string };
let people = 0;

beforeAll(async () => {
  app = await startTestApp();
  token = await bearer(app);
  const now = Date.now();
  for (const strategy of ['email', 'sms', 'google-oauth2']) {
    await app.database.db.insertInto('connection').values({ id: `con_${strategy}`, name: strategy, strategy, options: '{}', metadata: '{}', created_at: now }).execute();
  }
  await app.database.db
    .insertInto('connection')
    .values({ id: 'con_names', name: 'names', strategy: 'auth0', options: JSON.stringify({ requires_username: true }), metadata: '{}', created_at: now })
    .execute();
});
afterAll(() => app.close());
beforeEach(async () => {
  people++;
  await app.bind('pre-user-registration', []);
  await app.bind('post-user-registration', []);
});

const newUser = (fields: Record<string, unknown> = {}) => ({ connection: DEFAULT_CONNECTION, email: `p${people}@example.com`, password: PASSWORD, ...fields });
const call = async (method: string, path: string, body?: unknown, headers: Record<string, string> = token): Promise<Answer> =>
  await callApi(app, headers, method, path, body);
const at = (id: string) => `/users/${encodeURIComponent(id)}`;
const refused = (status: number, error: string, message: unknown, errorCode?: string) => ({
  status,
  body: { statusCode: status, error, message, ...(errorCode === undefined ? {} : { errorCode }) },
});
const badRequest = (message: unknown, errorCode?: string) => refused(400, 'Bad Request', message, errorCode);
const invalid = (problem: string) => badRequest(`Payload validation error: '${problem}'.`, 'invalid_body');
const notThere = refused(404, 'Not Found', 'The user does not exist.', 'inexistent_user');

/** The addresses that mails ask a user to verify. */
async function toVerify(userId: string): Promise<(string | null)[]> {
  const tickets = await app.database.db.selectFrom('ticket').select('email').where('user_id', '=', userId).where('kind', '=', 'verify_email').orderBy('created_at').execute();
  return tickets.map(({ email }) => email);
}

async function create(fields: Record<string, unknown> = {}): Promise<Answer['body']> {
  const { status, body } = await call('POST', '/users', newUser(fields));
  expect(status, JSON.stringify(body)).toBe(201);
  return body;
}

describe('POST /users', () => {
  test('answers as Auth0 does, with the defaults of name, nickname and picture', async () => {
    const created = await create({ email: `Ada${people}@Example.COM` });
    const email = `ada${people}@example.com`;
    expect(created).toEqual({
      created_at: MS_DATE,
      email,
      email_verified: false,
      identities: [{ connection: DEFAULT_CONNECTION, user_id: expect.stringMatching(/^[0-9a-f]{24}$/), provider: 'auth0', isSocial: false }],
      name: email,
      nickname: `ada${people}`,
      picture: expect.stringMatching(/^https:\/\/s\.gravatar\.com\/avatar\//),
      updated_at: created.created_at,
      user_id: `auth0|${created.identities[0].user_id}`,
    });
    expect(await call('GET', at(created.user_id))).toMatchObject({ status: 200, body: created });
  });

  test('keeps everything that is given', async () => {
    const given = {
      given_name: 'Åda',
      family_name: '李',
      name: '🦊 Åda 李',
      nickname: 'å',
      picture: 'https://example.com/a.png',
      phone_number: '+15551234',
      phone_verified: true,
      email_verified: true,
      blocked: true,
      user_metadata: { color: 'blue', nested: { a: [1, null] } },
      app_metadata: { plan: 'full' },
    };
    const created = await create({ ...given, user_id: `own|${people}` });
    expect(created).toMatchObject({ ...given, user_id: `auth0|own|${people}`, identities: [{ user_id: `own|${people}` }] });
    expect((await call('GET', at(created.user_id))).body).toEqual(created);
  });

  test('is a registration with both triggers, whose event has the body without the password', async () => {
    await app.bind('pre-user-registration', [{
      name: 'plan',
      code: `exports.onExecutePreUserRegistration = async (event, api) => {
        api.user.setAppMetadata('seen', { body: event.request.body, client: event.client.client_id, plan: event.user.app_metadata.plan });
      };`,
    }]);
    await app.bind('post-user-registration', [{ name: 'after', code: 'exports.onExecutePostUserRegistration = async () => {};' }]);
    const before = app.wakeUps();
    const created = await create({ app_metadata: { plan: 'full' }, email_verified: true });
    expect(created.app_metadata).toEqual({
      plan: 'full',
      seen: { body: { connection: DEFAULT_CONNECTION, email: created.email, email_verified: true, app_metadata: { plan: 'full' } }, client: CLIENT_ID, plan: 'full' },
    });
    expect(app.wakeUps()).toBe(before + 1);
    const registration = await app.database.db.selectFrom('registration').selectAll().where('user_id', '=', created.user_id).executeTakeFirstOrThrow();
    expect(registration).toMatchObject({ source: 'management-api', state: 'open', client_id: CLIENT_ID });
  });

  test('is refused as a pre-user-registration Action says, and leaves nobody behind', async () => {
    await app.bind('pre-user-registration', [{ name: 'no', code: `exports.onExecutePreUserRegistration = async (_, api) => { api.access.deny('on the list', 'Not today.'); };` }]);
    expect(await call('POST', '/users', newUser())).toMatchObject(badRequest('Not today.', 'extensibility_error'));
    expect((await call('GET', `/users-by-email?email=p${people}@example.com`)).body).toEqual([]);
    expect(await newestLog(app, 'fs')).toMatchObject({ description: 'on the list', user_name: `p${people}@example.com` });

    await app.bind('pre-user-registration', [{ name: 'broken', code: `exports.onExecutePreUserRegistration = async () => { throw new Error('secret detail'); };` }]);
    const failed = await call('POST', '/users', newUser());
    expect(failed).toMatchObject(badRequest(expect.stringContaining('a pre-user-registration Action failed'), 'extensibility_error'));
    expect(JSON.stringify(failed.body)).not.toContain('secret detail');
  });

  test('there is one user of an address, a username, a number or an id, however they are written and however many ask at once', async () => {
    const conflict = refused(409, 'Conflict', 'The user already exists.', 'auth0_idp_error');
    await create({ user_id: `id${people}` });
    expect(await call('POST', '/users', newUser({ email: `P${people}@EXAMPLE.com` }))).toMatchObject(conflict);
    expect(await call('POST', '/users', newUser({ email: 'other@example.com', user_id: `id${people}` }))).toMatchObject(conflict);
    expect((await call('POST', '/users', newUser({ connection: 'email', password: undefined }))).status).toBe(201);

    const atOnce = await Promise.all(Array.from({ length: 6 }, () => call('POST', '/users', newUser({ email: `race${people}@example.com` }))));
    for (const [status, times] of [[201, 1], [409, 5]]) expect(atOnce.filter((answer) => answer.status === status)).toHaveLength(times!);

    const phone = { connection: 'sms', email: undefined, password: undefined, phone_number: `+1555000${people}` };
    expect((await call('POST', '/users', newUser(phone))).status).toBe(201);
    expect(await call('POST', '/users', newUser(phone))).toMatchObject(conflict);
  });

  test('a password must be as strong as the connection asks, and is kept as a hash', async () => {
    expect(await call('POST', '/users', newUser({ password: 'weak' }))).toMatchObject(badRequest('PasswordStrengthError: Password is too weak'));
    const { user_id: id } = await create();
    const { password_hash: hash } = await app.database.db.selectFrom('user_account').select('password_hash').where('id', '=', id).executeTakeFirstOrThrow();
    expect(await verify(hash!, PASSWORD)).toBe(true);
    expect(app.logText()).not.toContain(PASSWORD);
  });

  test.each([
    ['an unknown connection', { connection: 'nowhere' }, 'The connection does not exist.'],
    ['a social connection', { connection: 'google-oauth2' }, 'does not support user creation through the API'],
    ['no e-mail', { email: undefined }, "'Missing required property: email'."],
    ['no password', { password: undefined }, "'Missing required property: password'."],
    ['no phone number for SMS', { connection: 'sms', password: undefined }, "'Missing required property: phone_number'."],
    ['no username where one is required', { connection: 'names' }, "'Missing required property: username'."],
    ['a username where there is none', { username: 'ada' }, 'Cannot set username for connection without requires_username'],
    ['a password for a passwordless user', { connection: 'email' }, 'Cannot set password for a user of a passwordless connection'],
    ['an attribute of its own', { zoneinfo: 'CET' }, "'Additional properties not allowed: zoneinfo'."],
    ['a malformed address', { email: 'ada@localhost' }, "'Object didn't pass validation for format email' on property email."],
    ['a space in the id', { user_id: 'a b' }, "' on property user_id."],
  ])('refuses %s', async (_, fields, problem) => {
    expect(await call('POST', '/users', newUser(fields))).toMatchObject(badRequest(expect.stringContaining(problem)));
  });

  test('usernames are kept in lower case, where the connection has them', async () => {
    expect(await create({ connection: 'names', username: 'Ada_L' })).toMatchObject({ username: 'ada_l', email: `p${people}@example.com` });
    expect((await call('POST', '/users', newUser({ connection: 'names', email: 'another@example.com', username: 'ADA_l' }))).status).toBe(409);
  });

  test('a mail asks to verify the address of a database user, unless it is verified or the request says otherwise', async () => {
    const mailsFor = async (fields: Record<string, unknown>) => await toVerify((await create({ email: `m${Math.random()}@example.com`, ...fields })).user_id);
    expect(await mailsFor({ email: 'verify-me@example.com' })).toEqual(['verify-me@example.com']);
    expect(await mailsFor({ verify_email: false })).toEqual([]);
    expect(await mailsFor({ email_verified: true })).toEqual([]);
    expect(await mailsFor({ email_verified: true, verify_email: true })).toHaveLength(1);
    expect(await mailsFor({ connection: 'email', password: undefined })).toEqual([]);
  });

  test('a password must not be common or the name of its user, where the connection asks for that', async () => {
    const options = { passwordPolicy: 'low', password_dictionary: { enable: true }, password_no_personal_info: { enable: true } } as const;
    await app.setConnectionOptions(options);
    try {
      expect(await call('POST', '/users', newUser({ password: 'letmein' }))).toMatchObject(badRequest('PasswordDictionaryError: Password is too common'));
      const { user_id: id } = await create({ family_name: 'Lovelace' });
      expect(await call('PATCH', at(id), { password: 'my-lovelace-1' })).toMatchObject(badRequest('PasswordNoUserInfoError: Password contains user information'));
    } finally {
      await app.setConnectionOptions({ passwordPolicy: 'good' });
    }
  });

  test('users without a password: by e-mail and by SMS', async () => {
    expect(await create({ connection: 'email', password: undefined, email_verified: true })).toMatchObject({ user_id: expect.stringMatching(/^email\|/), email_verified: true });
    const sms = await create({ connection: 'sms', password: undefined, email: undefined, phone_number: `+4930${people}` });
    expect(sms).toMatchObject({ user_id: expect.stringMatching(/^sms\|/), phone_verified: false, name: `+4930${people}` });
    expect(sms).not.toHaveProperty('email');
    expect(sms).not.toHaveProperty('email_verified');
  });
});

describe('GET /users', () => {
  test('lists by page, with totals, some fields, in an order, and one connection only', async () => {
    await create({ email: `b${people}@list.example`, name: 'B' });
    await create({ email: `a${people}@list.example`, name: 'A' });
    await create({ email: `c${people}@list.example`, name: 'C', connection: 'email', password: undefined });
    const q = encodeURIComponent('email.domain:"list.example"');
    expect((await call('GET', `/users?q=${q}&sort=email:1&fields=name`)).body).toEqual([{ name: 'A' }, { name: 'B' }, { name: 'C' }]);
    expect((await call('GET', `/users?q=${q}&sort=email:-1&fields=email,name&include_fields=false&per_page=1`)).body[0]).not.toHaveProperty('email');
    expect((await call('GET', `/users?q=${q}&fields=name`)).body).toEqual([{ name: 'B' }, { name: 'A' }, { name: 'C' }]);
    expect((await call('GET', `/users?q=${q}&connection=email&fields=name&search_engine=v3&primary_order=false`)).body).toEqual([{ name: 'C' }]);
    expect((await call('GET', `/users?q=${q}&page=1&per_page=2&include_totals=true&fields=name`)).body).toEqual({ start: 2, limit: 2, length: 1, total: 3, users: [{ name: 'C' }] });
  });

  test('a search that cannot be answered is refused with its place, and a list ends after 1000', async () => {
    expect(await call('GET', `/users?q=${encodeURIComponent('name:a~2')}`)).toMatchObject(badRequest(expect.stringMatching(/error at column 7/), 'invalid_query_string'));
    expect(await call('GET', '/users?sort=app_metadata.plan:1')).toMatchObject(badRequest(expect.stringContaining('is not a sort order'), 'invalid_query_string'));
    expect(await call('GET', '/users?page=10&per_page=100')).toMatchObject(badRequest('You can only page through the first 1000 records.', 'invalid_paging'));
    expect(await call('GET', '/users?per_page=101')).toMatchObject(badRequest(expect.stringContaining('Query validation error'), 'invalid_query_string'));
    expect((await call('GET', `/users?q=${encodeURIComponent(`name:"${'𝓐'.repeat(2400)}"`)}`)).body).toEqual([]);
    expect(await call('GET', '/users?search_engine=v2')).toMatchObject(badRequest(expect.stringContaining('search_engine'), 'invalid_query_string'));
  });

  test('by e-mail: every connection, exactly the address', async () => {
    await create();
    await create({ connection: 'email', password: undefined });
    const find = async (email: string) => (await call('GET', `/users-by-email?email=${encodeURIComponent(email)}&fields=identities`)).body;
    expect((await find(`p${people}@example.com`)).map((user: Answer['body']) => user.identities[0].connection)).toEqual([DEFAULT_CONNECTION, 'email']);
    expect(await find(`P${people}@example.com`)).toEqual([]);
  });

  test('one user: some of its fields, or 404', async () => {
    const { user_id: id, name } = await create();
    expect((await call('GET', `${at(id)}?fields=name,user_id`)).body).toEqual({ name, user_id: id });
    expect(await call('GET', at('auth0|none'))).toMatchObject(notThere);
    expect(await call('GET', '/users/%ff')).toMatchObject({ status: 400 });
  });
});

describe('PATCH /users/{id}', () => {
  test('metadata is merged at its first level; null removes, {} removes all', async () => {
    const { user_id: id } = await create({ user_metadata: { a: 1, b: { x: 1 } }, app_metadata: { plan: 'full' } });
    const { body } = await call('PATCH', at(id), { user_metadata: { b: { y: 2 }, a: null, ['__proto__x']: true }, app_metadata: { roles: ['admin'] } });
    expect(body).toMatchObject({ user_metadata: { b: { y: 2 }, ['__proto__x']: true }, app_metadata: { plan: 'full', roles: ['admin'] } });
    expect(body.user_metadata).not.toHaveProperty('a');
    expect(body.updated_at >= body.created_at).toBe(true);
    const { body: emptied } = await call('PATCH', at(id), { user_metadata: {}, app_metadata: null });
    expect(emptied).not.toHaveProperty('user_metadata');
    expect(emptied).not.toHaveProperty('app_metadata');
  });

  test('updates of different properties at once lose none', async () => {
    const { user_id: id } = await create();
    await Promise.all(Array.from({ length: 8 }, (_, index) => call('PATCH', at(id), { app_metadata: { [`k${index}`]: index } })));
    expect(Object.keys((await call('GET', at(id))).body.app_metadata)).toHaveLength(8);
  });

  test('the profile changes, and null removes', async () => {
    const { user_id: id } = await create({ given_name: 'Ada', nickname: 'a' });
    const { body } = await call('PATCH', at(id), { given_name: null, nickname: 'ace', name: 'Ada L', blocked: true });
    expect(body).toMatchObject({ nickname: 'ace', name: 'Ada L', blocked: true });
    expect(body).not.toHaveProperty('given_name');
    expect((await call('PATCH', at(id), { blocked: false })).body).not.toHaveProperty('blocked');
  });

  test('a new address is not verified, unless the same request says so', async () => {
    const { user_id: id } = await create({ email_verified: true });
    expect((await call('PATCH', at(id), { email: `P${people}@example.com` })).body).toMatchObject({ email_verified: true });
    expect((await call('PATCH', at(id), { email: `new${people}@example.com`, client_id: CLIENT_ID })).body).toMatchObject({ email: `new${people}@example.com`, email_verified: false, name: `p${people}@example.com` });
    expect((await call('PATCH', at(id), { email: `newer${people}@example.com`, email_verified: true })).body).toMatchObject({ email_verified: true });
  });

  test('a mail asks to verify the new address, when the request wants it', async () => {
    const { user_id: id } = await create({ verify_email: false });
    await call('PATCH', at(id), { email: `one${people}@example.com` });
    expect(await toVerify(id)).toEqual([]);
    await call('PATCH', at(id), { email: `two${people}@example.com`, verify_email: true });
    expect(await toVerify(id)).toEqual([`two${people}@example.com`]);
    await call('PATCH', at(id), { email: `three${people}@example.com`, email_verified: true, verify_email: true });
    expect(await toVerify(id)).toHaveLength(1);
  });

  test('a new password is held against the policy, and its time is kept', async () => {
    const { user_id: id } = await create();
    expect(await call('PATCH', at(id), { password: 'weak' })).toMatchObject(badRequest('PasswordStrengthError: Password is too weak'));
    const { body } = await call('PATCH', at(id), { password: NEW_PASSWORD, connection: DEFAULT_CONNECTION, app_metadata: { foo: 'bar' } });
    expect(body).toMatchObject({ last_password_reset: MS_DATE, app_metadata: { foo: 'bar' } });
    const { password_hash: hash } = await app.database.db.selectFrom('user_account').select('password_hash').where('id', '=', id).executeTakeFirstOrThrow();
    expect([await verify(hash!, NEW_PASSWORD), await verify(hash!, PASSWORD)]).toEqual([true, false]);
  });

  test.each([
    [{ password: NEW_PASSWORD, email: 'x@example.com' }, 'Cannot update password and email simultaneously'],
    [{ password: NEW_PASSWORD, email_verified: true }, 'Cannot update password and email_verified simultaneously'],
    [{ username: 'ada', password: NEW_PASSWORD }, 'Cannot update username and password simultaneously'],
    [{ username: 'ada', email: 'x@example.com' }, 'Cannot update username and email simultaneously'],
    [{ username: 'ada', email_verified: true }, 'Cannot update username and email_verified simultaneously'],
    [{ username: 'ada' }, 'Cannot set username for connection without requires_username'],
    [{ connection: 'email' }, "The user has no identity in the connection 'email'."],
    [{ email: null }, "Payload validation error: 'email identifies the user and cannot be removed'."],
    [{ user_id: 'x' }, "Payload validation error: 'Additional properties not allowed: user_id'."],
  ])('refuses %j', async (body, message) => {
    const { user_id: id } = await create();
    expect(await call('PATCH', at(id), body)).toMatchObject({ status: 400, body: { message } });
  });

  test('what another user has is refused with 400, as on Auth0', async () => {
    await create({ email: `taken${people}@example.com` });
    const { user_id: id } = await create();
    expect(await call('PATCH', at(id), { email: `Taken${people}@example.com` })).toMatchObject(badRequest('The specified new email already exists', 'auth0_idp_error'));

    await create({ connection: 'names', email: `n1${people}@example.com`, username: `one${people}` });
    const named = await create({ connection: 'names', email: `n2${people}@example.com`, username: `two${people}` });
    expect(await call('PATCH', at(named.user_id), { username: `ONE${people}` })).toMatchObject(badRequest('The specified new username already exists', 'auth0_idp_error'));
    expect((await call('PATCH', at(named.user_id), { username: `Three${people}` })).body).toMatchObject({ username: `three${people}` });
    expect(await call('PATCH', at(named.user_id), { username: null })).toMatchObject({ status: 400 });

    const numbers = [`+1777${people}`, `+1888${people}`];
    const [first, second] = await Promise.all(numbers.map((number) => create({ connection: 'sms', email: undefined, password: undefined, phone_number: number })));
    expect(await call('PATCH', at(first.user_id), { phone_number: second.phone_number })).toMatchObject(badRequest('The specified new phone number already exists', 'auth0_idp_error'));
    expect(await call('PATCH', at(first.user_id), { email_verified: true })).toMatchObject(badRequest('Cannot update email_verified for this user', 'invalid_body'));
    expect((await call('PATCH', at(first.user_id), { phone_number: `+1999${people}`, phone_verified: true })).body).toMatchObject({ phone_verified: true });
    expect((await call('PATCH', at(first.user_id), { phone_number: `+1998${people}` })).body).toMatchObject({ phone_verified: false });
  });

  test('with update:users_app_metadata alone, only app_metadata', async () => {
    const { user_id: id } = await create();
    const only = await bearer(app, 'update:users_app_metadata');
    expect((await call('PATCH', at(id), { app_metadata: { a: 1 } }, only)).body).toMatchObject({ app_metadata: { a: 1 } });
    expect(await call('PATCH', at(id), { name: 'X' }, only)).toMatchObject(refused(403, 'Forbidden', 'Insufficient scope, expected any of: update:users', 'insufficient_scope'));
  });

  test('a user that is not there: 404', async () => {
    expect(await call('PATCH', at('auth0|none'), { name: 'X' })).toMatchObject(notThere);
  });

  test('metadata does not grow without end', async () => {
    const { user_id: id } = await create();
    const half = 'x'.repeat(600_000);
    expect((await call('PATCH', at(id), { app_metadata: { a: half } })).status).toBe(200);
    expect(await call('PATCH', at(id), { app_metadata: { b: half } })).toMatchObject(invalid('app_metadata would be larger than 1024 KiB'));
  });
});

describe('DELETE /users/{id} and the log', () => {
  test('a user is gone, twice is fine, and its registrations run on', async () => {
    await app.bind('post-user-registration', [{ name: 'after', code: 'exports.onExecutePostUserRegistration = async () => {};' }]);
    const { user_id: id } = await create();
    expect((await call('DELETE', at(id))).status).toBe(204);
    expect((await call('DELETE', at(id))).status).toBe(204);
    expect(await call('GET', at(id))).toMatchObject(notThere);
    const registration = await app.database.db.selectFrom('registration').select(['state', 'id']).where('user_id', '=', id).executeTakeFirstOrThrow();
    expect(registration.state).toBe('open');
    expect(await app.ledger.loadOpenSteps(registration.id)).toMatchObject([{ label: expect.stringContaining('after') }]);
    expect((await call('POST', '/users', newUser())).status).toBe(201);
  });

  test('the entries of one user, newest first', async () => {
    const { user_id: id } = await create();
    await create({ email: `x${people}@example.com` });
    const { body } = await call('GET', `${at(id)}/logs?include_totals=true`);
    expect(body).toMatchObject({ start: 0, limit: 50, length: 1, total: 1, logs: [{ type: 'ss', user_id: id }] });
    expect((await call('GET', `${at(id)}/logs?sort=date:1&per_page=1`)).body).toHaveLength(1);
    expect((await call('GET', `${at('auth0|none')}/logs`)).body).toEqual([]);
  });
});

test('each endpoint asks for its scope', async () => {
  const none = await bearer(app, 'read:clients');
  const expected: [string, string, string, unknown?][] = [
    ['GET', '/users', 'read:users'],
    ['POST', '/users', 'create:users', newUser()],
    ['GET', '/users/x', 'read:users'],
    ['PATCH', '/users/x', 'update:users,update:users_app_metadata', {}],
    ['DELETE', '/users/x', 'delete:users'],
    ['GET', '/users-by-email?email=x', 'read:users'],
    ['GET', '/users/x/logs', 'read:logs,read:logs_users'],
  ];
  for (const [method, path, scopes, body] of expected) {
    expect((await call(method, path, body, none)).body.message, `${method} ${path}`).toBe(`Insufficient scope, expected any of: ${scopes}`);
  }
  expect((await postJson(`${app.url}/api/v2/users`, newUser())).status).toBe(401);
});
