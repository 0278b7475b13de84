import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { RegistrationRecord } from '../../src/store/ledger.ts';
import { workflowIdOf } from '../../workflows/messages.ts';
import { openAppStore } from '../helpers/app-store.ts';
import { createHarness, fails, hanging, type Harness, HOUR, MINUTE, SECOND, succeeds } from './harness.ts';

const WAIT = { onFailure: 'wait' } as const;
const DONE = { changed: true };

let harness: Harness;
beforeAll(async () => {
  harness = await createHarness({ openStore: openAppStore });
});
beforeEach(() => harness.reset());
afterAll(async () => {
  await harness.close();
});

/** What was due is with Temporal, and so much time has passed. */
async function later(ms: number): Promise<void> {
  await harness.dispatch();
  await harness.env.sleep(ms);
}

async function read(id: string): Promise<RegistrationRecord> {
  return (await harness.ledger.readRegistration(id))!;
}

async function statesOf(id: string): Promise<string[]> {
  return (await read(id)).steps.map((step) => step.state);
}

/** Its last run, and how that ended. */
async function workflowOf(id: string): Promise<{ runId: string; ended: boolean }> {
  const { runId, status } = await harness.env.client.workflow.getHandle(workflowIdOf(id)).describe();
  return { runId, ended: status.name !== 'RUNNING' };
}

describe('cancelling', () => {
  it('is recorded at once, kills the attempt that runs, and ends the workflow', async () => {
    const { seen, script } = hanging();
    const id = await harness.register([{ name: 'Runs', script }, { name: 'After', script: succeeds }]);
    await harness.dispatch();
    await expect.poll(() => harness.attemptsOf('Runs').length).toBe(1);

    expect(await harness.ask((commands, tx) => commands.cancel(tx, id))).toEqual(DONE);
    expect(await read(id)).toMatchObject({ state: 'closed', outcome: 'cancelled' });

    await expect.poll(() => seen.killed).toBe(1);
    await expect.poll(() => workflowOf(id)).toMatchObject({ ended: true });
    const { outcome, steps } = await read(id);
    expect(outcome).toBe('cancelled');
    expect(steps[0]!.attempts).toMatchObject([{ outcome: 'cancelled', counted: false }]);
    expect(harness.attemptsOf('After')).toEqual([]);
  });

  it('ends what is parked, which is never tried again', async () => {
    const id = await harness.register([{ name: 'Never', script: fails }, { name: 'After', script: succeeds }]);
    await later(5 * MINUTE);
    expect(await statesOf(id)).toEqual(['parked', 'succeeded']);
    const before = harness.attemptsOf('Never').length;

    expect(await harness.ask((commands, tx) => commands.cancel(tx, id))).toEqual(DONE);

    await expect.poll(() => workflowOf(id)).toMatchObject({ ended: true });
    await later(2 * HOUR);
    expect(harness.attemptsOf('Never')).toHaveLength(before);
    expect(await statesOf(id)).toEqual(['cancelled', 'succeeded']);
  });

  it('leaves nothing behind that was cancelled before Temporal had heard of it', async () => {
    const id = await harness.register([{ name: 'A', script: succeeds }]);
    await harness.ask((commands, tx) => commands.cancel(tx, id));
    await expect.poll(() => workflowOf(id)).toMatchObject({ ended: true });
    expect(harness.made).toEqual([]);
    expect(await read(id)).toMatchObject({ outcome: 'cancelled', dueAt: null });
  });
});

