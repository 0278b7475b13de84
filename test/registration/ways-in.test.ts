import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { DEFAULT_CONNECTION } from '../../src/store/connections.ts';
import { sealedAs } from '../../src/store/ledger-rows.ts';
import { type LoginApp, OTP, startLoginApp } from '../authentication/login-app.ts';
import { until } from '../builds/harness.ts';
import { bearer, PASSWORD, postJson, send, validSignUp } from '../http/test-app.ts';
import { outsideEvent } from './outside-event.ts';

const page = readFileSync(new URL('../../docs/registrations.md', import.meta.url), 'utf8');

/** Where people and the callers of the Management API sit. */
const PERSON = '198.51.100.7';
const CALLER = '198.51.100.8';

const HANDED_IN = outsideEvent();

interface Event {
  connection: { strategy: string };
  user: Record<string, unknown>;
  request?: { ip: string };
}

let app: LoginApp;
let token: { authorization: string };

beforeAll(async () => {
  app = await startLoginApp({ trustedProxies: ['127.0.0.1'] });
  token = await bearer(app);
  await app.bind('pre-user-registration', [{ name: 'Look', code: 'exports.onExecutePreUserRegistration = async () => {}' }]);
  await app.bind('post-user-registration', [{ name: 'Welcome', code: 'exports.onExecutePostUserRegistration = async () => {}' }]);
});
afterAll(() => app.close());

/** The cells of each row of the page's table, by its headings. */
function rows(): { way: string; source: string; pre: string; post: string; strategy: string; has: string; request: string }[] {
  const lines = page.split('\n');
  const start = lines.findIndex((line) => line.startsWith('| Way in |'));
  const rest = lines.slice(start + 2);
  return rest.slice(0, rest.findIndex((line) => !line.startsWith('|'))).map((line) => {
    const [way = '', source = '', pre = '', post = '', strategy = '', has = '', request = ''] = line.slice(1, -1).split('|').map((cell) => cell.trim());
    return { way, source, pre, post, strategy, has, request };
  });
}

/** Of the connection that a way is gone on, where the page says `the connection's`. */
const STRATEGIES = ['auth0', 'email', 'sms'] as const;
type Strategy = (typeof STRATEGIES)[number];

const connectionOf = (strategy: Strategy) => (strategy === 'auth0' ? DEFAULT_CONNECTION : strategy);

let phones = 0;
const newPerson = (strategy: Strategy) => (strategy === 'sms' ? { phone_number: `+64215551${(phones += 1)}` } : { email: validSignUp().email });

async function imports(fields: Record<string, string>, on: Strategy = 'auth0'): Promise<void> {
  const { id } = await app.database.db.selectFrom('connection').select('id').where('name', '=', connectionOf(on)).executeTakeFirstOrThrow();
  const form = new FormData();
  form.append('users', new Blob([JSON.stringify([newPerson(on)])]));
  for (const [name, value] of Object.entries({ connection_id: id, ...fields })) form.append(name, value);
  const { status, body } = await send(`${app.url}/api/v2/jobs/users-imports`, { method: 'POST', headers: token, body: form });
  expect(status).toBe(202);
  const job = await until(() => send(`${app.url}/api/v2/jobs/${body.id}`, { headers: token }), (answer) => answer.body.status === 'completed');
  expect(job.body.summary).toMatchObject({ inserted: 1 });
}

async function backfill(on: Strategy): Promise<void> {
  await imports({}, on);
  const { db } = app.database;
  const { id: userId } = await db.selectFrom('user_account').select('id').orderBy('created_at', 'desc').orderBy('id', 'desc').executeTakeFirstOrThrow();
  const { action_id: actionId } = await db.selectFrom('binding').select('action_id').where('trigger_id', '=', 'post-user-registration').executeTakeFirstOrThrow();
  const { status, body } = await postJson(`${app.url}/usher/operations`, { kind: 'backfill', options: { action_id: actionId, of: 'users' }, filter: { user_id: userId } }, token);
  expect(status).toBe(202);
  const done = await until(() => send(`${app.url}/usher/operations/${body.id}`, { headers: token }), (answer) => answer.body.state === 'done');
  expect(done.body).toMatchObject({ total: 1, changed: 1 });
}

async function loginByCode(recipient: string, realm: 'email' | 'sms'): Promise<void> {
  const before = await state();
  const otp = await app.codeFor(recipient);
  // The code alone makes nobody.
  expect(await state()).toEqual(before);
  const { status } = await app.token({ grant_type: OTP, realm, username: recipient, otp, scope: 'openid' }, { 'x-forwarded-for': PERSON });
  expect(status).toBe(200);
}

async function expectStatus(answer: Promise<{ status: number }>, expected: number): Promise<void> {
  expect((await answer).status).toBe(expected);
}

