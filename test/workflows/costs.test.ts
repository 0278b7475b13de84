import { readFileSync } from 'node:fs';
import { afterEach, expect, test } from 'vitest';
import { workflowIdOf } from '../../workflows/messages.ts';
import { createHarness, type Harness } from './harness.ts';

const page = readFileSync(new URL('../../docs/temporal-costs.md', import.meta.url), 'utf8');

let harness: Harness;
afterEach(async () => {
  await harness.close();
});

/** What the page says of the row that begins with this. */
function told(row: string): { billed: number; events: number } {
  const [, billed, events] = new RegExp(`^\\| ${row}[^|]*\\| (\\d+) \\| (\\d+) \\|$`, 'm').exec(page)!;
  return { billed: Number(billed), events: Number(events) };
}

/** Attempts are counted where they are made, as retries leave no event; heartbeats need attempts that last. */
async function counted(id: string): Promise<{ billed: number; events: number }> {
  const events = (await harness.env.client.workflow.getHandle(workflowIdOf(id)).fetchHistory()).events ?? [];
  const has = (kind: string): number => events.filter((event) => event[kind as keyof typeof event] !== undefined && event[kind as keyof typeof event] !== null).length;
  const scheduled = events.flatMap((event) => event.activityTaskScheduledEventAttributes ?? []);
  const ofLedger = scheduled.filter(({ activityType }) => activityType?.name !== 'runAction').length;
  const billed = has('workflowExecutionStartedEventAttributes') + has('workflowExecutionSignaledEventAttributes') + has('timerStartedEventAttributes') + ofLedger + harness.made.length;
  return { billed, events: events.length };
}

test('three Actions that succeed cost what the page says', async () => {
  harness = await createHarness();
  const id = await harness.register(['A', 'B', 'C'].map((name) => ({ name, script: () => ({}) })));
  await harness.run(id);
  expect(await counted(id)).toEqual(told('three Actions, all well'));
});

test('an Action that fails for 5 days costs what the page says', async () => {
  harness = await createHarness();
  const id = await harness.register([{ name: 'A', script: () => ({ error: {} }) }]);
  await harness.run(id);
  expect(await counted(id)).toEqual(told('one Action whose receiver is down'));
});
