import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { postgresMissing, type PostgresServer, startPostgres } from '../../examples/cluster/postgres.ts';
import { type Receiver, startReceiver } from '../../examples/receiver.ts';
import { startRegistry, type TestRegistry } from '../builds/registry.ts';
import { startTestDevServer, type TestDevServer } from '../helpers/dev-server.ts';
import { mustSkip } from '../helpers/must-skip.ts';
import { bindTellingActions, deliveries } from './actions.ts';
import { createUsherOnPostgres, type RoleOnPostgres, type UsherOnPostgres } from './postgres-usher.ts';
import { until } from './until.ts';
import { signUp } from './usher-process.ts';

/** Leases of builds and attempts are 30 s. */
const TAKEN_UP_WITHIN_MS = 50_000;

describe.skipIf(mustSkip('two api and two workers of which one each is killed with -9', postgresMissing()))('two api and two workers of which one each is killed with -9', () => {
  let postgres: PostgresServer;
  let temporal: TestDevServer;
  let registry: TestRegistry;
  let receiver: Receiver;
  let usher: UsherOnPostgres;
  let apis: RoleOnPostgres[];
  let workers: RoleOnPostgres[];

  beforeAll(async () => {
    [postgres, temporal, registry, receiver] = await Promise.all([
      startPostgres(),
      startTestDevServer(),
      startRegistry(),
      startReceiver(({ nth }) => ({ status: 200, delayMs: nth === 1 ? Infinity : 0 })),
    ]);
    await registry.publish('slow-to-come', '1.0.0');
    usher = await createUsherOnPostgres({ databaseUrl: await postgres.createDatabase(), temporalAddress: temporal.address, env: { npm_config_registry: registry.url } });
    [apis, workers] = await Promise.all([
      Promise.all([usher.start('api'), usher.start('api')]),
      Promise.all([usher.start('worker'), usher.start('worker')]),
    ]);
  });
  afterAll(async () => {
    await usher?.close();
    await Promise.all([receiver?.close(), registry?.close(), temporal?.stop(), postgres?.stop()]);
  });

  test('the others take up its build and its attempt once the lease has run out, and not before', async () => {
    const management = await usher.management(apis[0]!);
    await bindTellingActions(management, receiver, ['Tell']);
    expect((await signUp(apis[0]!.address, 'killed@example.com')).status).toBe(200);
    const letGo = registry.hang('slow-to-come');
    const { id } = await management.call<{ id: string }>('POST', '/actions/actions', {
      name: 'Slow to build',
      supported_triggers: [{ id: 'post-user-registration', version: 'v2' }],
      code: 'exports.onExecutePostUserRegistration = async () => {};',
      dependencies: [{ name: 'slow-to-come', version: '1.0.0' }],
    });

    const building = await until('an api builds', async () => {
      const found = await Promise.all(apis.map(async (api) => ((await readdir(join(api.dataDir, 'cache', 'builds')).catch(() => [])).length > 0 ? api : null)));
      return registry.requests.some((path) => path.includes('slow-to-come')) ? found.find((api) => api !== null) : null;
    });
    const running = await until('a worker has an attempt that its receiver does not answer', async () => {
      const [attempt] = (await usher.registrations('killed@%'))[0]?.steps[0]?.attempts ?? [];
      return receiver.received.length === 1 ? attempt : null;
    });
    const worker = workers.find(({ pid }) => running.worker_id.includes(`-${pid}-`))!;
    await Promise.all([building.kill(), worker.kill()]);
    letGo();

    const other = await usher.management(apis.find((api) => api !== building)!);
    await until('the draft is built', async () => (await other.call<{ status: string }>('GET', `/actions/actions/${id}`)).status === 'built', TAKEN_UP_WITHIN_MS);
    const { steps } = await until('the registration has succeeded', async () => {
      const [registration] = await usher.registrations('killed@%');
      return registration?.outcome === 'succeeded' ? registration : null;
    }, TAKEN_UP_WITHIN_MS);

    const [first, second] = steps[0]!.attempts;
    expect(steps[0]!.attempts).toHaveLength(2);
    expect(first).toMatchObject({ number: 1, worker_id: running.worker_id });
    expect(second).toMatchObject({ number: 2, outcome: 'succeeded' });
    expect(second!.worker_id).not.toBe(first!.worker_id);
    expect(second!.started_at).toBeGreaterThanOrEqual(first!.leased_until);
    const [one, two] = deliveries(receiver);
    expect(two!.key).toBe(one!.key);
  });
});
