import type { TestWorkflowEnvironment } from '@temporalio/testing';
import { Worker } from '@temporalio/worker';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { sleepFor } from '../helpers/trivial-workflows.ts';
import { createTimeSkipping } from '../helpers/test-server.ts';

const FIVE_DAYS_MS = 5 * 24 * 3_600_000;
let env: TestWorkflowEnvironment;

beforeAll(async () => {
  env = await createTimeSkipping();
});
afterAll(() => env?.teardown());

test('a workflow that sleeps for five days ends within seconds, five days later by its own clock', async () => {
  const worker = await Worker.create({
    connection: env.nativeConnection,
    taskQueue: 'sleepers',
    workflowsPath: fileURLToPath(new URL('../helpers/trivial-workflows.ts', import.meta.url)),
  });
  const before = await env.currentTimeMs();
  const started = performance.now();
  const result = await worker.runUntil(
    env.client.workflow.execute<typeof sleepFor>('sleepFor', { workflowId: 'sleeper', taskQueue: 'sleepers', args: [FIVE_DAYS_MS] }),
  );
  expect(result).toBe('woken');
  expect((await env.currentTimeMs()) - before).toBeGreaterThanOrEqual(FIVE_DAYS_MS);
  expect(performance.now() - started).toBeLessThan(30_000);
});