describe('skipping', () => {
  it('gives up what is parked, and lets go on what waited for its success', async () => {
    const id = await harness.register([{ name: 'A', script: fails, policy: WAIT }, { name: 'B', script: succeeds }]);
    await later(5 * MINUTE);
    expect(await statesOf(id)).toEqual(['parked', 'pending']);
    const stepId = (await read(id)).steps[0]!.id;
    const before = harness.attemptsOf('A').length;

    expect(await harness.ask((commands, tx) => commands.skip(tx, id, stepId))).toEqual(DONE);

    await expect.poll(() => read(id)).toMatchObject({ state: 'closed', outcome: 'succeeded', steps: [{ state: 'skipped' }, { state: 'succeeded' }] });
    await later(2 * HOUR);
    expect(harness.attemptsOf('A')).toHaveLength(before);
  });

  it('kills the attempt that runs, and the next Action begins', async () => {
    const { seen, script } = hanging();
    const id = await harness.register([{ name: 'Runs', script }, { name: 'After', script: succeeds }]);
    await harness.dispatch();
    await expect.poll(() => harness.attemptsOf('Runs').length).toBe(1);
    const stepId = (await read(id)).steps[0]!.id;

    await harness.ask((commands, tx) => commands.skip(tx, id, stepId));

    await expect.poll(() => statesOf(id)).toEqual(['skipped', 'succeeded']);
    expect(seen.killed).toBe(1);
  });

  it('of one that failed opens a closed registration again for what it had blocked', async () => {
    const id = await harness.register([{ name: 'A', script: () => ({ error: { retryable: false } }), policy: WAIT }, { name: 'B', script: succeeds }]);
    expect(await harness.run(id)).toMatchObject({ outcome: 'failed', steps: [{ state: 'failed' }, { state: 'blocked' }] });
    await harness.dispatch();
    const stepId = (await read(id)).steps[0]!.id;

    await harness.ask((commands, tx) => commands.skip(tx, id, stepId));

    await expect.poll(() => read(id)).toMatchObject({ state: 'closed', outcome: 'succeeded', steps: [{ state: 'skipped' }, { state: 'succeeded' }] });
  });
});

describe('retrying now', () => {
  it('does not wait for a long retry, and goes on from there when it fails again', async () => {
    const id = await harness.register([{ name: 'A', script: ({ attempt }) => (attempt < 12 ? { error: {} } : {}) }, { name: 'B', script: succeeds }]);
    await later(40 * MINUTE);
    // Parked; tried after 1, 3, 7, 15 and 31 minutes, and due again after 63.
    const before = harness.attemptsOf('A').length;
    expect(before).toBe(10);

    expect(await harness.ask((commands, tx) => commands.retryNow(tx, id, null))).toEqual(DONE);
    await later(15 * SECOND);
    expect(harness.attemptsOf('A')).toHaveLength(before + 1);
    expect(harness.attemptsOf('A').at(-1)! - harness.attemptsOf('A')[0]!).toBeLessThan(42 * MINUTE);
    expect(await statesOf(id)).toEqual(['parked', 'succeeded']);

    await later(15 * MINUTE);
    expect(harness.attemptsOf('A')).toHaveLength(before + 1);
    expect(await harness.ask((commands, tx) => commands.retryNow(tx, id, null))).toEqual(DONE);
    await expect.poll(() => read(id)).toMatchObject({ state: 'closed', outcome: 'succeeded' });
    expect(new Set(harness.made.filter(({ action }) => action === 'A').map((made) => made.idempotencyKey)).size).toBe(1);
  });

  it('does not wait for a quick retry either', async () => {
    const id = await harness.register([{ name: 'A', script: ({ attempt }) => (attempt === 1 ? { error: {}, calls: [{ status: 429, retryAfterMs: 20 * SECOND }] } : {}) }]);
    await harness.dispatch();
    await expect.poll(async () => (await read(id)).steps[0]!.nextAt).not.toBeNull();
    expect(await harness.ask((commands, tx) => commands.retryNow(tx, id, null))).toEqual(DONE);
    await expect.poll(() => read(id)).toMatchObject({ outcome: 'succeeded' });
    expect(harness.attemptsOf('A')[1]! - harness.attemptsOf('A')[0]!).toBeLessThan(15 * SECOND);
  });
});

