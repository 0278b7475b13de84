import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { ManagementClient } from '../../examples/management-client.ts';
import { type Receiver, startReceiver } from '../../examples/receiver.ts';
import { startRegistry, type TestRegistry } from '../builds/registry.ts';
import { startTestDevServer, type TestDevServer } from '../helpers/dev-server.ts';
import { postgresMissing, type PostgresServer, startPostgres } from '../helpers/postgres.ts';
import { openPostgres } from '../../src/store/postgres.ts';
import { createOutbox } from '../../src/store/outbox.ts';
import { bindTellingActions, deliveries, parseDelivery, tellingAction } from './actions.ts';
import { createUsherOnPostgres, type RoleOnPostgres, type UsherOnPostgres } from './postgres-usher.ts';
import { until } from './until.ts';
import { ask, signUp } from './usher-process.ts';

/** Whose receiver takes its time. */
const SLOW = 'slow@example.com';
const NO_REGISTRY = { npm_config_registry: 'http://127.0.0.1:1/' };

describe.skipIf(postgresMissing() !== null)('two api and two workers on one PostgreSQL', () => {
  let postgres: PostgresServer;
  let temporal: TestDevServer;
  let registry: TestRegistry;
  let receiver: Receiver;
  let usher: UsherOnPostgres;
  let apis: RoleOnPostgres[];
  let workers: RoleOnPostgres[];
  let management: ManagementClient[];

  beforeAll(async () => {
    [postgres, temporal, registry, receiver] = await Promise.all([startPostgres(), startTestDevServer(), startRegistry(), startReceiver(({ body }) => ({ status: 200, delayMs: parseDelivery(body).email === SLOW ? 4000 : 0 }))]);
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

  test('an Action with a package, made over one api, runs on both workers, which have an empty disk and no npm registry', async () => {
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
    const emails = Array.from({ length: 8 }, (_, n) => `greeted-${n}@example.com`);

    await Promise.all(emails.map(async (email, n) => expect(await signUp(apis[n % 2]!.address, email)).toMatchObject({ status: 200 })));

    const seen = await until('every registration has succeeded', async () => {
      const registrations = await usher.registrations('greeted-%');
      return registrations.length === emails.length && registrations.every(({ outcome }) => outcome === 'succeeded') ? registrations : null;
    }, 50_000);
    expect(deliveries(receiver).map(({ email }) => email).toSorted()).toEqual(emails.map((email) => `hello ${email}`).toSorted());
    const workerIds = seen.flatMap(({ steps }) => steps.flatMap(({ attempts }) => attempts.map((attempt) => attempt.worker_id)));
    for (const { pid } of workers) expect(workerIds).toContainEqual(expect.stringContaining(`-${pid}-`));
    expect(registry.requests.length).toBe(asked);
    const execution = await management[1]!.call<{ status: string }>('GET', `/actions/executions/${seen[0]!.id}`);
    expect(execution).toMatchObject({ status: 'final' });
    for (const api of apis) expect(await ask(api.address, '/readyz')).toMatchObject({ status: 200, body: { status: 'ready' } });
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
    await until('it is let in', async () => (await asks(apis[1]!)) === origin, 5000);
    await management[0]!.call('DELETE', `/clients/${id}`);
    await until('it is not let in any more', async () => (await asks(apis[1]!)) === null, 5000);
  });

  test('what another process makes due is handed over at once, not at the next look', async () => {
    // Alone, it looks a second after its last hand-over.
    expect(await apis[1]!.stop()).toBe(0);
    await bindTellingActions(management[0]!, receiver, ['Slow']);
    await signUp(apis[0]!.address, SLOW);
    await until('it runs', () => deliveries(receiver).some(({ email }) => email === SLOW));
    const { id } = (await usher.registrations(SLOW))[0]!;
    const database = openPostgres(usher.databaseUrl);
    const outbox = createOutbox({ database });
    const waits: Record<'found' | 'signalled', number[]> = { found: [], signalled: [] };

    for (let n = 0; n < 10; n++) {
      const way = n < 5 ? 'found' : 'signalled';
      await outbox.makeDue(id);
      const startedAt = performance.now();
      if (way === 'signalled') database.signal('registration-due');
      await until('it is handed over', async () => (await outbox.depth()).due === 0);
      waits[way].push(performance.now() - startedAt);
    }

    await database.close();
    const median = (values: number[]) => values.toSorted((a, b) => a - b)[2]!;
    expect(median(waits.found) - median(waits.signalled)).toBeGreaterThan(400);
    await until('it has succeeded', async () => (await usher.registrations(SLOW))[0]?.outcome === 'succeeded');
    expect(deliveries(receiver).filter(({ email }) => email === SLOW)).toHaveLength(1);
  });
});
