import { DEFAULT_RATE_LIMITS } from '../../src/domain/rate-limits.ts';
import { createRemoteJWKSet, jwtVerify, SignJWT, generateKeyPair, decodeJwt } from 'jose';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { bearer, CLIENT_ID, CLIENT_SECRET, postJson, send, startTestApp, type TestApp } from './test-app.ts';

let app: TestApp;
const credentials = { grant_type: 'client_credentials', client_id: CLIENT_ID, client_secret: CLIENT_SECRET };

beforeAll(async () => {
  app = await startTestApp();
});

afterAll(async () => {
  await app.close();
});

const ask = async (body: Record<string, unknown>, headers = {}) => await postJson(`${app.url}/oauth/token`, body, headers);

describe('the token endpoint', () => {
  it('gives a token of 24 hours that the published keys verify', async () => {
    const { status, body, headers } = await ask({ ...credentials, audience: 'https://tenant.example/api/v2/' });
    expect(status).toBe(200);
    expect(headers.get('cache-control')).toBe('no-store');
    expect(body).toEqual({ access_token: expect.any(String), scope: expect.stringContaining('read:actions'), expires_in: 86_400, token_type: 'Bearer' });
    const keys = createRemoteJWKSet(new URL(`${app.url}/.well-known/jwks.json`));
    const { payload, protectedHeader } = await jwtVerify(body.access_token, keys, { audience: 'https://tenant.example/api/v2/' });
    expect(protectedHeader).toMatchObject({ alg: 'RS256', kid: expect.any(String) });
    expect(payload).toMatchObject({ iss: `${app.url}/`, sub: `${CLIENT_ID}@clients`, azp: CLIENT_ID, gty: 'client-credentials' });
    expect((payload.exp ?? 0) - (payload.iat ?? 0)).toBe(86_400);
  });

  it('takes a form and HTTP Basic', async () => {
    const form = await send(`${app.url}/oauth/token`, { method: 'POST', body: new URLSearchParams(credentials) });
    expect(form.status).toBe(200);
    const authorization = `Basic ${Buffer.from(`${CLIENT_ID}:${CLIENT_SECRET}`).toString('base64')}`;
    expect((await ask({ grant_type: 'client_credentials' }, { authorization })).status).toBe(200);
  });

  it('narrows the scopes when asked, and refuses what was not granted', async () => {
    const { body } = await ask({ ...credentials, scope: 'read:logs' });
    expect(decodeJwt(body.access_token)['scope']).toBe('read:logs');
    expect(await ask({ ...credentials, scope: 'read:logs drop:tables' })).toMatchObject({
      status: 403,
      body: { error: 'access_denied', error_description: 'Client has not been granted scopes: drop:tables' },
    });
  });

  it.each([
    ['no grant type', { client_id: CLIENT_ID }, 400, 'invalid_request'],
    ['another grant type', { ...credentials, grant_type: 'refresh_token' }, 400, 'unsupported_grant_type'],
    ['a wrong secret', { ...credentials, client_secret: 'wrong' }, 401, 'invalid_client'],
    ['no secret', { ...credentials, client_secret: undefined }, 401, 'invalid_client'],
    ['an unknown client', { ...credentials, client_id: 'nobody' }, 401, 'invalid_client'],
    ['another audience', { ...credentials, audience: 'https://api.example/' }, 403, 'access_denied'],
    ['a parameter that is no text', { ...credentials, client_secret: { $gt: '' } }, 400, 'invalid_request'],
  ])('refuses %s', async (_, body, status, error) => {
    expect(await ask(body)).toMatchObject({ status, body: { error, error_description: expect.any(String) } });
  });

  it('answers hostile credentials with 401, never 500', async () => {
    for (const text of ['\0:x', `${CLIENT_ID}:\0`, ':', 'é:é', `${'a'.repeat(5000)}:b`]) {
      const authorization = `Basic ${Buffer.from(text).toString('base64')}`;
      expect((await ask({ grant_type: 'client_credentials' }, { authorization })).status).toBe(401);
    }
  });

  it('logs neither secret nor token', async () => {
    const { body } = await ask(credentials);
    expect(app.logText()).not.toContain(CLIENT_SECRET);
    expect(app.logText()).not.toContain(body.access_token);
  });
});

const logs = async (authorization?: string) => await send(`${app.url}/api/v2/logs`, authorization === undefined ? {} : { headers: { authorization } });

