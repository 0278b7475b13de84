import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Receiver, startReceiver } from '../../examples/receiver.ts';
import { startRegistry, type TestRegistry } from '../builds/registry.ts';
import { until } from '../builds/harness.ts';
import { type Answer, bearer, postJson, send, signUp, startTestApp, type TestApp } from './test-app.ts';

const POST = 'post-user-registration';
const PRE = 'pre-user-registration';
const HANDLER = { [POST]: 'onExecutePostUserRegistration', [PRE]: 'onExecutePreUserRegistration' };
const COUNT = expect.any(Number);

let app: TestApp;
let headers: { authorization: string };
let receiver: Receiver;
let registry: TestRegistry;
let names = 0;

beforeAll(async () => {
  registry = await startRegistry();
  await registry.publish('greeting', '1.0.0', { files: { 'index.js': "module.exports = 'hello from a package';" } });
  process.env['npm_config_registry'] = registry.url;
  app = await startTestApp();
  headers = await bearer(app);
  receiver = await startReceiver(({ path }) => ({ status: path === '/busy' ? 503 : 200, delayMs: path === '/never' ? Infinity : 0 }));
});
afterAll(async () => {
  delete process.env['npm_config_registry'];
  await app?.close();
  await receiver?.close();
  await registry?.close();
});

/** Creates an Action of which `statements` are the handler's body, and waits until its build has ended. */
async function draft(statements: string, { trigger = POST, ...more }: { trigger?: keyof typeof HANDLER; [field: string]: unknown } = {}): Promise<string> {
  const body = { name: `Tested ${names++}`, supported_triggers: [{ id: trigger, version: 'v2' }], code: `exports.${HANDLER[trigger]} = async (event, api) => { ${statements} };`, ...more };
  const { status, body: created } = await postJson(`${app.url}/api/v2/actions/actions`, body, headers);
  expect(status).toBe(201);
  await until(() => send(`${app.url}/api/v2/actions/actions/${created.id}`, { headers }), ({ body: { status: state } }) => state === 'built' || state === 'failed');
  return created.id;
}

const run = (id: string, payload: object = {}): Promise<Answer> => postJson(`${app.url}/api/v2/actions/actions/${id}/test`, { payload }, headers);

test('a test runs the draft in the sandbox, with its secrets and packages, on the sample event', async () => {
  const id = await draft(
    `console.log(require('greeting'), event.user.email, event.tenant.id); console.error(event.secrets.KEY.length);`,
    { dependencies: [{ name: 'greeting', version: 'latest' }], secrets: [{ name: 'KEY', value: 'a secret value' }] },
  );
  const { status, body } = await run(id);
  expect(status).toBe(200);
  expect(body.payload).toEqual({
    logs: [{ at: expect.any(String), level: 'log', text: 'hello from a package j+smith@example.com usher' }, { at: expect.any(String), level: 'error', text: '14' }],
    stats: {
      total_request_duration_ms: COUNT,
      total_runtime_execution_duration_ms: COUNT,
      runtime_processing_duration_ms: COUNT,
      action_duration_ms: COUNT,
      runtime_external_call_duration_ms: COUNT,
      boot_duration_ms: COUNT,
    },
    usher: { calls: [], commands: [], cache_changes: [], logs_truncated: false },
  });
});

test('`latest`, sent again when it means another version, is a change that is not deployed until it is', async () => {
  await registry.publish('moving', '1.0.0');
  const dependencies = [{ name: 'moving', version: 'latest' }];
  const id = await draft('', { dependencies });
  const url = `${app.url}/api/v2/actions/actions/${id}`;
  const deploy = async () => expect((await postJson(`${url}/deploy`, {}, headers)).status).toBe(200);
  const sentAgain = async () => {
    const patched = await send(url, { method: 'PATCH', headers: { ...headers, 'content-type': 'application/json' }, body: JSON.stringify({ dependencies }) });
    expect(patched.status).toBe(200);
    const { body } = await until(() => send(url, { headers }), ({ body: { status } }) => status === 'built');
    return body.all_changes_deployed;
  };
  await deploy();
  expect(await sentAgain()).toBe(true);
  await registry.publish('moving', '1.1.0');
  expect(await sentAgain()).toBe(false);
  await deploy();
  expect((await send(url, { headers })).body.all_changes_deployed).toBe(true);
});

test('the event of the payload is what the handler gets; secrets are the draft\'s own, and no value is answered', async () => {
  const id = await draft(`console.log(JSON.stringify({ user: event.user, keys: Object.keys(event).sort() }), event.secrets.KEY);`, { secrets: [{ name: 'KEY', value: 'hidden-value' }] });
  const { body } = await run(id, { event: { user: { email: 'given@example.com' }, secrets: { KEY: 'of the payload' } } });
  expect(body.payload.logs[0].text).toBe('{"user":{"email":"given@example.com"},"keys":["secrets","user","usher"]} [secret KEY]');
});

