import { afterAll, beforeAll, expect, test } from 'vitest';
import { createAuth } from '../../src/http/auth.ts';
import { createSigningKeys } from '../../src/store/signing-keys.ts';
import { newTraceParent, partsOf, readTraceParent } from '../../src/observe/trace-parent.ts';
import { CLIENT_ID, signUp, startTestApp, type TestApp } from '../http/test-app.ts';

let app: TestApp;
beforeAll(async () => {
  app = await startTestApp();
});
afterAll(async () => await app.close());

const linesOf = (requestId: string) =>
  app.logText().split('\n').filter((line) => line.includes(`"request_id":"${requestId}"`)).map((line) => JSON.parse(line) as Record<string, unknown>);

test('the caller\'s X-Request-Id is sent back, and stands in the lines of the request and of its registration', async () => {
  const { headers } = await signUp(app, {}, { 'x-request-id': 'gateway/42=a' });
  expect(headers.get('x-request-id')).toBe('gateway/42=a');
  await expect.poll(() => linesOf('gateway/42=a').map((line) => line['msg'])).toEqual(['registration', 'request']);
});

test.each([['none', undefined], ['one with spaces', 'a b'], ['one that is too long', 'x'.repeat(129)], ['one that would break a line of the log', 'a"b']])(
  'a request with %s gets a new one',
  async (_, given) => {
    const response = await fetch(`${app.url}/api/v2/clients`, { headers: given === undefined ? {} : { 'x-request-id': given } });
    const id = response.headers.get('x-request-id')!;
    expect(id).toMatch(/^[\da-f-]{36}$/);
    await expect.poll(() => linesOf(id)).toMatchObject([{ msg: 'request', status: 401, path: '/api/v2/clients' }]);
  },
);

test('a user id that holds an e-mail address is hidden in the line of the registration', async () => {
  const token = await createAuth({ signingKeys: createSigningKeys(app) }).issueToken({ clientId: CLIENT_ID, scopes: ['create:registrations'], audience: `${app.url}/api/v2/`, issuer: `${app.url}/` });
  const event = { user: { user_id: 'samlp|acme|canary-ann@example.com' }, connection: { id: 'con_1', name: 'acme', strategy: 'samlp' } };
  const headers = { 'authorization': `Bearer ${token}`, 'content-type': 'application/json', 'idempotency-key': 'hidden', 'x-request-id': 'hidden-id' };
  const { status } = await fetch(`${app.url}/usher/registrations`, { method: 'POST', headers, body: JSON.stringify({ event }) });
  expect(status).toBe(202);
  await expect.poll(() => linesOf('hidden-id')).toMatchObject([{ msg: 'registration', user_id: expect.stringMatching(/^hidden-[\da-f]{16}$/) }, { msg: 'request' }]);
  expect(app.logText()).not.toContain('canary-ann');
});

test('two requests at once do not get each other\'s id', async () => {
  const ids = Array.from({ length: 20 }, (_, index) => `at-once-${index}`);
  const answers = await Promise.all(ids.map((id) => signUp(app, {}, { 'x-request-id': id })));
  expect(answers.map(({ headers }) => headers.get('x-request-id'))).toEqual(ids);
  const userIds = answers.map(({ body }) => `auth0|${body._id}`);
  for (const [index, id] of ids.entries()) {
    expect(linesOf(id).find((line) => line['msg'] === 'registration')).toMatchObject({ user_id: userIds[index] });
  }
});

test.each([
  ['00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01', '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01'],
  // Only `sampled` is known of the flags; a later version may have more fields.
  ['00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-03', '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01'],
  ['00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00', '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00'],
  ['cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more', '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01'],
  ['ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01', null],
  ['00-00000000000000000000000000000000-00f067aa0ba902b7-01', null],
  ['00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01', null],
  ['00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01', null],
  ['nothing', null],
  [undefined, null],
])('a caller\'s traceparent %s is taken as W3C says', (header, taken) => {
  expect(readTraceParent(header)).toBe(taken);
});

test('a span below another stays in its trace, and is sampled like it', () => {
  for (const flags of ['00', '01']) {
    const parent = `00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-${flags}`;
    const child = partsOf(newTraceParent(parent));
    expect(child).toMatchObject({ traceId: partsOf(parent).traceId, isSampled: flags === '01' });
    expect(child.spanId).not.toBe(partsOf(parent).spanId);
  }
  expect(readTraceParent(newTraceParent(null))).toMatch(/-01$/);
});
