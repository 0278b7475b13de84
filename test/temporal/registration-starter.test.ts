import { type NativeConnection, Worker } from '@temporalio/worker';
import { randomBytes } from 'node:crypto';
import { Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { pino } from 'pino';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { REGISTRATION_TASK_QUEUE, workflowIdOf } from '../../workflows/messages.ts';
import { createSweep } from '../../src/registration/sweep.ts';
import type { Outbox } from '../../src/store/outbox.ts';
import { SealError } from '../../src/store/sealing.ts';
import { createClient, temporalSettings } from '../../src/temporal/connection.ts';
import { dataConverter } from '../../src/temporal/data-converter.ts';
import { createHistories } from '../../src/temporal/histories.ts';
import { connectWorker } from '../../src/temporal/native-connection.ts';
import type { PayloadKeys } from '../../src/temporal/payload-codec.ts';
import { createRegistrationStarter, type RegistrationStarter } from '../../src/temporal/registration-starter.ts';
import { SEARCH_ATTRIBUTE_NAMES } from '../../src/temporal/search-attributes.ts';
import { installTelemetry } from '../../src/temporal/telemetry.ts';
import { startTestDevServer, type TestDevServer } from '../helpers/dev-server.ts';

/** For a condition that others on a busy machine may hold up. */
const PATIENT = { timeout: 30_000 };

let server: TestDevServer;
let starter: RegistrationStarter;
let connection: NativeConnection;
const logged: string[] = [];

beforeAll(async () => {
  await installTelemetry(pino({ level: 'debug' }, new Writable({ write: (line, _, done) => (logged.push(String(line)), done()) })));
  server = await startTestDevServer();
  starter = createRegistrationStarter({ client: server.client, searchAttributes: () => SEARCH_ATTRIBUTE_NAMES });
  const settings = temporalSettings({ TEMPORAL_ADDRESS: server.address });
  connection = await connectWorker({ ...settings, address: server.address });
});
afterAll(async () => {
  await connection?.close();
  await server?.stop();
});

const statusOf = async (registrationId: string): Promise<string> => (await starter.describe(registrationId)).status;
const registration = (registrationId: string) => ({ registrationId, userId: 'auth0|5f7c', connectionName: 'Username-Password-Authentication' });

async function withWorker(use: () => Promise<void>, keys: PayloadKeys | null = null): Promise<void> {
  const worker = await Worker.create({
    connection,
    taskQueue: REGISTRATION_TASK_QUEUE,
    workflowsPath: fileURLToPath(new URL('../helpers/trivial-workflows.ts', import.meta.url)),
    dataConverter: dataConverter(keys),
  });
  await worker.runUntil(use);
}

test('starting a registration twice makes one workflow, with a signal for each start', async () => {
  await starter.start(registration('twice'));
  await starter.start(registration('twice'));
  const { events } = await server.client.workflow.getHandle(workflowIdOf('twice')).fetchHistory();
  const started = events!.filter((event) => event.workflowExecutionStartedEventAttributes);
  const signals = events!.flatMap((event) => event.workflowExecutionSignaledEventAttributes?.signalName ?? []);
  expect(started).toHaveLength(1);
  expect(signals).toEqual(['look', 'look']);
});

test('a registration is found and read in the Web UI by its connection and user, and carries nothing else', async () => {
  await starter.start(registration('shown'));
  const handle = server.client.workflow.getHandle(workflowIdOf('shown'));
  const { events } = await handle.fetchHistory();
  const started = events![0]!.workflowExecutionStartedEventAttributes!;
  expect(started.workflowType!.name).toBe('userRegistration');
  expect(started.input!.payloads!.map((payload) => JSON.parse(Buffer.from(payload.data!).toString()))).toEqual([{ v: 1, registrationId: 'shown' }]);
  expect(Buffer.from(events![0]!.userMetadata!.summary!.data!).toString()).toBe('"Username-Password-Authentication · auth0|5f7c"');
  const { typedSearchAttributes } = await handle.describe();
  expect(Object.fromEntries(typedSearchAttributes.getAll().map(({ key, value }) => [key.name, value]))).toMatchObject({
    UsherConnection: 'Username-Password-Authentication',
    UsherUserId: 'auth0|5f7c',
  });
  await expect
    .poll(async () => (await server.client.workflow.count(`UsherUserId = 'auth0|5f7c' AND WorkflowId = '${workflowIdOf('shown')}'`)).count, PATIENT)
    .toBe(1);
});

test('what Temporal says of a workflow is told, and a registration whose workflow has ended can be started again', async () => {
  await withWorker(async () => {
    for (const id of ['completes', 'fails', 'runs', 'is-cancelled', 'is-terminated']) await starter.start(registration(id));
    await server.client.workflow.getHandle(workflowIdOf('is-cancelled')).cancel();
    await server.client.workflow.getHandle(workflowIdOf('is-terminated')).terminate();
    await expect.poll(() => statusOf('completes'), PATIENT).toBe('completed');
    await expect.poll(() => statusOf('fails'), PATIENT).toBe('failed');
    await expect.poll(() => statusOf('is-cancelled'), PATIENT).toBe('cancelled');
    expect(await statusOf('is-terminated')).toBe('terminated');
    await expect.poll(() => statusOf('runs'), PATIENT).toBe('idle');
    expect(await statusOf('never-seen')).toBe('unknown');
  });
  await starter.start(registration('completes'));
  expect(await statusOf('completes')).toBe('running');
});

test('a workflow that cannot be decrypted any more is deleted and started again, and only that', async () => {
  const id = 'encrypted';
  const keys = { lost: randomBytes(32), ours: randomBytes(32) };
  const have = (...names: (keyof typeof keys)[]): PayloadKeys => ({
    current: () => Promise.resolve({ id: names[0]!, key: keys[names[0]!] }),
    find(wanted) {
      const name = names.find((each) => each === wanted);
      return name === undefined ? Promise.reject(new SealError('a payload', 'its key is gone')) : Promise.resolve(keys[name]);
    },
  });
  const clients = [have('lost', 'ours'), have('ours')].map((each) => createClient({ address: server.address, namespace: server.namespace, security: {} }, each));
  const [before, now] = clients.map((client) => createRegistrationStarter({ client, searchAttributes: () => [] })) as [RegistrationStarter, RegistrationStarter];
  const runId = async () => (await server.client.workflow.getHandle(workflowIdOf(id)).describe()).runId;
  await before.start(registration(id));
  const first = await runId();

  const due = new Set<string>();
  let checks: string[] = [];
  const sweep = createSweep({
    outbox: {
      ...({} as Outbox),
      claimForCheck: () => Promise.resolve(checks.splice(0)),
      makeDue: (made) => Promise.resolve(void due.add(String(made))),
    },
    ledger: { recordCancelledByOperator: () => Promise.reject(new Error('nobody has cancelled it')) },
    starter: now,
    histories: createHistories({ client: clients[1]! }),
    wake() {},
    logger: pino({ level: 'silent' }),
    intervalMs: 20,
  });
  await withWorker(async () => {
    await expect.poll(async () => (await now.describe(id)).status, PATIENT).toBe('stuck');
    checks = [id];
    sweep.start();
    await expect.poll(() => [...due], PATIENT).toEqual([id]);
    await sweep.stop();

    await now.start(registration(id));
    expect(await runId()).not.toBe(first);
    const goesOn = async () => (await server.client.workflow.getHandle(workflowIdOf(id)).fetchHistory()).events!.some((event) => event.workflowTaskCompletedEventAttributes);
    await expect.poll(goesOn, PATIENT).toBe(true);
    expect((await now.describe(id)).status).toBe('idle');
  }, have('ours'));
  await Promise.all(clients.map((client) => client.connection.close()));
});

test('a workflow that fails at its tasks again and again is told from one that goes on', async () => {
  await withWorker(async () => {
    for (const id of ['broken', 'whole']) await starter.start(registration(id));
    // It is tried some times first, with a growing pause.
    await expect.poll(() => statusOf('broken'), { timeout: 50_000 }).toBe('stuck');
    await expect.poll(() => statusOf('whole'), PATIENT).toBe('idle');
  });
});

test('a worker writes to our log and leaves the signals to us', async () => {
  const before = process.listenerCount('SIGTERM');
  await withWorker(async () => {
    expect(process.listenerCount('SIGTERM')).toBe(before);
    await expect.poll(() => logged.join(''), PATIENT).toContain('"msg":"Worker state changed"');
  });
});

test('the namespace has one id for as long as Temporal keeps its data', async () => {
  const id = await starter.namespaceId();
  expect(id).toMatch(/^[0-9a-f-]{36}$/);
  expect(await starter.namespaceId()).toBe(id);
});

test('an error about Temporal as a whole is told from one about a single registration', async () => {
  const broken = await starter.start({ ...registration('x'.repeat(2000)) }).catch((error: unknown) => error);
  expect(String((broken as Error).cause)).toContain('INVALID_ARGUMENT');
  expect(starter.isUnreachable(broken)).toBe(false);

  for (const [what, address, namespace] of [
    ['nobody listens', '127.0.0.1:9', 'default'],
    ['the namespace is not there', server.address, 'no-such-namespace'],
    ['it is no Temporal server', new URL(server.uiUrl).host, 'default'],
  ] as const) {
    const client = createClient({ address, namespace, security: {} });
    const elsewhere = createRegistrationStarter({ client, searchAttributes: () => [] });
    const error = await elsewhere.start(registration('anywhere')).catch((error: unknown) => error);
    expect(error, what).toBeInstanceOf(Error);
    expect(elsewhere.isUnreachable(error), `${what}: ${String((error as Error).cause ?? error)}`).toBe(true);
    await client.connection.close();
  }
});
