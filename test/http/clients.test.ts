import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Answer, bearer, callApi, CLIENT_ID, postJson, send, signUp, startTestApp, type TestApp } from './test-app.ts';

let app: TestApp;
let headers: { authorization: string };

beforeAll(async () => {
  app = await startTestApp();
  headers = await bearer(app);
});

afterAll(async () => {
  await app.close();
});

async function call(method: string, path: string, body?: unknown, as = headers): Promise<Answer> {
  return await callApi(app, as, method, `/clients${path}`, body);
}

const create = async (body: Record<string, unknown>) => await call('POST', '', body);

describe('a client', () => {
  it("is made with Auth0's defaults, keeps every property as it came, and is read back the same", async () => {
    const given = {
      name: 'Shop',
      description: 'The shop',
      app_type: 'regular_web',
      callbacks: ['https://shop.example/callback'],
      allowed_origins: ['https://shop.example'],
      web_origins: ['https://shop.example'],
      allowed_clients: ['other'],
      addons: { samlp: { mappings: { email: 'mail' } } },
      mobile: { ios: { team_id: 'T', app_bundle_identifier: 'b' } },
      refresh_token: { rotation_type: 'rotating', expiration_type: 'expiring', leeway: 3 },
      token_endpoint_auth_method: 'client_secret_post',
      client_metadata: { plan: 'gold' },
    };
    const { status, body } = await create(given);
    expect(status).toBe(201);
    expect(body).toMatchObject({
      ...given,
      client_id: expect.stringMatching(/^[\w-]{32}$/),
      client_secret: expect.stringMatching(/^[\w-]{64}$/),
      is_first_party: true,
      oidc_conformant: false,
      jwt_configuration: { secret_encoded: false, lifetime_in_seconds: 36_000 },
      grant_types: ['authorization_code', 'implicit', 'refresh_token', 'client_credentials'],
    });
    expect((await call('GET', `/${body.client_id}`)).body).toEqual(body);
  });

  it('is changed property by property: metadata is merged, null takes out', async () => {
    const { client_id: id } = (await create({ name: 'Changing', client_metadata: { a: '1', b: '2' }, description: 'x', callbacks: ['https://a.example'] })).body;
    const { status, body } = await call('PATCH', `/${id}`, { name: 'Changed', client_metadata: { a: null, c: '3' }, description: null, jwt_configuration: { alg: 'RS256' } });
    expect(status).toBe(200);
    expect(body).toMatchObject({
      name: 'Changed',
      client_metadata: { b: '2', c: '3' },
      callbacks: ['https://a.example'],
      jwt_configuration: { alg: 'RS256', secret_encoded: false, lifetime_in_seconds: 36_000 },
    });
    expect(body).not.toHaveProperty('description');
    expect((await call('PATCH', `/${id}`, { client_metadata: {} })).body).not.toHaveProperty('client_metadata');
  });

  it('shows its secret only to who may read keys, and never in the log or the store', async () => {
    const { client_id: id, client_secret: secret } = (await create({ name: 'Secretive' })).body;
    const plain = await bearer(app, 'read:clients update:clients');
    expect((await call('GET', `/${id}`, undefined, plain)).body).not.toHaveProperty('client_secret');
    expect((await call('PATCH', `/${id}`, { description: 'x' }, plain)).body).not.toHaveProperty('client_secret');
    const { body: list } = await call('GET', '', undefined, plain);
    expect(list.some((client: object) => 'client_secret' in client)).toBe(false);
    const keys = await bearer(app, 'read:client_keys');
    expect((await call('GET', `/${id}`, undefined, keys)).body.client_secret).toBe(secret);
    const row = await app.database.db.selectFrom('client').selectAll().where('id', '=', id).executeTakeFirstOrThrow();
    expect(JSON.stringify(row)).not.toContain(secret);
    expect(app.logText()).not.toContain(secret);
  });

  it('shows its key material only to who may read keys, and lets only who may change keys set a secret', async () => {
    const encryption = { pub: 'public key', cert: 'certificate' };
    const { client_id: id } = (await create({ name: 'Keys', encryption_key: encryption, client_authentication_methods: { private_key_jwt: { credentials: [] } } })).body;
    const plain = await bearer(app, 'read:clients update:clients');
    for (const { body } of [await call('GET', `/${id}`, undefined, plain), await call('PATCH', `/${id}`, { description: 'x' }, plain)]) {
      expect(Object.keys(body).filter((name) => /encryption_key|authentication_methods|secret/.test(name))).toEqual([]);
    }
    expect((await call('GET', `/${id}`, undefined, await bearer(app, 'read:client_keys'))).body.encryption_key).toEqual(encryption);

    const secret = 'chosen by somebody who may not';
    for (const change of [{ client_secret: secret }, { encryption_key: null }]) {
      expect(await call('PATCH', `/${id}`, change, plain)).toMatchObject({ status: 403, body: { errorCode: 'insufficient_scope', message: 'Insufficient scope, expected any of: update:client_keys' } });
    }
    expect((await call('PATCH', `/${id}`, { client_secret: secret }, await bearer(app, 'update:client_keys'))).status).toBe(200);
    expect((await call('GET', `/${id}`)).body).toMatchObject({ client_secret: secret, encryption_key: encryption });
  });

  it('gets a new secret, and the old one opens nothing', async () => {
    const { client_id: id, client_secret: old } = (await create({ name: 'Rotating' })).body;
    const { status, body } = await call('POST', `/${id}/rotate-secret`);
    expect(status).toBe(200);
    expect(body.client_secret).not.toBe(old);
    const token = async (secret: string) =>
      (await postJson(`${app.url}/oauth/token`, { grant_type: 'client_credentials', client_id: id, client_secret: secret })).body.error;
    expect(await token(old)).toBe('invalid_client');
    // Known, but without a grant.
    expect(await token(body.client_secret)).toBe('access_denied');
  });

  it('can bring its id and secret along from where it was before', async () => {
    const moved = { client_id: 'my.shop_1-LFjQV4Arh26DY1Yl8ZcvLA', client_secret: 'the secret it had on Auth0' };
    expect((await create({ name: 'Moved', ...moved })).body).toMatchObject(moved);
    expect((await call('GET', `/${moved.client_id}`)).body).toMatchObject(moved);
    expect(await create({ name: 'Moved twice', ...moved })).toMatchObject({ status: 409 });
  });

  it('may not use the grants that it does not have', async () => {
    const { client_id: id, client_secret: secret } = (await create({ name: 'Web', grant_types: ['implicit'] })).body;
    expect(await postJson(`${app.url}/oauth/token`, { grant_type: 'client_credentials', client_id: id, client_secret: secret })).toMatchObject({
      status: 403,
      body: { error: 'unauthorized_client', error_description: "Grant type 'client_credentials' not allowed for the client." },
    });
    expect((await create({ name: 'Page', app_type: 'spa' })).body.grant_types).toEqual(['authorization_code', 'implicit', 'refresh_token']);
    expect((await create({ name: 'Machine', app_type: 'non_interactive' })).body.grant_types).toEqual(['client_credentials']);
    expect(await create({ name: 'No', token_endpoint_auth_method: 'none', grant_types: ['client_credentials'] })).toMatchObject({
      status: 400,
      body: { message: 'Invalid grant types: client_credentials' },
    });
  });

  it('tells Actions its metadata', async () => {
    const { client_id: id } = (await create({ name: 'Told', client_metadata: { plan: 'gold' } })).body;
    await app.bind('pre-user-registration', [
      { name: 'tell', code: 'exports.onExecutePreUserRegistration = async (event, api) => api.access.deny("no", JSON.stringify(event.client));' },
    ]);
    const { body } = await signUp(app, { client_id: id });
    expect(JSON.parse(body.error_description)).toEqual({ client_id: id, name: 'Told', metadata: { plan: 'gold' } });
    await app.bind('pre-user-registration', []);
  });

  it('is deleted with its grants and its place on connections', async () => {
    const { client_id: id } = (await create({ name: 'Leaving' })).body;
    const { body: connection } = await postJson(`${app.url}/api/v2/connections`, { name: 'leaving', strategy: 'auth0', enabled_clients: [id, CLIENT_ID] }, headers);
    await postJson(`${app.url}/api/v2/client-grants`, { client_id: id, audience: `${app.url}/api/v2/`, scope: ['read:users'] }, headers);
    expect((await call('DELETE', `/${id}`)).status).toBe(204);
    expect((await call('DELETE', `/${id}`)).status).toBe(204);
    expect(await call('GET', `/${id}`)).toMatchObject({ status: 404, body: { message: 'The client does not exist', errorCode: 'inexistent_client' } });
    expect((await send(`${app.url}/api/v2/connections/${connection.id}`, { headers })).body.enabled_clients).toEqual([CLIENT_ID]);
    expect((await send(`${app.url}/api/v2/client-grants?client_id=${id}`, { headers })).body).toEqual([]);
  });
});

