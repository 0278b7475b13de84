import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { outsideEvent } from '../registration/outside-event.ts';
import { type Answer, bearer, CLIENT_ID, CLIENT_SECRET, newestLog, postJson, send, startTestApp, type TestApp } from './test-app.ts';

const BASIC = { authorization: `Basic ${Buffer.from(`${CLIENT_ID}:${CLIENT_SECRET}`).toString('base64')}` };

let app: TestApp;
beforeAll(async () => {
  app = await startTestApp();
  await app.bind('pre-user-registration', [{ name: 'Deny', code: 'exports.onExecutePreUserRegistration = async (event, api) => { api.access.deny("no", "no") }' }]);
  await app.bind('post-user-registration', [{ name: 'Welcome', code: 'exports.onExecutePostUserRegistration = async () => {}' }]);
});
afterAll(() => app.close());

let keys = 0;

async function handIn(body: unknown, headers: Record<string, string> = {}): Promise<Answer> {
  return await postJson(`${app.url}/usher/registrations`, body, { ...BASIC, 'idempotency-key': `key-${keys++}`, ...headers });
}

async function registrations(): Promise<number> {
  return (await app.database.db.selectFrom('registration').select('id').execute()).length;
}

describe('POST /usher/registrations', () => {
  it('answers 202 once the registration is committed; pre-user-registration is not asked, and the log leads to the execution', async () => {
    const { status, body } = await handIn({ event: outsideEvent() });

    expect(status).toBe(202);
    expect(body).toEqual({ id: expect.any(String), status: 'accepted', created_at: expect.any(String) });
    const log = await newestLog(app, 'ss');
    expect(log).toMatchObject({
      description: 'Registration handed in from outside',
      user_id: 'google-oauth2|1029384756',
      user_name: 'ann@example.com',
      client_id: CLIENT_ID,
      connection: 'google-oauth2',
      ip: '203.0.113.7',
      details: { usher: { source: 'outside' }, actions: { executions: [body.id] } },
    });
    const execution = await send(`${app.url}/api/v2/actions/executions/${body.id}`, { headers: await bearer(app) });
    expect(execution.body).toMatchObject({ trigger_id: 'post-user-registration', status: 'pending', usher: { source: 'outside', steps: [{ action_name: expect.stringMatching(/^Welcome/) }] } });
  });

  it('is one registration when it comes 100 times at once with one key', async () => {
    const before = await registrations();
    const answers = await Promise.all(Array.from({ length: 100 }, () => handIn({ event: outsideEvent() }, { 'idempotency-key': 'the same' })));

    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([202]));
    expect(new Set(answers.map(({ body }) => JSON.stringify(body))).size).toBe(1);
    expect(await registrations()).toBe(before + 1);
  });

  it('takes a token with create:registrations as well as the secret of a client', async () => {
    const { status } = await handIn({ event: outsideEvent() }, await bearer(app, 'create:registrations'));
    expect(status).toBe(202);
  });

  it.each([
    ['no credentials', { authorization: '' }, 401],
    ['a wrong secret', { authorization: `Basic ${Buffer.from(`${CLIENT_ID}:wrong`).toString('base64')}` }, 401],
    ['an unknown client', { authorization: `Basic ${Buffer.from(`nobody\0:${CLIENT_SECRET}`).toString('base64')}` }, 401],
  ])('refuses %s', async (_what, headers, expected) => {
    const { status, body } = await handIn({ event: outsideEvent() }, headers);
    expect(status).toBe(expected);
    expect(body).toMatchObject({ statusCode: expected, error: 'Unauthorized' });
  });

  it('refuses a client that was not granted create:registrations, by its secret too', async () => {
    const before = await registrations();
    const { db } = app.database;
    const [grant] = await db.selectFrom('client_grant').select(['id', 'scope']).where('client_id', '=', CLIENT_ID).execute();
    await db.updateTable('client_grant').set({ scope: '["read:users"]' }).where('id', '=', grant!.id).execute();
    const { status, body } = await handIn({ event: outsideEvent() });
    await db.updateTable('client_grant').set({ scope: grant!.scope }).where('id', '=', grant!.id).execute();

    expect(status).toBe(403);
    expect(body.errorCode).toBe('insufficient_scope');
    expect(await registrations()).toBe(before);
  });

  it.each([
    ['no event', {}, "Payload validation error: 'Missing required property: event'."],
    ['an event without a user', { event: { ...outsideEvent(), user: undefined } }, "Payload validation error: 'Missing required property: user' on property event."],
    ['a user without an id', { event: { ...outsideEvent(), user: { email: 'a@b.cd' } } }, "Payload validation error: 'Missing required property: user_id' on property event.user."],
    ['a connection without a strategy', { event: { ...outsideEvent(), connection: { id: 'c', name: 'c' } } }, "Payload validation error: 'Missing required property: strategy' on property event.connection."],
    ['an e-mail that is no text', { event: outsideEvent({ email: 7 }) }, "Payload validation error: 'Expected type string but found type integer' on property event.user.email."],
    ['a property beside the event', { event: outsideEvent(), user: {} }, "Payload validation error: 'Additional properties not allowed: user'."],
    ['a user id that is too long', { event: outsideEvent({ user_id: 'x'.repeat(1025) }) }, "Payload validation error: 'String is too long (1025 chars), maximum 1024' on property event.user.user_id."],
  ])('refuses %s in the words of the Management API', async (_what, body, message) => {
    const answer = await handIn(body);
    expect(answer.status).toBe(400);
    expect(answer.body).toEqual({ statusCode: 400, error: 'Bad Request', message, errorCode: 'invalid_body' });
  });

  it.each([['missing', undefined], ['too long', 'x'.repeat(256)], ['not printable', 'a\tb']])('refuses an Idempotency-Key that is %s', async (_what, key) => {
    const headers = { ...BASIC, ...(key === undefined ? {} : { 'idempotency-key': key }) };
    const { status, body } = await postJson(`${app.url}/usher/registrations`, { event: outsideEvent() }, headers);
    expect(status).toBe(400);
    expect(body.message).toMatch(/^Header validation error: .*idempotency-key/);
  });
});

describe('POST /usher/registrations/auth0-events', () => {
  it('answers 204 to events of other types and to test events, and changes nothing', async () => {
    const before = await registrations();
    const test = { id: 'evt_1', type: 'user.created', a0purpose: 'test', data: { object: { user_id: 'auth0|1', identities: [{ connection: 'c', provider: 'auth0' }] } } };
    for (const event of [{ id: 'evt_2', type: 'user.updated', data: {} }, test]) {
      expect((await postJson(`${app.url}/usher/registrations/auth0-events`, event, BASIC)).status).toBe(204);
    }
    expect(await registrations()).toBe(before);
  });

  it('refuses a user.created event without its user, and does not take it for one of another type', async () => {
    const { status } = await postJson(`${app.url}/usher/registrations/auth0-events`, { id: 'evt_3', type: 'user.created', data: {} }, BASIC);
    expect(status).toBe(400);
  });
});
