import { request } from 'node:http';
import * as fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { bearer, newestLog, postJson, send, signUp, startTestApp, type TestApp, validSignUp } from './test-app.ts';

let app: TestApp;

beforeAll(async () => {
  app = await startTestApp();
});

afterAll(async () => {
  await app.close();
});

/** Any text, lone surrogates and NUL included. */
const anyText = fc.oneof(
  fc.string({ unit: 'binary' }),
  fc.string({ unit: fc.integer({ min: 0, max: 0xffff }).map((code) => String.fromCharCode(code)) }),
  fc.constantFrom('', '\0', '\ud800', '\udfff', '__proto__', 'constructor', "' or 1=1 --", '{{7*7}}', '../../etc/passwd', '\u202e', 'a'.repeat(5000)),
);

const anyJson = fc.letrec((tie) => ({
  value: fc.oneof({ maxDepth: 4 }, anyText, fc.double(), fc.boolean(), fc.constant(null), tie('array'), tie('object')),
  array: fc.array(tie('value'), { maxLength: 4 }),
  object: fc.dictionary(anyText, tie('value'), { maxKeys: 5 }),
})).value;

const FIELDS = [
  'client_id', 'connection', 'email', 'password', 'username', 'phone_number', 'given_name', 'family_name', 'name', 'nickname', 'picture', 'user_metadata',
];

async function postRaw(path: string, body: string | Buffer, contentType: string): Promise<number> {
  const { status } = await send(`${app.url}${path}`, { method: 'POST', headers: { 'content-type': contentType }, body: new Uint8Array(Buffer.from(body)) });
  return status;
}

describe('whatever comes as a sign-up', () => {
  it('is answered with 200 or 400, one strange field at a time', async () => {
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...FIELDS), anyJson, async (field, value) => {
        expect([200, 400]).toContain((await signUp(app, { [field]: value })).status);
      }),
      { numRuns: 300 },
    );
  });

  it('is answered with 400 when it is any JSON, any form or any bytes', async () => {
    await fc.assert(
      fc.asyncProperty(anyJson, anyText, fc.uint8Array({ maxLength: 200 }), async (json, text, bytes) => {
        expect(await postRaw('/dbconnections/signup', JSON.stringify(json), 'application/json')).toBe(400);
        expect(await postRaw('/dbconnections/signup', text, 'application/json')).toBe(400);
        expect(await postRaw('/dbconnections/signup', text, 'application/x-www-form-urlencoded')).toBe(400);
        expect(await postRaw('/dbconnections/signup', Buffer.from(bytes), 'application/json')).toBe(400);
      }),
      { numRuns: 150 },
    );
  });

  const bodyError = { name: 'BadRequestError', code: 'invalid_body', description: expect.any(String), statusCode: 400 };

  it.each([
    ['too large', JSON.stringify({ ...validSignUp(), given_name: 'x'.repeat(1024 * 1024) }), 'application/json'],
    ['nested a hundred thousand times', `{"user_metadata":${'['.repeat(100_000)}${']'.repeat(100_000)}}`, 'application/json'],
    ['nested too deep', `{"x":${'{"x":'.repeat(30)}1${'}'.repeat(30)}}`, 'application/json'],
    ['nested too deep as a form', `a${'[x]'.repeat(40)}=1`, 'application/x-www-form-urlencoded'],
    ['with too many fields', 'a=1&'.repeat(2000), 'application/x-www-form-urlencoded'],
    ['broken JSON', '{"email": ', 'application/json'],
    ['in an unknown character set', '{}', 'application/json; charset=klingon'],
    ['with NUL', JSON.stringify({ ...validSignUp(), name: 'a\0b' }), 'application/json'],
    ['with NUL in a name', JSON.stringify({ ...validSignUp(), 'a\0b': 1 }), 'application/json'],
    ['with half a surrogate pair', JSON.stringify({ ...validSignUp(), name: '\ud800' }), 'application/json'],
  ])('is refused in the shape of sign-up: %s', async (_, body, contentType) => {
    const answer = await send(`${app.url}/dbconnections/signup`, { method: 'POST', headers: { 'content-type': contentType }, body });
    expect({ status: answer.status, body: answer.body }).toEqual({ status: 400, body: bodyError });
  });

  it('cannot reach the prototype of anything', async () => {
    const fields = '"__proto__":{"isAdmin":true},"constructor":{"prototype":{"isAdmin":true}},"user_metadata":{"__proto__":"x","plan":"y"}';
    const own = JSON.stringify({ ...validSignUp(), email: 'proto@example.com' }).slice(1);
    const { status, body } = await send(`${app.url}/dbconnections/signup`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: `{${fields},${own}` });
    expect({ status, metadata: body.user_metadata }).toEqual({ status: 200, metadata: { plan: 'y' } });
    expect(({} as Record<string, unknown>)['isAdmin']).toBeUndefined();
    expect(await newestLog(app, 'ss')).not.toHaveProperty('isAdmin');
  });
});

