import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Client } from '@temporalio/client';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Receiver, startReceiver } from '../../examples/receiver.ts';
import { dieWithParent } from '../../src/temporal/die-with-parent.ts';
import { createClient } from '../../src/temporal/connection.ts';
import { nextFreePort } from '../../src/temporal/free-port.ts';
import { workflowIdOf } from '../../workflows/messages.ts';
import { devServerProgram, testPorts } from '../helpers/dev-server.ts';
import { bindTellingActions, deliveries, parseDelivery } from './actions.ts';
import { changePolicy, readRegistration } from './ledger-view.ts';
import { until } from './until.ts';
import { startTestUsher, type TestUsher } from './usher.ts';

/** Temporal asks for a new run from so many events on; a server that is not a test's has thousands. */
const MOST_EVENTS = 20;
const LOOKS = 8;
const EMAIL = 'ada@example.com';
/** The first Action for this one is still at work while its workflow is cancelled. */
const SLOW_EMAIL = 'grace@example.com';
const SLOW_MS = 10_000;

let folder: string;
let server: ChildProcess;
let client: Client;
let receiver: Receiver;
let usher: TestUsher;
let isDown = true;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'usher-short-histories-'));
  const grpc = await nextFreePort(testPorts().grpc);
  const [command, args] = dieWithParent(await devServerProgram(), [
    'server', 'start-dev', '--headless', '--ip', '127.0.0.1', '--port', String(grpc), '--namespace', 'default', '--log-level', 'error',
    '--dynamic-config-value', `limit.historyCount.suggestContinueAsNew=${MOST_EVENTS}`,
    '--dynamic-config-value', 'frontend.enableServerVersionCheck=false',
  ]);
  server = spawn(command, args, { cwd: folder, env: {}, stdio: 'ignore' });
  const address = `127.0.0.1:${grpc}`;
  client = createClient({ address, namespace: 'default', security: {} });
  await until('Temporal serves', () => client.workflowService.describeNamespace({ namespace: 'default' }).then(() => true, () => false));
  receiver = await startReceiver(({ body }) => {
    const { action, email } = parseDelivery(body);
    if (isDown && action === 'Down') return { status: 500 };
    return { status: 200, ...(action === 'First' && email === SLOW_EMAIL ? { delayMs: SLOW_MS } : {}) };
  });
  usher = await startTestUsher({ TEMPORAL_ADDRESS: address });
  const [, down] = await bindTellingActions(usher.management, receiver, ['First', 'Down', 'Last']);
  changePolicy(usher.dataDir, down!, { quick: { attempts: 1 }, long: { firstDelayMs: 3_600_000 } });
  await usher.working();
});

afterAll(async () => {
  await usher?.close();
  await receiver?.close();
  await client?.connection.close();
  if (server !== undefined && server.exitCode === null) {
    const ended = once(server, 'exit');
    server.kill('SIGKILL');
    await ended;
  }
  await rm(folder, { recursive: true, force: true });
});

test('a workflow whose history has grown goes on in a new run: what had succeeded stays, what is parked goes on', async () => {
  expect((await usher.signUp(EMAIL)).status).toBe(200);
  const seen = () => readRegistration(usher.dataDir, EMAIL)!;
  const states = () => seen()?.steps.map(({ state }) => state).join();
  await until('one is parked', () => states() === 'succeeded,parked,succeeded');
  const handle = client.workflow.getHandle(workflowIdOf(seen().id));
  const { runId: firstRun } = await handle.describe();

  const { steps } = await usher.management.call<{ steps: { id: string }[] }>('GET', `/usher/executions/${seen().id}`);
  const retry = () => usher.management.call('POST', `/usher/executions/${seen().id}/steps/${steps[1]!.id}/retry`);
  for (let n = 1; n <= LOOKS; n++) {
    await retry();
    await until(`it was tried ${n} times more, and is parked again`, () => seen().steps[1]!.attempts.filter(({ endedAt }) => endedAt !== null).length === 1 + n && states() === 'succeeded,parked,succeeded');
  }
  const { runId: laterRun } = await handle.describe();
  expect(laterRun).not.toBe(firstRun);
  const { historyLength } = await handle.describe();
  expect(historyLength).toBeLessThan(MOST_EVENTS * 4);

  isDown = false;
  await retry();
  await until('it has succeeded', () => seen().outcome === 'succeeded');
  const through = deliveries(receiver).filter(({ status }) => status === 200).map(({ action }) => action);
  expect(through).toEqual(['First', 'Last', 'Down']);
  expect(new Set(deliveries(receiver).filter(({ action }) => action === 'Down').map(({ key }) => key)).size).toBe(1);
});

test('what is redriven while its cancelled workflow still waits for an attempt to end is taken up by a new run', async () => {
  isDown = false;
  expect((await usher.signUp(SLOW_EMAIL)).status).toBe(200);
  const seen = () => readRegistration(usher.dataDir, SLOW_EMAIL)!;
  await until('its first Action is at work', () => seen()?.steps[0]!.attempts.length === 1);
  await client.workflow.getHandle(workflowIdOf(seen().id)).cancel();
  await until('the cancellation is recorded', () => seen().outcome === 'cancelled');

  await usher.management.call('POST', `/usher/executions/${seen().id}/redrive`, { steps: 'failed' });

  // Long before the sweep would ask.
  await until('it has succeeded', () => seen().outcome === 'succeeded');
});