describe('redriving', () => {
  it('runs what failed again while the same workflow still waits for another Action, which it leaves alone', async () => {
    const id = await harness.register([
      { name: 'Broken', script: ({ attempt }) => (attempt === 1 ? { error: { retryable: false } } : {}) },
      { name: 'Parked', script: ({ attempt }) => (attempt < 11 ? { error: {} } : {}) },
    ]);
    await later(20 * MINUTE);
    expect(await statesOf(id)).toEqual(['failed', 'parked']);
    const { runId } = await workflowOf(id);

    expect(await harness.ask((commands, tx) => commands.redrive(tx, id, { steps: 'failed', version: 'pinned' }))).toEqual(DONE);
    await later(15 * SECOND);
    expect(await statesOf(id)).toEqual(['succeeded', 'parked']);

    await later(2 * HOUR);
    expect(await read(id)).toMatchObject({ state: 'closed', outcome: 'succeeded' });
    // As without it: 5 quick ones, then after 1, 2, 4, 8, 16 and 32 minutes.
    const parked = harness.attemptsOf('Parked');
    expect(parked).toHaveLength(11);
    expect(parked.at(-1)! - parked[0]!).toBeGreaterThanOrEqual(63 * MINUTE);
    expect(parked.at(-1)! - parked[0]!).toBeLessThan(64 * MINUTE);
    expect((await workflowOf(id)).runId).toBe(runId);
  });

  it('of a closed registration starts a new workflow, in order, under new keys where it had succeeded', async () => {
    const id = await harness.register([{ name: 'A', script: succeeds }, { name: 'B', script: ({ attempt }) => (attempt === 1 ? { error: { retryable: false } } : {}) }]);
    expect(await harness.run(id)).toMatchObject({ outcome: 'failed' });
    await harness.dispatch();
    const { runId } = await workflowOf(id);

    expect(await harness.ask((commands, tx) => commands.redrive(tx, id, { steps: 'all', version: 'pinned' }))).toEqual(DONE);

    await expect.poll(() => read(id)).toMatchObject({ state: 'closed', outcome: 'succeeded' });
    await expect.poll(() => workflowOf(id)).toMatchObject({ ended: true });
    expect((await workflowOf(id)).runId).not.toBe(runId);
    expect(harness.made.map(({ action }) => action)).toEqual(['A', 'B', 'A', 'B']);
    const [a1, b1, a2, b2] = harness.made.map(({ idempotencyKey }) => idempotencyKey);
    expect(a2).not.toBe(a1);
    expect(b2).toBe(b1);
  });

  it('neither kills nor doubles the attempt that runs, whose success counts', async () => {
    const { seen, script } = hanging();
    const id = await harness.register([{ name: 'Runs', script }, { name: 'After', script: succeeds }]);
    await harness.dispatch();
    await expect.poll(() => harness.attemptsOf('Runs').length).toBe(1);

    await harness.start(id);
    expect(await harness.ask((commands, tx) => commands.redrive(tx, id, { steps: 'all', version: 'pinned' }))).toEqual(DONE);
    await harness.start(id);
    // Longer than it takes to ask the ledger whether the attempt is still wanted.
    const asked: number[] = [];
    const { isStepOpen } = harness.ledger;
    harness.ledger.isStepOpen = async (stepId) => {
      asked.push(Date.now());
      return await isStepOpen(stepId);
    };
    await expect.poll(() => asked.length).toBeGreaterThanOrEqual(2);
    seen.succeed();

    await expect.poll(() => statesOf(id)).toEqual(['succeeded', 'succeeded']);
    expect(seen.killed).toBe(0);
    expect(harness.made.map(({ action }) => action)).toEqual(['Runs', 'After']);
  });

  it('of what was cancelled takes up again what is not done', async () => {
    const id = await harness.register([{ name: 'A', script: succeeds }, { name: 'B', script: ({ attempt }) => (attempt < 8 ? { error: {} } : {}) }]);
    await later(5 * MINUTE);
    await harness.ask((commands, tx) => commands.cancel(tx, id));
    await later(10 * MINUTE);

    await harness.ask((commands, tx) => commands.redrive(tx, id, { steps: 'failed', version: 'pinned' }));

    await expect.poll(() => read(id)).toMatchObject({ state: 'closed', outcome: 'succeeded' });
    expect(harness.attemptsOf('A')).toHaveLength(1);
  });
});
