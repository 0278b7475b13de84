import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import proto from '@temporalio/proto';
import { NativeConnection, Worker } from '@temporalio/worker';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { SERVER_SETTINGS } from '../../src/temporal/server-settings.ts';
import { ACTIONS_TASK_QUEUE, type OpenStep, type RunActionInput } from '../../workflows/messages.ts';
import { startTestDevServer, type TestDevServer } from '../helpers/dev-server.ts';
import type { attemptAll } from '../helpers/order-workflow.ts';

const FLOOD = 30;
const WORKFLOWS_QUEUE = 'order';

let server: TestDevServer;
let connection: NativeConnection;
beforeAll(async () => {
  server = await startTestDevServer();
  connection = await NativeConnection.connect({ address: server.address });
});
afterAll(async () => {
  await connection?.close();
  await server?.stop();
});

/** @returns the ids of the steps, in the order in which a worker with room for one at a time gets them. */
async function orderOf(steps: OpenStep[]): Promise<string[]> {
  const order: string[] = [];
  const workflows = await Worker.create({
    connection,
    taskQueue: WORKFLOWS_QUEUE,
    workflowsPath: fileURLToPath(new URL('../helpers/order-workflow.ts', import.meta.url)),
  });
  await workflows.runUntil(async () => {
    const handle = await server.client.workflow.start<typeof attemptAll>('attemptAll', { taskQueue: WORKFLOWS_QUEUE, workflowId: `order-${steps.length}`, args: [steps] });
    // All of them wait before the first one begins: for the workflow, and a moment later where workers ask.
    await expect.poll(async () => (await handle.describe()).raw.pendingActivities?.length).toBe(steps.length);
    await expect.poll(waitingActions).toBe(steps.length);
    const actions = await Worker.create({
      connection,
      taskQueue: ACTIONS_TASK_QUEUE,
      maxConcurrentActivityTaskExecutions: 1,
      activities: { runAction: ({ stepId }: RunActionInput) => Promise.resolve(order.push(stepId)) },
    });
    await actions.runUntil(handle.result());
  });
  return order;
}

async function waitingActions(): Promise<number> {
  const { stats } = await server.client.workflowService.describeTaskQueue({
    namespace: server.namespace,
    taskQueue: { name: ACTIONS_TASK_QUEUE },
    taskQueueType: proto.temporal.api.enums.v1.TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY,
    reportStats: true,
  });
  return Number(stats?.approximateBacklogCount);
}

function step(stepId: string, more: Partial<OpenStep> = {}): OpenStep {
  return { stepId, label: stepId, actionId: 'flooding', phase: 'quick', delayMs: 0, onFailure: 'continue', timeoutMs: 1_000, ...more };
}

function numbered(count: number, name: string, more: Partial<OpenStep> = {}): OpenStep[] {
  return Array.from({ length: count }, (_, index) => step(`${name} ${index}`, more));
}

test('what has not failed yet goes before long retries and before what is run again', async () => {
  const order = await orderOf([...numbered(5, 'long', { phase: 'long' }), ...numbered(5, 'again', { redriven: true }), ...numbered(5, 'first')]);
  expect(order.slice(0, 5).every((id) => id.startsWith('first')), order.join(', ')).toBe(true);
  expect(order).toHaveLength(15);
});

test('an Action with a few to run does not wait for one that has very many', async () => {
  const order = await orderOf([...numbered(FLOOD, 'flood'), ...numbered(3, 'other', { actionId: 'other' })]);
  const last = order.findLastIndex((id) => id.startsWith('other'));
  expect(last, order.join(', ')).toBeLessThan(FLOOD / 2);
});

test('the compose file gives its server the same settings', async () => {
  const yaml = await readFile(new URL('../../examples/compose/temporal-settings.yaml', import.meta.url), 'utf8');
  const set = [...yaml.matchAll(/^(\S+):\n {2}- value: (\w+)$/gm)].map(([, name, value]) => [name, JSON.parse(value!)]);
  expect(Object.fromEntries(set)).toEqual(SERVER_SETTINGS);
});