const caller = () => ({ ...token, 'x-forwarded-for': CALLER });

/** How each way of the page is gone. */
const WAYS: Record<string, (on: Strategy) => Promise<void>> = {
  'Sign-up with a password: `POST /dbconnections/signup`': () =>
    expectStatus(postJson(`${app.url}/dbconnections/signup`, validSignUp(), { 'x-forwarded-for': PERSON }), 200),
  'First login with a code by e-mail: `POST /passwordless/start`, then `POST /oauth/token`': () => loginByCode('ada@example.com', 'email'),
  'First login with a code by SMS: the same with `connection=sms`': () => loginByCode('+6421555000', 'sms'),
  'Management API: `POST /api/v2/users`': (on) =>
    expectStatus(postJson(`${app.url}/api/v2/users`, { connection: connectionOf(on), ...newPerson(on), ...(on === 'auth0' ? { password: PASSWORD } : {}) }, caller()), 201),
  'Import: `POST /api/v2/jobs/users-imports`': () => imports({}),
  'Import with `usher_registrations=true`': (on) => imports({ usher_registrations: 'true' }, on),
  'Backfill of users: `POST /usher/operations`': backfill,
  'From outside: `POST /usher/registrations`': () =>
    expectStatus(postJson(`${app.url}/usher/registrations`, { event: HANDED_IN }, { ...caller(), 'idempotency-key': 'one' }), 202),
  'From an Auth0 Event Stream: `POST /usher/registrations/auth0-events`': () =>
    expectStatus(postJson(`${app.url}/usher/registrations/auth0-events`, userCreated(), caller()), 202),
};

/** The example of the page. */
function userCreated(): { data: { context: { request: { ip: string } }; object: Record<string, unknown> } } {
  return JSON.parse(/```json\n([\s\S]*?)```/.exec(page)![1]!);
}

async function state(): Promise<{ asked: number; registrations: string[] }> {
  const { db } = app.database;
  const asked = await db.selectFrom('execution').select('id').where('trigger_id', '=', 'pre-user-registration').execute();
  const registrations = await db.selectFrom('registration').select('id').orderBy('id').execute();
  return { asked: asked.length, registrations: registrations.map(({ id }) => id) };
}

async function eventOf(id: string): Promise<Event> {
  const row = await app.database.db.selectFrom('registration').selectAll().where('id', '=', id).executeTakeFirstOrThrow();
  return await app.keyring.openJson<Event>(row.key_id, sealedAs.event(id), row.event_sealed);
}

it('the page\'s table has each way in that is gone here, and no other', () => {
  expect(rows().map(({ way }) => way)).toEqual(Object.keys(WAYS));
});

/** The rows, those on any connection once for each strategy. */
const CASES = rows().flatMap((row) => (row.strategy === "the connection's" ? STRATEGIES.map((on) => ({ ...row, on, strategy: on as string })) : [{ ...row, on: 'auth0' as const }]));

it.each(CASES)('$way: pre-user-registration $pre, post-user-registration $post, source $source, strategy $strategy', async ({ way, source, pre, post, on, strategy, has, request }) => {
  const before = await state();

  await WAYS[way]!(on);

  const after = await state();
  expect(after.asked - before.asked).toBe({ asked: 1, '–': 0 }[pre]);
  const made = after.registrations.filter((id) => !before.registrations.includes(id));
  expect(made).toHaveLength({ runs: 1, '–': 0 }[post]!);
  if (post === '–') {
    expect([source, strategy, has, request]).toEqual(['–', '–', '–', '–']);
    return;
  }
  const registration = await app.ledger.readRegistration(made[0]!);
  expect(`\`${registration!.source}\``).toBe(source);
  expect(registration!.steps).toHaveLength(1);

  const event = await eventOf(made[0]!);
  expect(event.user['user_id']).toBe(registration!.userId);
  expect(event.connection.strategy).toBe({ 'as handed in': HANDED_IN.connection.strategy, 'the provider': 'google-oauth2' }[strategy] ?? strategy.replaceAll('`', ''));
  if (has === 'what is handed in') expect(event.user).toMatchObject(HANDED_IN.user);
  else if (has === 'what Auth0 tells') expect(event.user).toMatchObject(userCreated().data.object);
  else if (has === '`email` or `phone_number`') expect(event.user[on === 'sms' ? 'phone_number' : 'email']).toBeTruthy();
  else for (const [, field] of has.matchAll(/`(\w+)`/g)) expect(event.user[field!], field).toBeTruthy();
  const ip = { 'the person\'s': PERSON, 'the caller\'s': CALLER, none: undefined, 'what is handed in': HANDED_IN.request!['ip'], 'what Auth0 tells': userCreated().data.context.request.ip };
  expect(Object.keys(ip)).toContain(request);
  expect(event.request?.ip).toBe(ip[request as keyof typeof ip]);
});