describe('the first client', () => {
  it('is on the list, and can be changed, but neither deleted nor given another secret', async () => {
    expect((await call('GET', `/${CLIENT_ID}`)).body).toMatchObject({ client_id: CLIENT_ID, name: 'First client' });
    expect((await call('PATCH', `/${CLIENT_ID}`, { description: 'Ours' })).body).toMatchObject({ description: 'Ours' });
    expect(await call('DELETE', `/${CLIENT_ID}`)).toMatchObject({ status: 409, body: { message: expect.stringContaining('AUTH0_EXCLUDED_CLIENTS') } });
    expect((await call('PATCH', `/${CLIENT_ID}`, { grant_types: ['password'] })).status).toBe(409);
    for (const change of [call('POST', `/${CLIENT_ID}/rotate-secret`), call('PATCH', `/${CLIENT_ID}`, { client_secret: 'x'.repeat(32) })]) {
      expect(await change).toMatchObject({ status: 409, body: { message: expect.stringContaining('USHER_CLIENT_SECRET') } });
    }
    expect((await call('GET', '')).status).toBe(200);
  });
});

describe('the list of clients', () => {
  it('is filtered by kind, gives pages with totals, checkpoints, and the fields that are wanted', async () => {
    for (const name of ['l1', 'l2', 'l3']) await create({ name, app_type: 'native', is_first_party: false });
    const { body: page } = await call('GET', '?app_type=native&is_first_party=false&include_totals=true&per_page=2&page=1&fields=name');
    expect(page).toMatchObject({ start: 2, limit: 2, length: 1, total: 3, clients: [{ name: expect.stringMatching(/^l\d$/) }] });
    const seen: string[] = [];
    let from = '';
    for (let turns = 0; turns < 5; turns++) {
      const { body } = await call('GET', `?app_type=native&is_first_party=false&take=2${from}`);
      seen.push(...body.clients.map((client: { name: string }) => client.name));
      if (body.next === undefined) break;
      from = `&from=${body.next}`;
    }
    expect(seen.toSorted()).toEqual(['l1', 'l2', 'l3']);
    expect((await call('GET', '?is_global=true')).body).toEqual([]);
    expect((await call('GET', '?app_type=native,spa&fields=client_secret&include_fields=false')).body[0]).not.toHaveProperty('client_secret');
  });
});

