import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DEFAULT_CONNECTION } from '../../src/store/connections.ts';
import { type Answer, bearer, callApi, CLIENT_ID, postJson, signUp, startTestApp, type TestApp } from './test-app.ts';

let app: TestApp;
let headers: { authorization: string };

beforeAll(async () => {
  app = await startTestApp();
  headers = await bearer(app);
});

afterAll(async () => {
  await app.close();
});

async function call(method: string, path: string, body?: unknown): Promise<Answer> {
  return await callApi(app, headers, method, `/connections${path}`, body);
}

const create = async (body: Record<string, unknown>) => await call('POST', '', body);

describe('a connection', () => {
  it("is made with Auth0's defaults for nobody, and is read back the same", async () => {
    const { status, body } = await create({ name: 'customers', strategy: 'auth0' });
    expect({ status, body }).toEqual({
      status: 201,
      body: {
        id: expect.stringMatching(/^con_[0-9a-f]{16}$/),
        name: 'customers',
        strategy: 'auth0',
        options: { passwordPolicy: 'good', strategy_version: 2, brute_force_protection: true },
        is_domain_connection: false,
        realms: ['customers'],
        enabled_clients: [],
      },
    });
    expect((await call('GET', `/${body.id}`)).body).toEqual(body);
    expect(await create({ name: 'customers', strategy: 'email' })).toMatchObject({ status: 409, body: { message: 'A connection with the same name already exists' } });
  });

  it('keeps options and properties that have no effect here, and replaces options as a whole', async () => {
    const options = { passwordPolicy: 'fair', customScripts: { login: 'function login() {}' }, mfa: { active: true } };
    const { body } = await create({ name: 'kept', strategy: 'auth0', options, display_name: 'Kept', show_as_button: true, metadata: { team: 'a' } });
    expect(body).toMatchObject({ options, display_name: 'Kept', show_as_button: true, metadata: { team: 'a' } });
    const { body: changed } = await call('PATCH', `/${body.id}`, { options: { passwordPolicy: 'low' }, show_as_button: null });
    expect(changed.options).toEqual({ passwordPolicy: 'low' });
    expect(changed).toMatchObject({ display_name: 'Kept', metadata: { team: 'a' } });
    expect(changed).not.toHaveProperty('show_as_button');
  });

  it('of another kind is kept for tools, with its secrets sealed, and nobody can sign up there', async () => {
    const options = { client_id: 'id', client_secret: 'google-secret', scope: ['email'], nested: [{ api_key: 'nested-secret' }], configuration: { DB: 'dsn-secret' } };
    const { body } = await create({ name: 'google', strategy: 'google-oauth2', options, enabled_clients: [CLIENT_ID] });
    expect(body.options).toEqual(options);
    expect((await call('GET', `/${body.id}`)).body.options).toEqual(options);
    const row = await app.database.db.selectFrom('connection').selectAll().where('name', '=', 'google').executeTakeFirstOrThrow();
    for (const secret of ['google-secret', 'nested-secret', 'dsn-secret']) {
      expect(JSON.stringify(row)).not.toContain(secret);
      expect(app.logText()).not.toContain(secret);
    }
    expect(await signUp(app, { connection: 'google' })).toMatchObject({ status: 400, body: { code: 'invalid_connection' } });
  });

  it('takes sign-ups only through clients that it is enabled for', async () => {
    const { body } = await create({ name: 'members', strategy: 'auth0' });
    expect(await signUp(app, { connection: 'members' })).toMatchObject({ status: 400, body: { code: 'invalid_connection' } });
    expect((await call('PATCH', `/${body.id}/clients`, [{ client_id: CLIENT_ID, status: true }])).status).toBe(204);
    expect((await signUp(app, { connection: 'members' })).status).toBe(200);
    expect((await call('PATCH', `/${body.id}`, { enabled_clients: [] })).body.enabled_clients).toEqual([]);
    expect((await signUp(app, { connection: 'members' })).status).toBe(400);
  });

  it('is deleted with its users', async () => {
    const { body } = await create({ name: 'passing', strategy: 'auth0', enabled_clients: [CLIENT_ID] });
    await signUp(app, { connection: 'passing' });
    expect(await call('DELETE', `/${body.id}`)).toMatchObject({ status: 202, body: { deleted_at: expect.any(String) } });
    expect(await call('GET', `/${body.id}`)).toMatchObject({ status: 404, body: { message: 'The connection does not exist', errorCode: 'inexistent_connection' } });
    expect(await app.database.db.selectFrom('user_account').select('id').where('connection_id', '=', body.id).execute()).toEqual([]);
    expect((await call('DELETE', `/${body.id}`)).status).toBe(202);
  });

  it('loses the user of an address', async () => {
    const { body } = await create({ name: 'leavers', strategy: 'auth0', enabled_clients: [CLIENT_ID] });
    for (const email of ['a.leaver@example.com', 'b.leaver@example.com']) await signUp(app, { connection: 'leavers', email });
    expect((await call('DELETE', `/${body.id}/users?email=A.leaver@example.com`)).status).toBe(204);
    const left = await app.database.db.selectFrom('user_account').select('email').where('connection_id', '=', body.id).execute();
    expect(left).toEqual([{ email: 'b.leaver@example.com' }]);
    expect((await call('DELETE', '/con_none/users?email=x@example.com')).status).toBe(404);
  });
});