test('an Action that fails is answered 200, with the error in Auth0\'s shape and the calls that it made', async () => {
  const id = await draft(`await fetch('${receiver.url}/busy'); event.user.id.length;`);
  const { status, body } = await run(id);
  expect(status).toBe(200);
  expect(body.payload.error).toEqual({ name: 'TypeError', message: "Cannot read properties of undefined (reading 'length')", stack: expect.stringContaining('TypeError') });
  expect(body.payload.usher).toMatchObject({ error_type: 'ACTION_THREW', retryable: true, calls: [{ method: 'GET', status: 503 }] });
});

test('what a pre-user-registration Action asks for is told and not done', async () => {
  const id = await draft(`api.user.setAppMetadata('plan', 'free'); api.cache.set('seen', '1'); api.access.deny('no', 'Not today');`, { trigger: PRE });
  const { body } = await run(id);
  expect(body.payload.usher).toMatchObject({
    commands: [{ kind: 'user.setAppMetadata', key: 'plan', value: 'free' }, { kind: 'access.deny', reason: 'no', userMessage: 'Not today' }],
    cache_changes: [{ kind: 'set', key: 'seen' }],
  });
  expect((await signUp(app)).status).toBe(200);
});

test('nothing of a test is kept', async () => {
  const { db } = app.database;
  const counts = async () => await Promise.all((['registration', 'step', 'attempt', 'execution', 'cache_entry', 'log', 'action_version'] as const).map(async (table) => (await db.selectFrom(table).selectAll().execute()).length));
  const id = await draft(`api.cache.set('key', 'value'); console.log('tested');`);
  const before = await counts();
  expect((await run(id)).status).toBe(200);
  expect(await counts()).toEqual(before);
});

test('a test runs the draft, not what is deployed', async () => {
  const id = await draft(`console.log('first');`);
  await postJson(`${app.url}/api/v2/actions/actions/${id}/deploy`, undefined, headers);
  await send(`${app.url}/api/v2/actions/actions/${id}`, { method: 'PATCH', headers: { ...headers, 'content-type': 'application/json' }, body: JSON.stringify({ code: `exports.onExecutePostUserRegistration = async () => console.log('second');` }) });
  await until(() => send(`${app.url}/api/v2/actions/actions/${id}`, { headers }), ({ body }) => body.status === 'built');
  expect((await run(id)).body.payload.logs).toMatchObject([{ text: 'second' }]);
});

test('a test whose client has left ends, so that its place is free', async () => {
  const id = await draft(`await fetch('${receiver.url}/never');`);
  const client = new AbortController();
  const left = fetch(`${app.url}/api/v2/actions/actions/${id}/test`, { method: 'POST', headers: { ...headers, 'content-type': 'application/json' }, body: '{"payload":{}}', signal: client.signal });
  await until(() => Promise.resolve(receiver.received.some(({ path }) => path === '/never')), (arrived) => arrived);
  const before = app.sandbox.pids();
  client.abort();
  await expect(left).rejects.toThrow('aborted');
  await until(() => Promise.resolve(app.sandbox.pids()), (pids) => pids.length < before.length);
});

describe('refused', () => {
  test('a draft that is not built, with the reason', async () => {
    const id = await draft('', { code: 'not code' });
    expect(await run(id)).toMatchObject({ status: 400, body: { message: expect.stringMatching(/^A draft must be in the 'built' state before it can be tested\. Its build has failed: .*SyntaxError/) } });
  });

  test('an Action of a trigger that does not run here', async () => {
    const id = await draft('', { supported_triggers: [{ id: 'post-login', version: 'v3' }] });
    expect(await run(id)).toMatchObject({ status: 400, body: { message: 'Actions of the trigger post-login v3 do not run here, so that this one cannot be tested.' } });
  });

  test('an Action that does not exist, a body without payload, and a token without the scope', async () => {
    const unknown = '00000000-0000-7000-8000-000000000000';
    expect(await run(unknown)).toMatchObject({ status: 404, body: { message: 'That action does not exist.' } });
    expect(await postJson(`${app.url}/api/v2/actions/actions/${unknown}/test`, {}, headers)).toMatchObject({ status: 400, body: { errorCode: 'invalid_body' } });
    expect((await postJson(`${app.url}/api/v2/actions/actions/${unknown}/test`, { payload: {} }, await bearer(app, 'read:actions'))).status).toBe(403);
  });
});