describe('whatever comes elsewhere', () => {
  it('to the token endpoint, is never a 500', async () => {
    await fc.assert(
      fc.asyncProperty(fc.dictionary(fc.constantFrom('grant_type', 'client_id', 'client_secret', 'audience', 'scope'), anyJson), anyText, async (body, text) => {
        expect((await postJson(`${app.url}/oauth/token`, { grant_type: 'client_credentials', ...body })).status).toBeLessThan(500);
        expect(await postRaw('/oauth/token', text, 'application/x-www-form-urlencoded')).toBeLessThan(500);
      }),
      { numRuns: 150 },
    );
  });

  it.each([
    ['broken JSON', '{"name": ', 'application/json', 'The body is not JSON, as its Content-Type says.'],
    ['too much', JSON.stringify({ name: 'x'.repeat(1024 * 1024) }), 'application/json', 'The body is too large: 1024 KiB are the limit.'],
    ['what `curl -d` sends', '{"name":"x"}', 'application/x-www-form-urlencoded', "Payload validation error: 'Missing required property: name'. The body has the Content-Type application/x-www-form-urlencoded: send application/json."],
  ])('to the Management API, is answered with what is wrong with it: %s', async (_, body, contentType, message) => {
    const answer = await send(`${app.url}/api/v2/actions/actions`, { method: 'POST', headers: { ...(await bearer(app)), 'content-type': contentType }, body });
    expect(answer.body).toMatchObject({ message });
  });

  it.each([
    ['users/%zz', 'invalid_uri', 'Path validation error: what its percent signs stand for is not UTF-8.'],
    ['users/%ff', 'invalid_uri', 'Path validation error: what its percent signs stand for is not UTF-8.'],
    ['users/a%00b', 'invalid_uri', 'Path validation error: it holds a NUL character.'],
    ['users?q=a%00b', 'invalid_query_string', 'Query validation error: it holds a NUL character.'],
  ])('to the Management API in its address, is answered with the part that is wrong: %s', async (path, errorCode, message) => {
    const answer = await send(`${app.url}/api/v2/${path}`, { headers: await bearer(app) });
    expect(answer.body).toEqual({ statusCode: 400, error: 'Bad Request', message, errorCode });
  });

  it('of a type that is not read, is refused, also where nothing has to be in it', async () => {
    const answer = await send(`${app.url}/api/v2/tenants/settings`, { method: 'PATCH', headers: { ...(await bearer(app)), 'content-type': 'text/plain' }, body: '{}' });
    expect(answer).toMatchObject({ status: 415, body: { statusCode: 415, message: 'The body has the Content-Type text/plain: send application/json.' } });
  });

  it('as the id of a log entry or an execution, is never a 500', async () => {
    const headers = await bearer(app);
    await fc.assert(
      fc.asyncProperty(fc.string({ unit: 'binary' }), async (id) => {
        for (const path of ['logs', 'actions/executions']) {
          const { status } = await send(`${app.url}/api/v2/${path}/x${encodeURIComponent(id)}`, { headers });
          expect([400, 404]).toContain(status);
        }
      }),
      { numRuns: 100 },
    );
  });

  it('as headers, is never a 500', async () => {
    const status = await new Promise<number | undefined>((resolve, reject) => {
      const headers = { 'user-agent': '\u00ff'.repeat(4000), 'accept-language': 'x'.repeat(5000), host: 'a"b', 'x-forwarded-for': '::garbage', authorization: 'Bearer' };
      request(`${app.url}/api/v2/logs`, { headers }, (res) => resolve(res.resume().statusCode)).on('error', reject).end();
    });
    expect(status).toBe(401);
  });
});
