import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createClientOrigins } from '../../src/store/client-origins.ts';
import { bearer, postJson, send, startTestApp, type TestApp, validSignUp } from './test-app.ts';

let app: TestApp;
let headers: { authorization: string };
const ids: Record<string, string> = {};

beforeAll(async () => {
  app = await startTestApp();
  headers = await bearer(app);
  for (const [name, origins] of Object.entries({
    shop: { allowed_origins: ['https://shop.example', 'http://localhost:3000/'], web_origins: ['https://web.example'] },
    wild: { allowed_origins: ['https://*.wild.example', 'https://pre-*-post.wild.example:8443'] },
    wrong: { allowed_origins: ['*', 'https://*', 'https://*.com', 'https://sub.*.wrong.example', 'https://*.*.wrong.example', 'wrong.example', 'null', 'https://path.wrong.example/x'] },
  })) {
    ids[name] = (await postJson(`${app.url}/api/v2/clients`, { name, ...origins }, headers)).body.client_id;
  }
});

afterAll(async () => {
  await app.close();
});

const allowed = (response: { headers: Headers }) => response.headers.get('access-control-allow-origin');

async function preflight(origin: string, path = '/dbconnections/signup') {
  return await fetch(app.url + path, {
    method: 'OPTIONS',
    headers: { origin, 'access-control-request-method': 'POST', 'access-control-request-headers': 'content-type,auth0-client' },
  });
}

describe('a page of a client', () => {
  it('may sign people up: the preflight passes, and the answer can be read', async () => {
    for (const origin of ['https://shop.example', 'https://web.example', 'http://localhost:3000']) {
      const response = await preflight(origin);
      expect({ status: response.status, origin: allowed(response) }).toEqual({ status: 204, origin });
      expect(response.headers.get('access-control-allow-headers')).toBe('content-type,auth0-client');
      expect(response.headers.get('vary')).toContain('Origin');
      const answer = await postJson(`${app.url}/dbconnections/signup`, { ...validSignUp(), client_id: ids['shop'] }, { origin });
      expect({ status: answer.status, origin: allowed(answer) }).toEqual({ status: 200, origin });
    }
  });

  it('also reads what went wrong', async () => {
    const unreadable = await send(`${app.url}/dbconnections/signup`, { method: 'POST', headers: { origin: 'https://shop.example', 'content-type': 'application/json' }, body: '{' });
    expect({ status: unreadable.status, origin: allowed(unreadable) }).toEqual({ status: 400, origin: 'https://shop.example' });
    const refused = await postJson(`${app.url}/oauth/token`, { grant_type: 'password', client_id: ids['shop'] }, { origin: 'https://shop.example' });
    expect(allowed(refused)).toBe('https://shop.example');
  });

  it('may not use another client', async () => {
    const basic = `Basic ${Buffer.from(`${ids['wild']}:x`).toString('base64')}`;
    for (const [body, more] of [[{ client_id: ids['wild'] }, {}], [{ client_id: 'nobody' }, {}], [{ grant_type: 'x' }, { authorization: basic }]] as const) {
      const answer = await postJson(`${app.url}/oauth/token`, body, { origin: 'https://shop.example', ...more });
      expect(allowed(answer)).toBeNull();
      expect(answer.headers.get('vary')).toContain('Origin');
    }
  });

  it.each([
    ['https://a.wild.example', true],
    ['https://wild.example', false],
    ['https://a.b.wild.example', false],
    ['http://a.wild.example', false],
    ['https://a.wild.example:8443', false],
    ['https://a.wild.example.evil.example', false],
    ['https://awild.example', false],
    ['https://pre-7-post.wild.example:8443', true],
    ['https://pre--post.wild.example:8443', false],
    ['https://shop.example.evil.example', false],
    ['https://SHOP.example', false],
    ['https://shop.com', false],
    ['https://a.wrong.example', false],
    ['https://sub.a.wrong.example', false],
    ['https://path.wrong.example', true],
    ['null', false],
    ['*', false],
  ])('of the origin %s is let in: %s', async (origin, isAllowed) => {
    expect(allowed(await preflight(origin))).toBe(isAllowed ? origin : null);
  });
});

describe('the paths', () => {
  it('of the Authentication API are open to pages of clients, the Management API to none', async () => {
    for (const path of ['/oauth/token', '/passwordless/start', '/.well-known/jwks.json', '/dbconnections/change_password']) {
      expect(allowed(await preflight('https://shop.example', path)), path).toBe('https://shop.example');
    }
    for (const path of ['/api/v2/clients', '/api/v2/logs', '/healthz', '/oauth', '/']) {
      expect(allowed(await preflight('https://shop.example', path)), path).toBeNull();
    }
  });
});

describe('a change of origins', () => {
  it('counts at once here, and within seconds in other processes, which read the store once for many requests', async () => {
    const { body } = await postJson(`${app.url}/api/v2/clients`, { name: 'late' }, headers);
    let reads = 0;
    const db = app.database.db.withPlugin({
      transformQuery: ({ node }) => {
        reads++;
        return node;
      },
      transformResult: ({ result }) => Promise.resolve(result),
    });
    const elsewhere = createClientOrigins({ database: { ...app.database, db } });
    await Promise.all(Array.from({ length: 100 }, () => elsewhere.allows('https://late.example', null)));
    expect(reads).toBe(1);

    expect(allowed(await preflight('https://late.example'))).toBeNull();
    await send(`${app.url}/api/v2/clients/${body.client_id}`, { method: 'PATCH', headers: { ...headers, 'content-type': 'application/json' }, body: JSON.stringify({ web_origins: ['https://late.example'] }) });
    expect(allowed(await preflight('https://late.example'))).toBe('https://late.example');
    await expect.poll(() => elsewhere.allows('https://late.example', null)).toBe(true);
    await send(`${app.url}/api/v2/clients/${body.client_id}`, { method: 'DELETE', headers });
    expect(allowed(await preflight('https://late.example'))).toBeNull();
  });
});
