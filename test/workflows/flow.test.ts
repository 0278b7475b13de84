import { afterEach, describe, expect, it } from 'vitest';
import type { InvocationResult } from '../../src/domain/invocation.ts';
import { openAppStore } from '../helpers/app-store.ts';
import { createHarness, type Harness, MINUTE, type Script, SECOND, succeeds } from './harness.ts';

/** The harness names an Action by its place. */
const FIRST_ACTION = 'action-0';

let harness: Harness;
afterEach(async () => {
  await harness.close();
});

async function outcomes(ids: string[]): Promise<(string | null)[]> {
  return await Promise.all(ids.map(async (id) => (await harness.ledger.readRegistration(id))!.outcome));
}

async function stepsOf(id: string): Promise<string[]> {
  return (await harness.ledger.readRegistration(id))!.steps.map((step) => step.state);
}

/** Failures in other registrations, so that few are needed here. */
async function failuresBefore(failures: number): Promise<void> {
  await harness.database.db.insertInto('flow').values({ id: `action/${FIRST_ACTION}`, failures, updated_at: 0 }).execute();
}

describe('an Action whose receiver is down', () => {
  it('is tried by one registration for all, holds up nothing else, and reaches everybody soon after it is up again', async () => {
    harness = await createHarness({ openStore: openAppStore });
    await failuresBefore(8);
    const up = 20 * MINUTE;
    const ids: string[] = [];
    for (let n = 0; n < 6; n++) {
      ids.push(await harness.register([{ name: 'Down', script: ({ now }) => (now < up ? { error: {} } : {}) }, { name: 'After', script: succeeds }]));
      await harness.pass(10 * SECOND);
    }

    await harness.pass(up - MINUTE - 10 * SECOND);
    // Two, with their quick retries, have shown that it is down; the others were parked without an attempt.
    expect(harness.attemptsOf('After')).toHaveLength(6);
    for (const [n, at] of harness.attemptsOf('After').entries()) expect(at).toBeLessThan(n * 10 * SECOND + MINUTE);
    const during = harness.attemptsOf('Down').length;
    // Alone, six would have tried 60 times by now. Probes: after 30 s, 1, 2, 4 and then every 5 minutes.
    expect(during).toBeGreaterThan(7);
    expect(during).toBeLessThan(20);
    expect(await harness.flow.actions()).toMatchObject([{ actionId: FIRST_ACTION, down: { failures: expect.any(Number) } }]);

    await harness.pass(7 * MINUTE);
    expect(await outcomes(ids)).toEqual(ids.map(() => 'succeeded'));
    // At least one attempt each, and none more for it than the one that found it up and those that came after it.
    expect(harness.attemptsOf('Down').length - during).toBeLessThanOrEqual(8);
    expect(await harness.flow.actions()).toEqual([]);
  });

  it('keeps the Actions waiting that need its success', async () => {
    harness = await createHarness({ openStore: openAppStore });
    await failuresBefore(9);
    await harness.register([{ name: 'Down', script: () => ({ error: {} }) }]);
    await harness.pass(5 * SECOND);
    const id = await harness.register([{ name: 'Down', script: succeeds, policy: { onFailure: 'wait' } }, { name: 'After', script: succeeds }]);

    await harness.pass(15 * SECOND);
    expect(await stepsOf(id)).toEqual(['pending', 'pending']);
    expect(harness.attemptsOf('After')).toEqual([]);

    await harness.pass(2 * MINUTE);
    expect(await outcomes([id])).toEqual(['succeeded']);
  });
});

describe('pausing', () => {
  it('keeps an Action and those after it waiting, and resuming begins at once, without an attempt less', async () => {
    harness = await createHarness({ openStore: openAppStore });
    const ids: string[] = [];
    await harness.flow.pauseTrigger('client1');
    for (let n = 0; n < 3; n++) ids.push(await harness.register([{ name: 'A', script: succeeds }, { name: 'B', script: succeeds }]));
    await harness.pass(10 * MINUTE);
    expect(harness.made).toEqual([]);
    expect((await harness.flow.trigger()).held).toBe(3);

    await harness.flow.resumeTrigger('client1');
    await harness.pass(15 * SECOND);
    expect(await outcomes(ids)).toEqual(['succeeded', 'succeeded', 'succeeded']);
    expect(harness.attemptsOf('A').every((at) => at < 11 * MINUTE)).toBe(true);
    const records = await Promise.all(ids.map((id) => harness.ledger.readRegistration(id)));
    expect(records.flatMap((record) => record!.steps.map((step) => step.attempts.length))).toEqual([1, 1, 1, 1, 1, 1]);
  });

  it('holds a parked Action too, and lets the others go on', async () => {
    harness = await createHarness({ openStore: openAppStore });
    const id = await harness.register([{ name: 'A', script: ({ attempt }) => (attempt < 6 ? { error: {} } : {}) }, { name: 'B', script: succeeds }]);
    await harness.pass(45 * SECOND);
    expect(await stepsOf(id)).toEqual(['parked', 'succeeded']);
    // The harness has steps of Actions, and no Actions that the API could pause. Five failures of one step are one.
    await harness.database.db.updateTable('flow').set({ paused_at: 1, paused_by: 'client1' }).where('id', '=', `action/${FIRST_ACTION}`).where('failures', '=', 1).execute();
    await harness.pass(70 * MINUTE);
    expect(harness.attemptsOf('A')).toHaveLength(5);
    await harness.flow.resumeAction(FIRST_ACTION, 'client1');
    await harness.pass(15 * SECOND);
    expect(await outcomes([id])).toEqual(['succeeded']);
  });
});

describe.each([
  ['the attempts that a binding allows', {}, { concurrency: 1 }],
  ['the share of a worker', { share: 1 }, {}],
])('%s', (_what, options, policy) => {
  it('are not exceeded, and whoever waits begins when one ends', async () => {
    harness = await createHarness({ ...options, openStore: openAppStore });
    const ends: (() => void)[] = [];
    const script: Script = () => new Promise<InvocationResult>((resolve) => {
      ends.push(() => resolve({ outcome: 'succeeded', startedAt: 0, durationMs: 0, logs: [], logsTruncated: false, calls: [], cacheChanges: [], commands: [] }));
    });
    const ids: string[] = [];
    for (let n = 0; n < 3; n++) ids.push(await harness.register([{ name: 'A', script, policy }]));
    await harness.dispatch();
    const held = async () => (await harness.database.db.selectFrom('step').select('id').where('held_reason', 'is not', null).execute()).length;
    for (let running = 0; running < 3; running++) {
      await expect.poll(held).toBe(2 - running);
      await expect.poll(() => ends.length).toBe(running + 1);
      ends[running]!();
      if (running < 2) await expect.poll(held).toBe(1 - running);
      await harness.dispatch();
    }
    await expect.poll(() => outcomes(ids)).toEqual(['succeeded', 'succeeded', 'succeeded']);
    expect(ends).toHaveLength(3);
  });
});