describe('a request about clients', () => {
  it.each([
    ['without a name', {}, "Payload validation error: 'Missing required property: name'."],
    ['with a property that Auth0 does not know', { name: 'x', color: 'red' }, "Payload validation error: 'Additional properties not allowed: color'."],
    ['with too much metadata', { name: 'x', client_metadata: Object.fromEntries(Array.from({ length: 11 }, (_, index) => [`k${index}`, 'v'])) }, "Payload validation error: 'Too many properties defined (11), maximum 10' on property client_metadata."],
    ['with metadata that is too long', { name: 'x', client_metadata: { a: 'x'.repeat(256) } }, "Payload validation error: 'String is too long (256 chars), maximum 255' on property client_metadata.a."],
  ])('%s is refused', async (_, body, message) => {
    expect(await create(body)).toMatchObject({ status: 400, body: { statusCode: 400, error: 'Bad Request', message, errorCode: 'invalid_body' } });
  });

  it('about one that is not there is answered with 404', async () => {
    for (const [method, path] of [['GET', '/nobody'], ['PATCH', '/nobody'], ['POST', '/nobody/rotate-secret']] as const) {
      expect(await call(method, path, method === 'PATCH' ? {} : undefined)).toMatchObject({ status: 404, body: { errorCode: 'inexistent_client' } });
    }
  });
});
