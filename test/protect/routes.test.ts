import { defaultPayloadConverter } from '@temporalio/common';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createAuth } from '../../src/http/auth.ts';
import { createCodecKeys } from '../../src/store/codec-keys.ts';
import { createErasureStore } from '../../src/store/erasure.ts';
import { createSigningKeys } from '../../src/store/signing-keys.ts';
import { createPayloadCodec } from '../../src/temporal/payload-codec.ts';
import { CLIENT_ID, PASSWORD, startTestApp, type TestApp } from '../http/test-app.ts';

let app: TestApp;
beforeAll(async () => {
  app = await startTestApp();
});
afterAll(() => app.close());

async function call(method: string, path: string, { scopes, body, headers = {} }: { scopes: string[]; body?: object; headers?: Record<string, string> }): Promise<{ status: number; body: unknown; headers: Headers }> {
  const token = await createAuth({ signingKeys: createSigningKeys(app) }).issueToken({ clientId: CLIENT_ID, scopes, audience: `${app.url}/api/v2/`, issuer: `${app.url}/` });
  const authorization: Record<string, string> = scopes.length === 0 ? {} : { authorization: `Bearer ${token}` };
  const response = await fetch(app.url + path, {
    method,
    headers: { ...authorization, ...(body === undefined ? {} : { 'content-type': 'application/json' }), ...headers },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  const text = await response.text();
  return { status: response.status, body: text === '' ? undefined : (JSON.parse(text) as unknown), headers: response.headers };
}

interface JsonPayload {
  metadata: Record<string, string>;
  data: string;
}

/** A payload as Temporal gives it to the Web UI. */
async function encrypted(value: object): Promise<JsonPayload> {
  const [payload] = await createPayloadCodec(createCodecKeys(app)).encode([defaultPayloadConverter.toPayload(value)]);
  const base64 = (bytes: Uint8Array | null | undefined) => Buffer.from(bytes ?? []).toString('base64');
  return { metadata: Object.fromEntries(Object.entries(payload!.metadata!).map(([name, bytes]) => [name, base64(bytes)])), data: base64(payload!.data) };
}

function decoded({ body }: { body: unknown }): string[] {
  return (body as { payloads: JsonPayload[] }).payloads.map(({ data }) => Buffer.from(data, 'base64').toString());
}

test('a payload is decrypted for who has the scope, and for pages of any origin that have the address', async () => {
  const payloads = [await encrypted({ n: 1 }), { metadata: { encoding: 'anNvbi9wbGFpbg==' }, data: 'InRleHQi' }];
  const byToken = await call('POST', '/usher/codec/decode', { scopes: ['read:executions'], body: { payloads } });
  expect(decoded(byToken)).toEqual(['{"n":1}', '"text"']);
  expect((await call('POST', '/usher/codec/decode', { scopes: ['read:users'], body: { payloads } })).status).toBe(403);
  expect((await call('POST', '/usher/codec/decode', { scopes: [], body: { payloads } })).status).toBe(401);

  const keys = await call('GET', '/usher/keys', { scopes: ['read:encryption_keys'] });
  const { endpoint } = (keys.body as { codec: { endpoint: string } }).codec;
  const path = `${endpoint.slice(app.url.length)}/decode`;
  const page = { origin: 'https://temporal.example.com' };
  const preflight = await fetch(app.url + path, { method: 'OPTIONS', headers: { ...page, 'access-control-request-method': 'POST', 'access-control-request-headers': 'content-type,x-namespace' } });
  expect(preflight.headers.get('access-control-allow-origin')).toBe('*');
  expect(preflight.headers.get('access-control-allow-headers')).toBe('content-type,x-namespace');
  const byPage = await call('POST', path, { scopes: [], body: { payloads }, headers: page });
  expect(byPage.headers.get('access-control-allow-origin')).toBe('*');
  expect(decoded(byPage)).toEqual(['{"n":1}', '"text"']);
  expect((await call('POST', `/usher/codec/${'0'.repeat(32)}/decode`, { scopes: [], body: { payloads }, headers: page })).status).toBe(404);
  expect(app.logText()).not.toContain(endpoint.split('/').at(-1));

  await call('POST', '/usher/keys/codec/rotate', { scopes: ['update:encryption_keys'] });
  const after = await call('POST', '/usher/codec/decode', { scopes: ['read:executions'], body: { payloads } });
  expect(decoded(after)).toEqual(['{"n":1}', '"text"']);
  expect((await call('POST', path, { scopes: [], body: { payloads }, headers: page })).status).toBe(404);
});

test('a payload of another installation, or one that was altered, is refused and not repeated', async () => {
  const payload = await encrypted({ n: 1 });
  const altered = { ...payload, data: Buffer.from(Buffer.from(payload.data, 'base64').map((byte, index) => (index === 20 ? byte ^ 1 : byte))).toString('base64') };
  for (const each of [altered, { ...payload, data: 'AA==' }, { ...payload, metadata: { ...payload.metadata, 'encryption-key-id': 'AAAA' } }]) {
    expect(await call('POST', '/usher/codec/decode', { scopes: ['read:executions'], body: { payloads: [each] } })).toMatchObject({ status: 400, body: { errorCode: 'invalid_payload' } });
  }
});

test('a master key that is the store\'s already is not replaced', async () => {
  expect(await call('POST', '/usher/keys/master/rekey', { scopes: ['update:encryption_keys'] })).toMatchObject({ status: 409, body: { errorCode: 'nothing_to_rekey' } });
  expect((await call('GET', '/usher/keys', { scopes: ['read:encryption_keys'] })).body).toMatchObject({ master: { rekey: null } });
});

test('who replaces the codec key stands in the tenant log', async () => {
  await call('POST', '/usher/keys/codec/rotate', { scopes: ['update:encryption_keys'] });
  const logs = (await call('GET', '/api/v2/logs?per_page=1', { scopes: ['read:logs'] })).body;
  expect(logs).toMatchObject([{ type: 'sapi', client_id: CLIENT_ID, description: 'Replace the codec key' }]);
});

test('a user is erased by who may delete users, and it can be seen how far it is', async () => {
  const signUp = await call('POST', '/dbconnections/signup', { scopes: [], body: { connection: 'Username-Password-Authentication', email: 'ann@example.com', password: PASSWORD } });
  const path = `/usher/users/${encodeURIComponent(`auth0|${(signUp.body as { _id: string })._id}`)}/erase`;
  expect((await call('POST', path, { scopes: ['update:users'] })).status).toBe(403);

  const begun = await call('POST', path, { scopes: ['delete:users'] });
  expect(begun).toMatchObject({ status: 202, body: { status: 'running', removed: { registrations: 0 } } });
  const again = await call('POST', '/api/v2/users', { scopes: ['create:users'], body: { connection: 'Username-Password-Authentication', email: 'ann@example.com', password: PASSWORD } });
  expect(again.status).toBe(201);
  while (await createErasureStore(app).step());

  const seen = await call('GET', `/usher/erasures/${(begun.body as { id: string }).id}`, { scopes: ['delete:users'] });
  expect(seen).toMatchObject({ status: 200, body: { removed: { registrations: 1 }, histories_left: 1 } });
  expect((await call('POST', path, { scopes: ['delete:users'] })).status).toBe(404);
  expect((await call('GET', '/usher/erasures/nothing', { scopes: ['delete:users'] })).status).toBe(404);
});
