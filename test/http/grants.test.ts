import { createRemoteJWKSet, decodeJwt, jwtVerify } from 'jose';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { SCOPES } from '../../src/domain/scopes.ts';
import { type Answer, bearer, callApi, CLIENT_ID, postJson, send, startTestApp, type TestApp } from './test-app.ts';

const ORDERS = 'https://orders.example/v1/';

let app: TestApp;
let headers: { authorization: string };
let shop: { client_id: string; client_secret: string };

beforeAll(async () => {
  app = await startTestApp();
  headers = await bearer(app);
  shop = (await postJson(`${app.url}/api/v2/clients`, { name: 'Shop', app_type: 'non_interactive' }, headers)).body;
  await call('POST', 'resource-servers', { identifier: ORDERS, name: 'Orders', scopes: [{ value: 'read:orders', description: 'Read' }, { value: 'write:orders' }], token_lifetime: 300 });
});

afterAll(async () => {
  await app.close();
});

async function call(method: string, path: string, body?: unknown): Promise<Answer> {
  return await callApi(app, headers, method, `/${path}`, body);
}

const token = async (fields: Record<string, string>) =>
  await postJson(`${app.url}/oauth/token`, { grant_type: 'client_credentials', client_id: shop.client_id, client_secret: shop.client_secret, ...fields });

describe('a token', () => {
  it('needs a grant, in the words of Auth0', async () => {
    for (const audience of [ORDERS, `${app.url}/api/v2/`]) {
      expect(await token({ audience })).toMatchObject({
        status: 403,
        body: { error: 'access_denied', error_description: expect.stringMatching(`^Client is not authorized to access "${audience}". You need to create a "client-grant" associated to this API.`) },
      });
    }
    expect(await token({ audience: 'https://unknown.example/' })).toMatchObject({ status: 403, body: { error_description: 'Service not found: https://unknown.example/' } });
  });

  it("for another API has that API's audience, lifetime and scopes, and opens nothing of our own", async () => {
    const { body: grant } = await call('POST', 'client-grants', { client_id: shop.client_id, audience: ORDERS, scope: ['read:orders', 'read:users'] });
    const { status, body } = await token({ audience: ORDERS });
    expect({ status, body }).toEqual({ status: 200, body: { access_token: expect.any(String), scope: 'read:orders', expires_in: 300, token_type: 'Bearer' } });
    const { payload } = await jwtVerify(body.access_token, createRemoteJWKSet(new URL(`${app.url}/.well-known/jwks.json`)), { audience: ORDERS });
    expect(payload).toMatchObject({ azp: shop.client_id, gty: 'client-credentials', scope: 'read:orders' });
    expect((payload.exp ?? 0) - (payload.iat ?? 0)).toBe(300);
    expect(await send(`${app.url}/api/v2/clients`, { headers: { authorization: `Bearer ${body.access_token}` } })).toMatchObject({
      status: 401,
      body: { message: 'Bad audience in the JSON Web Token' },
    });

    expect(await token({ audience: ORDERS, scope: 'write:orders' })).toMatchObject({ status: 403, body: { error_description: 'Client has not been granted scopes: write:orders' } });
    await call('PATCH', `client-grants/${grant.id}`, { allow_all_scopes: true });
    expect((await token({ audience: ORDERS })).body.scope).toBe('read:orders write:orders');
    await call('DELETE', `client-grants/${grant.id}`);
    expect((await token({ audience: ORDERS })).status).toBe(403);
  });

  it('for our Management API has the scopes of the grant, under any domain', async () => {
    const { body: grant } = await call('POST', 'client-grants', { client_id: shop.client_id, audience: 'https://tenant.eu.auth0.com/api/v2/', scope: ['read:clients'] });
    expect(grant.audience).toBe(`${app.url}/api/v2/`);
    const { body } = await token({ audience: 'https://another.example/api/v2/' });
    expect(decodeJwt(body.access_token)['scope']).toBe('read:clients');
    const authorization = `Bearer ${body.access_token}`;
    expect((await send(`${app.url}/api/v2/clients`, { headers: { authorization } })).status).toBe(200);
    expect(await send(`${app.url}/api/v2/connections`, { headers: { authorization } })).toMatchObject({ status: 403, body: { errorCode: 'insufficient_scope' } });
    await call('PATCH', `client-grants/${grant.id}`, { scope: ['read:connections'] });
    expect((await token({})).body.scope).toBe('read:connections');
    await call('DELETE', `client-grants/${grant.id}`);
  });

  it('is not signed in a way that we do not have', async () => {
    await call('POST', 'resource-servers', { identifier: 'urn:hs', signing_alg: 'HS256' });
    await call('POST', 'client-grants', { client_id: shop.client_id, audience: 'urn:hs' });
    expect(await token({ audience: 'urn:hs' })).toMatchObject({ status: 403, body: { error_description: expect.stringContaining('HS256') } });
  });
});

