import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { postgresMissing, type PostgresServer, startPostgres } from '../../examples/cluster/postgres.ts';
import type { ManagementClient } from '../../examples/management-client.ts';
import { type Receiver, startReceiver } from '../../examples/receiver.ts';
import { startRegistry, type TestRegistry } from '../builds/registry.ts';
import { startTestDevServer, type TestDevServer } from '../helpers/dev-server.ts';
import { mustSkip } from '../helpers/must-skip.ts';
import { bindTellingActions, deliveries, tellingAction } from './actions.ts';
import { createUsherOnPostgres, type RoleOnPostgres, type UsherOnPostgres } from './postgres-usher.ts';
import { until } from './until.ts';
import { ask, signUp } from './usher-process.ts';

const NO_REGISTRY = { npm_config_registry: 'http://127.0.0.1:1/' };

describe.skipIf(mustSkip('two api and two workers on one PostgreSQL', postgresMissing()))('two api and two workers on one PostgreSQL', () => {
  let postgres: PostgresServer;
  let temporal: TestDevServer;
  let registry: TestRegistry;
  let receiver: Receiver;
  let usher: UsherOnPostgres;
  let apis: RoleOnPostgres[];
  let workers: RoleOnPostgres[];
  let management: ManagementClient[];

  beforeAll(async () => {
    [postgres, temporal, registry, receiver] = await Promise.all([startPostgres(), startTestDevServer(), startRegistry(), startReceiver(() => ({ status: 200 }))]);
    await registry.publish('greeting', '1.0.0', { files: { 'index.js': `module.exports = (name) => 'hello ' + name;` } });
    usher = await createUsherOnPostgres({ databaseUrl: await postgres.createDatabase(), temporalAddress: temporal.address });
    // At once, on an empty database: each migrates, or waits for the one that does.
    [apis, workers] = await Promise.all([
      Promise.all([1, 2].map(() => usher.start('api', { npm_config_registry: registry.url }))),
      Promise.all([1, 2].map(() => usher.start('worker', NO_REGISTRY))),
    ]);
    management = await Promise.all(apis.map((api) => usher.management(api)));
  });
  afterAll(async () => {
    await usher?.close();
    await Promise.all([receiver?.close(), registry?.close(), temporal?.stop(), postgres?.stop()]);
  });

  /** Signs somebody up and tells which worker ran the only attempt. */
  async function workerOf(email: string): Promise<string> {
    expect((await signUp(apis[0]!.address, email)).status).toBe(200);
    const { steps } = await until('it has run', async () => (await usher.registrations(email)).find(({ outcome }) => outcome === 'succeeded'));
    expect(steps[0]!.attempts).toHaveLength(1);
    return steps[0]!.attempts[0]!.worker_id;
  }

  test('an Action with a package, made over one api, runs on every worker, which has an empty disk and no npm registry', async () => {
    const code = `const greeting = require('greeting');\n${tellingAction('Greet').replace('event.user.email,', 'greeting(event.user.email),')}`;
    const id = await management[0]!.deployAction({
      name: 'Greet',
      triggerId: 'post-user-registration',
      code,
      dependencies: [{ name: 'greeting', version: '1.0.0' }],
      secrets: [{ name: 'RECEIVER', value: receiver.url }],
    });
    await management[1]!.bind('post-user-registration', [id]);
    const asked = registry.requests.length;
    const emails = Array.from({ length: 6 }, (_, n) => `greeted-${n}@example.com`);

    await Promise.all(emails.map(async (email, n) => expect(await signUp(apis[n % 2]!.address, email)).toMatchObject({ status: 200 })));

    const seen = await until('every registration has succeeded', async () => {
      const registrations = await usher.registrations('greeted-%');
      return registrations.length === emails.length && registrations.every(({ outcome }) => outcome === 'succeeded') ? registrations : null;
    });
    expect(deliveries(receiver).map(({ email }) => email).toSorted()).toEqual(emails.map((email) => `hello ${email}`).toSorted());
    // Whichever ran those: each runs it when it is the only one.
    const [first, second] = workers as [RoleOnPostgres, RoleOnPostgres];
    expect(await first.stop()).toBe(0);
    expect(await workerOf('second@example.com')).toContain(`-${second.pid}-`);
    const third = await usher.start('worker', NO_REGISTRY);
    expect(await second.stop()).toBe(0);
    expect(await workerOf('third@example.com')).toContain(`-${third.pid}-`);
    expect(registry.requests.length).toBe(asked);
    const execution = await management[1]!.call<{ status: string }>('GET', `/actions/executions/${seen[0]!.id}`);
    expect(execution).toMatchObject({ status: 'final' });
    for (const api of apis) expect(await ask(api.address, '/readyz')).toMatchObject({ status: 200, body: { status: 'ready' } });
    // Each dispatcher hears at once of what a worker makes due.
    expect(await usher.query(`select 1 from pg_stat_activity where datname = current_database() and query = 'listen usher'`)).toHaveLength(apis.length);
  });

  test('what is changed over one api counts at the other at once', async () => {
    const [one, two] = management as [ManagementClient, ManagementClient];
    await bindTellingActions(one, receiver, ['Before', 'After']);
    expect((await signUp(apis[1]!.address, 'changed@example.com')).status).toBe(200);
    await until('both have run', () => deliveries(receiver).filter(({ email }) => email === 'changed@example.com').length === 2);

    // A token of one opens the other; a client, its secret and a connection are read anew at each request.
    const client = await one.call<{ client_id: string; client_secret: string }>('POST', '/clients', { name: 'Elsewhere', app_type: 'non_interactive' });
    const [connection] = await two.call<{ id: string }[]>('GET', '/connections');
    await two.call('PATCH', `/connections/${connection!.id}`, { options: { disable_signup: true } });
    expect((await signUp(apis[0]!.address, 'refused@example.com')).status).toBe(400);
    await one.call('PATCH', `/connections/${connection!.id}`, { options: { disable_signup: false } });
    expect((await signUp(apis[1]!.address, 'allowed@example.com')).status).toBe(200);

    const login = (api: RoleOnPostgres) => fetch(`${api.address}/oauth/token`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ grant_type: 'client_credentials', client_id: client.client_id, client_secret: client.client_secret, audience: `${api.address}/api/v2/` }),
    });
    // It has no grant, so it is known and refused.
    expect((await login(apis[1]!)).status).toBe(403);
    await two.call('DELETE', `/clients/${client.client_id}`);
    expect((await login(apis[0]!)).status).toBe(401);
  });

  test('who may call from a browser is known to the other api within seconds', async () => {
    const origin = 'https://app.example.com';
    const asks = async (api: RoleOnPostgres) => {
      const { headers } = await fetch(`${api.address}/dbconnections/signup`, { method: 'OPTIONS', headers: { origin, 'access-control-request-method': 'POST' } });
      return headers.get('access-control-allow-origin');
    };
    expect(await asks(apis[1]!)).toBeNull();
    const { client_id: id } = await management[0]!.call<{ client_id: string }>('POST', '/clients', { name: 'Page', app_type: 'spa', web_origins: [origin] });
    await until('it is let in', async () => (await asks(apis[1]!)) === origin, 20_000);
    await management[0]!.call('DELETE', `/clients/${id}`);
    await until('it is not let in any more', async () => (await asks(apis[1]!)) === null, 20_000);
  });
});