describe('the Management API', () => {
  it('asks for a token', async () => {
    const { status, body, headers } = await logs();
    expect({ status, body }).toEqual({ status: 401, body: { statusCode: 401, error: 'Unauthorized', message: 'Missing authentication' } });
    expect(headers.get('www-authenticate')).toBe('Bearer');
  });

  it('names the scopes that would do', async () => {
    const { authorization } = await bearer(app, 'read:actions');
    const { status, body } = await logs(authorization);
    expect({ status, body }).toEqual({
      status: 403,
      body: { statusCode: 403, error: 'Forbidden', message: 'Insufficient scope, expected any of: read:logs,read:logs_users', errorCode: 'insufficient_scope' },
    });
  });

  it('believes no token but its own', async () => {
    const { authorization } = await bearer(app);
    const own = authorization.slice('Bearer '.length);
    const [head = '', payload = '', signature = ''] = own.split('.');
    const { privateKey } = await generateKeyPair('RS256');
    const claims = { scope: 'read:logs', azp: CLIENT_ID };
    const sign = async (header: object) =>
      await new SignJWT(claims).setProtectedHeader({ alg: 'RS256', ...header }).setAudience('https://x/api/v2/').setExpirationTime('1h').sign(privateKey);
    const kid = JSON.parse(Buffer.from(head, 'base64url').toString()).kid as string;
    const none = `${Buffer.from('{"alg":"none"}').toString('base64url')}.${payload}.`;
    const changed = `${head}.${Buffer.from(JSON.stringify({ ...decodeJwt(own), scope: 'everything' })).toString('base64url')}.${signature}`;
    for (const token of ['x', none, changed, await sign({ kid }), await sign({ kid: 'unknown' }), await sign({ kid: '\0' }), await sign({})]) {
      expect(await logs(`Bearer ${token}`)).toMatchObject({ status: 401, body: { statusCode: 401, error: 'Unauthorized' } });
    }
    expect((await logs(authorization)).status).toBe(200);
  });

  it('answers what is not there in its own shape', async () => {
    expect(await send(`${app.url}/api/v2/nothing`)).toMatchObject({ status: 404, body: { statusCode: 404, error: 'Not Found', message: expect.stringContaining('docs/not-here.md') } });
    expect((await send(`${app.url}/nothing`)).status).toBe(404);
    expect((await send(`${app.url}/api/v2/logs/%E0%A4%A`)).status).toBe(400);
  });
});

describe('rate limits', () => {
  it('count by address, tell what is left, and end in 429 in the shape of the API', async () => {
    const limited = await startTestApp({ rateLimits: DEFAULT_RATE_LIMITS });
    try {
      const first = await postJson(`${limited.url}/oauth/token`, {});
      expect(first.headers.get('x-ratelimit-limit')).toBe('120');
      expect(first.headers.get('x-ratelimit-remaining')).toBe('119');
      const reset = Number(first.headers.get('x-ratelimit-reset')) * 1000;
      expect(reset).toBeGreaterThan(Date.now());
      expect(reset).toBeLessThan(Date.now() + 62_000);

      let last = await postJson(`${limited.url}/dbconnections/signup`, {});
      for (let i = 1; i < 61; i++) last = await postJson(`${limited.url}/dbconnections/signup`, {});
      expect(last).toMatchObject({ status: 429, body: { name: 'TooManyRequestsError', code: 'too_many_requests', statusCode: 429 } });
      expect(Number(last.headers.get('retry-after'))).toBeGreaterThan(0);
      expect(last.headers.get('x-ratelimit-remaining')).toBe('0');
      // A header that nobody vouches for does not make another address.
      expect((await postJson(`${limited.url}/dbconnections/signup`, {}, { 'x-forwarded-for': '203.0.113.9' })).status).toBe(429);
    } finally {
      await limited.close();
    }
  });

  it('are off when so configured', async () => {
    expect((await postJson(`${app.url}/oauth/token`, {})).headers.get('x-ratelimit-limit')).toBeNull();
  });
});

describe('health', () => {
  it('tells apart that the process lives and that it is ready', async () => {
    const starting = await startTestApp({ readiness: () => Promise.resolve({ ready: false, degraded: { store: 'disk full' } }) });
    try {
      expect(await send(`${starting.url}/healthz`)).toMatchObject({ status: 200 });
      expect(await send(`${starting.url}/readyz`)).toMatchObject({ status: 503, body: { status: 'not ready', degraded: { store: 'disk full' } } });
    } finally {
      await starting.close();
    }
    expect(await send(`${app.url}/readyz`)).toMatchObject({ status: 200, body: { status: 'ready', degraded: {} } });
  });
});