describe('client grants', () => {
  it('are read back as they came, one for each client, API and kind of subject', async () => {
    const given = { client_id: shop.client_id, audience: ORDERS, scope: ['read:orders'], organization_usage: 'deny', allow_any_organization: false };
    const { status, body } = await call('POST', 'client-grants', given);
    expect({ status, body }).toEqual({ status: 201, body: { ...given, id: expect.stringMatching(/^cgr_/), subject_type: 'client' } });
    expect((await call('GET', `client-grants/${body.id}`)).body).toEqual(body);
    expect((await call('POST', 'client-grants', given)).status).toBe(409);
    expect((await call('POST', 'client-grants', { ...given, subject_type: 'user' })).status).toBe(201);
    const query = `client-grants?client_id=${shop.client_id}&audience=${encodeURIComponent(ORDERS)}`;
    expect((await call('GET', `${query}&include_totals=true`)).body).toMatchObject({ total: 2, start: 0, limit: 50 });
    expect((await call('GET', `${query}&subject_type=client&take=10`)).body).toEqual({ client_grants: [body] });
    expect((await call('GET', `${query}&allow_any_organization=true`)).body).toEqual([]);
    await call('DELETE', `client-grants/${body.id}`);
    expect(await call('GET', `client-grants/${body.id}`)).toMatchObject({ status: 404 });
  });

  it('are for a client and an API that exist', async () => {
    expect(await call('POST', 'client-grants', { client_id: 'nobody', audience: ORDERS })).toMatchObject({ status: 400, body: { message: 'Client does not exist: nobody' } });
    expect(await call('POST', 'client-grants', { client_id: shop.client_id, audience: 'urn:none' })).toMatchObject({ status: 400, body: { message: 'Resource server does not exist: urn:none' } });
  });

  it("leave the first client every scope, so that nobody locks themselves out", async () => {
    const { body } = await call('GET', `client-grants?client_id=${CLIENT_ID}`);
    expect(body).toMatchObject([{ audience: `${app.url}/api/v2/`, scope: SCOPES }]);
    expect((await call('PATCH', `client-grants/${body[0].id}`, { scope: [] })).status).toBe(409);
    expect((await call('DELETE', `client-grants/${body[0].id}`)).status).toBe(409);
  });
});

describe('resource servers', () => {
  it("have Auth0's defaults, and are read, changed and deleted by id or identifier", async () => {
    const { status, body } = await call('POST', 'resource-servers', { identifier: 'https://things.example', name: 'Things', token_dialect: 'access_token' });
    expect({ status, body }).toEqual({
      status: 201,
      body: {
        id: expect.stringMatching(/^[0-9a-f]{24}$/),
        name: 'Things',
        identifier: 'https://things.example',
        allow_offline_access: false,
        skip_consent_for_verifiable_first_party_clients: false,
        subject_type_authorization: { user: { policy: 'allow_all' }, client: { policy: 'require_client_grant' } },
        token_lifetime: 86_400,
        token_lifetime_for_web: 7200,
        signing_alg: 'RS256',
        token_dialect: 'access_token',
      },
    });
    const byIdentifier = `resource-servers/${encodeURIComponent('https://things.example')}`;
    expect((await call('GET', byIdentifier)).body).toEqual(body);
    expect((await call('PATCH', byIdentifier, { scopes: [{ value: 'a' }], token_dialect: null })).body).toEqual((await call('GET', `resource-servers/${body.id}`)).body);
    expect((await call('POST', 'resource-servers', { identifier: 'https://things.example' })).status).toBe(409);
    await call('POST', 'client-grants', { client_id: shop.client_id, audience: 'https://things.example', scope: ['a'] });
    expect((await call('DELETE', byIdentifier)).status).toBe(204);
    expect(await call('GET', byIdentifier)).toMatchObject({ status: 404, body: { errorCode: 'inexistent_resource_server' } });
    expect((await call('GET', `client-grants?audience=${encodeURIComponent('https://things.example')}`)).body).toEqual([]);
  });

  it('begin with the Management API, which cannot be changed, deleted or doubled', async () => {
    const { body } = await call('GET', 'resource-servers?include_totals=true&per_page=1');
    expect(body).toMatchObject({ total: expect.any(Number), resource_servers: [{ name: 'Auth0 Management API', identifier: `${app.url}/api/v2/`, is_system: true }] });
    expect(body.resource_servers[0].scopes.map((scope: { value: string }) => scope.value)).toEqual(SCOPES);
    const { body: second } = await call('GET', 'resource-servers?per_page=1&page=1');
    expect(second).toHaveLength(1);
    expect(second[0]).not.toHaveProperty('is_system');
    for (const key of [body.resource_servers[0].id, encodeURIComponent(`${app.url}/api/v2/`)]) {
      expect((await call('GET', `resource-servers/${key}`)).body).toEqual(body.resource_servers[0]);
      expect((await call('PATCH', `resource-servers/${key}`, { name: 'x' })).status).toBe(403);
      expect((await call('DELETE', `resource-servers/${key}`)).status).toBe(403);
    }
    for (const identifier of [`${app.url}/api/v2/`, 'https://elsewhere.example/api/v2/', 'http://x/api/v2/?a', 'x:/api/v2/', '/api/v2/', 'https://x/a/../api/v2/']) {
      expect(await call('POST', 'resource-servers', { identifier })).toMatchObject({ status: 400, body: { errorCode: 'invalid_body' } });
    }
  });

  it('are found by identifiers, and listed once each through checkpoints', async () => {
    const query = `identifiers=${encodeURIComponent(ORDERS)}&identifiers=${encodeURIComponent(`${app.url}/api/v2/`)}`;
    expect((await call('GET', `resource-servers?${query}`)).body.map((server: { name: string }) => server.name)).toEqual(['Auth0 Management API', 'Orders']);
    const all = (await call('GET', 'resource-servers')).body.map((server: { id: string }) => server.id);
    const seen: string[] = [];
    let from = '';
    for (let turns = 0; turns < 10; turns++) {
      const { body } = await call('GET', `resource-servers?take=1${from}`);
      seen.push(...body.resource_servers.map((server: { id: string }) => server.id));
      if (body.next === undefined) break;
      from = `&from=${body.next}`;
    }
    expect(seen).toEqual(all);
  });
});