describe('the clients of a connection', () => {
  it('are all of them on the one that is there from the start, until they are chosen', async () => {
    const { body: found } = await call('GET', `?name=${DEFAULT_CONNECTION}`);
    const { id } = found[0];
    const { body: client } = await postJson(`${app.url}/api/v2/clients`, { name: 'Second' }, headers);
    const ids = async () => (await call('GET', `/${id}/clients`)).body.clients.map((each: { client_id: string }) => each.client_id).toSorted();
    expect(await ids()).toEqual([CLIENT_ID, client.client_id as string].toSorted());
    expect((await signUp(app, { client_id: client.client_id })).status).toBe(200);
    await call('PATCH', `/${id}/clients`, [{ client_id: client.client_id, status: false }]);
    expect(await ids()).toEqual([CLIENT_ID]);
    expect(await signUp(app, { client_id: client.client_id })).toMatchObject({ status: 400, body: { code: 'invalid_connection' } });
    expect((await signUp(app)).status).toBe(200);
    await postJson(`${app.url}/api/v2/clients`, { name: 'Third' }, headers);
    expect(await ids()).toEqual([CLIENT_ID]);
  });

  it('are listed in parts, and must exist', async () => {
    const made = await Promise.all(['c1', 'c2', 'c3'].map(async (name) => (await postJson(`${app.url}/api/v2/clients`, { name }, headers)).body.client_id as string));
    const { body } = await create({ name: 'listed', strategy: 'auth0', enabled_clients: [...made, 'nobody'] });
    const first = (await call('GET', `/${body.id}/clients?take=2`)).body;
    const second = (await call('GET', `/${body.id}/clients?take=2&from=${first.next}`)).body;
    expect([...first.clients, ...second.clients].map((each: { client_id: string }) => each.client_id)).toEqual(made.toSorted());
    expect(second).not.toHaveProperty('next');
    expect(await call('PATCH', `/${body.id}/clients`, [{ client_id: 'nobody', status: true }])).toMatchObject({ status: 404 });
  });
});

describe('the list of connections', () => {
  it('is filtered by strategies and name, and gives pages, totals, checkpoints and fields', async () => {
    for (const [name, strategy] of [['mail', 'email'], ['text', 'sms'], ['saml', 'samlp']]) await create({ name, strategy });
    const names = ({ body }: Answer) => (Array.isArray(body) ? body : body.connections).map((each: { name: string }) => each.name).toSorted();
    expect(names(await call('GET', '?strategy=email&strategy=sms'))).toEqual(['mail', 'text']);
    expect(names(await call('GET', '?strategy=samlp'))).toEqual(['saml']);
    expect((await call('GET', '?name=mail&fields=name,strategy')).body).toEqual([{ name: 'mail', strategy: 'email' }]);
    expect((await call('GET', '?strategy=email&include_totals=true&per_page=1')).body).toMatchObject({ start: 0, limit: 1, length: 1, total: 1 });
    const { body } = await call('GET', '?strategy=email&strategy=sms&take=1&include_totals=true');
    expect(Object.keys(body).toSorted()).toEqual(['connections', 'next']);
    const rest = await call('GET', `?strategy=email&strategy=sms&take=5&from=${body.next}`);
    expect(new Set([...names({ body } as Answer), ...names(rest)])).toEqual(new Set(['mail', 'text']));
    expect(rest.body).not.toHaveProperty('next');
  });
});

describe('a request about connections', () => {
  it.each([
    ['without a strategy', { name: 'x' }, "Payload validation error: 'Missing required property: strategy'."],
    ['with a name that no URL could have', { name: '-x', strategy: 'auth0' }, expect.stringContaining('on property name.')],
    ['with a policy that does not exist', { name: 'x', strategy: 'auth0', options: { passwordPolicy: 'best' } }, "Payload validation error: 'No enum match for: best' on property options.passwordPolicy."],
    ['with a username that cannot be', { name: 'x', strategy: 'auth0', options: { validation: { username: { min: 9, max: 3 } } } }, expect.stringContaining('on property options.validation.username.')],
    ['with an unknown property', { name: 'x', strategy: 'auth0', colour: 1 }, "Payload validation error: 'Additional properties not allowed: colour'."],
  ])('%s is refused', async (_, body, message) => {
    expect(await create(body)).toMatchObject({ status: 400, body: { message, errorCode: 'invalid_body' } });
  });
});
