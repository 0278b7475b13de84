import { WorkflowFailedError } from '@temporalio/client';
import { ApplicationFailure, CancelledFailure } from '@temporalio/common';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { lookSignal } from '../../workflows/messages.ts';
import { openAppStore } from '../helpers/app-store.ts';
import { createHarness, fails, type Harness, HOUR, MINUTE, SECOND, succeeds } from './harness.ts';

const DAY = 24 * HOUR;

let harness: Harness;
beforeAll(async () => {
  harness = await createHarness({ openStore: openAppStore });
});
beforeEach(() => harness.reset());
afterAll(async () => {
  await harness.close();
});

describe('userRegistration', () => {
  it('runs the Actions one after the other in binding order and says what became of each', async () => {
    const id = await harness.register(['A', 'B', 'C'].map((name) => ({ name, script: succeeds })));
    const handle = await harness.start(id);
    expect(await handle.result()).toEqual({ outcome: 'succeeded', steps: ['A v1: succeeded', 'B v1: succeeded', 'C v1: succeeded'] });
    expect(harness.made.map((made) => made.action)).toEqual(['A', 'B', 'C']);
  });

  it('reaches a receiver that was down for 2 hours, without holding up the Actions after it', async () => {
    const id = await harness.register([
      { name: 'Down', script: ({ now }) => (now < 2 * HOUR ? { error: {} } : {}) },
      { name: 'After', script: succeeds },
    ]);
    const record = await harness.run(id);
    expect(record).toMatchObject({ state: 'closed', outcome: 'succeeded' });
    expect(harness.attemptsOf('After')[0]).toBeLessThan(MINUTE);
    const attempts = harness.attemptsOf('Down');
    expect(attempts.at(-1)).toBeGreaterThanOrEqual(2 * HOUR);
    expect(attempts.at(-1)).toBeLessThan(3 * HOUR + MINUTE);
    // 5 quick ones, then after 1, 2, 4, 8, 16, 32 and 60 minutes.
    expect(attempts).toHaveLength(12);
    expect(new Set(harness.made.filter((made) => made.action === 'Down').map((made) => made.idempotencyKey)).size).toBe(1);
  });

  it('lets two parked Actions of five retry independently of each other and of the rest', async () => {
    const id = await harness.register([
      { name: 'A', script: succeeds },
      { name: 'B', script: ({ now }) => (now < 20 * MINUTE ? { error: {} } : {}) },
      { name: 'C', script: succeeds },
      { name: 'D', script: ({ now }) => (now < 3 * HOUR ? { error: {} } : {}) },
      { name: 'E', script: succeeds },
    ]);
    const record = await harness.run(id);
    expect(record.outcome).toBe('succeeded');
    expect(record.steps.map((step) => step.attempts.length > 1)).toEqual([false, true, false, true, false]);
    expect(harness.attemptsOf('E')[0]).toBeLessThan(2 * MINUTE);
    expect(harness.attemptsOf('B').at(-1)).toBeLessThan(40 * MINUTE);
    expect(harness.attemptsOf('D').at(-1)).toBeGreaterThanOrEqual(3 * HOUR);
    const firsts = ['A', 'B', 'C', 'D', 'E'].map((action) => harness.attemptsOf(action)[0]!);
    expect(firsts).toEqual(firsts.toSorted((a, b) => a - b));
  });

  it('gives up on an Action that fails for 5 days, and keeps it as failed', async () => {
    const id = await harness.register([{ name: 'Never', script: fails }, { name: 'After', script: succeeds }]);
    const handle = await harness.start(id);
    const failure = await handle.result().catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(WorkflowFailedError);
    expect((failure as WorkflowFailedError).cause).toBeInstanceOf(ApplicationFailure);
    expect((failure as WorkflowFailedError).cause?.message).toBe('Never v1: failed; After v1: succeeded');
    const record = (await harness.ledger.readRegistration(id))!;
    expect(record).toMatchObject({ state: 'closed', outcome: 'failed', steps: [{ state: 'failed' }, { state: 'succeeded' }] });
    const attempts = harness.attemptsOf('Never');
    expect(attempts).toHaveLength(130);
    expect(attempts.at(-1)).toBeGreaterThan(5 * DAY);
    expect(attempts.at(-1)).toBeLessThan(5 * DAY + HOUR);
    // Parked for days is a short history: retries are the server's.
    const { events } = await handle.fetchHistory();
    expect(events!.length).toBeLessThan(60);
  });

  it('obeys Retry-After, and parks when it asks for longer than the quick retries may take', async () => {
    const refusal = (retryAfterMs: number) => ({ error: {}, calls: [{ status: 429, retryAfterMs }] });
    const id = await harness.register([
      { name: 'Soon', script: ({ attempt }) => (attempt === 1 ? refusal(10_000) : {}) },
      { name: 'Later', script: ({ attempt }) => (attempt === 1 ? refusal(30 * MINUTE) : {}) },
      { name: 'After', script: succeeds },
    ]);
    expect((await harness.run(id)).outcome).toBe('succeeded');
    const [soon, later] = [harness.attemptsOf('Soon'), harness.attemptsOf('Later')];
    expect(soon[1]! - soon[0]!).toBeGreaterThanOrEqual(10_000);
    expect(harness.delaysOf('Soon')).toEqual([10_000]);
    expect(later[1]! - later[0]!).toBeGreaterThanOrEqual(30 * MINUTE);
    expect(harness.attemptsOf('After')[0]).toBeLessThan(MINUTE);
  });

  it('does not try again what no retry can mend', async () => {
    const id = await harness.register([
      { name: 'Broken', script: () => ({ error: { type: 'ACTION_INVALID', retryable: false } }) },
      { name: 'After', script: succeeds },
    ]);
    const record = await harness.run(id);
    expect(record.outcome).toBe('failed');
    expect(harness.attemptsOf('Broken')).toHaveLength(1);
    expect(harness.attemptsOf('After')).toHaveLength(1);
  });

  it('holds a step that we could not run, without counting it', async () => {
    const id = await harness.register([{ name: 'Held', script: ({ attempt }) => (attempt <= 20 ? 'not-run' : {}) }]);
    const record = await harness.run(id);
    expect(record.outcome).toBe('succeeded');
    expect(record.steps[0]!.attempts.filter((attempt) => attempt.counted)).toEqual([]);
    expect(harness.attemptsOf('Held')).toHaveLength(21);
  });

  it('asks ever less often whether a step can be run, and at least every half minute, so that it goes on soon after whatever was against it', async () => {
    const id = await harness.register([
      { name: 'Held', script: ({ attempt }) => (attempt <= 10 ? Promise.resolve({ outcome: 'not-run', reason: 'no free slot', delayMs: SECOND }) : {}) },
    ]);
    expect((await harness.run(id)).outcome).toBe('succeeded');
    const at = harness.attemptsOf('Held');
    const pauses = at.slice(1).map((ms, index) => Math.round((ms - at[index]!) / SECOND));
    expect(pauses).toEqual([1, 2, 4, 8, 16, 30, 30, 30, 30, 30]);
  });

  it('parks a hanging receiver after one attempt, so that the next Action starts within a minute', async () => {
    const id = await harness.register([
      { name: 'Hangs', script: ({ attempt }) => (attempt === 1 ? { error: { type: 'ACTION_TIMED_OUT' }, tookMs: 30_000 } : {}) },
      { name: 'After', script: succeeds },
    ]);
    expect((await harness.run(id)).outcome).toBe('succeeded');
    expect(harness.made.map((made) => made.action)).toEqual(['Hangs', 'After', 'Hangs']);
  });

  it('makes the Actions after it wait for its success where the binding says so', async () => {
    const id = await harness.register([
      { name: 'First', script: ({ now }) => (now < HOUR ? { error: {} } : {}), policy: { onFailure: 'wait' } },
      { name: 'After', script: succeeds },
    ]);
    expect((await harness.run(id)).outcome).toBe('succeeded');
    expect(harness.attemptsOf('After')[0]).toBeGreaterThanOrEqual(HOUR);
  });

  it('blocks the Actions after one that had to succeed and failed for good', async () => {
    const id = await harness.register([
      { name: 'Before', script: succeeds },
      { name: 'Broken', script: () => ({ error: { retryable: false } }), policy: { onFailure: 'wait' } },
      { name: 'After', script: succeeds },
    ]);
    const record = await harness.run(id);
    expect(record.steps.map((step) => step.state)).toEqual(['succeeded', 'failed', 'blocked']);
    expect(record.outcome).toBe('failed');
    expect(harness.attemptsOf('After')).toEqual([]);
  });

  it('records a cancelled workflow as cancelled, after the attempt under way is dead', async () => {
    let dead = false;
    const id = await harness.register([
      { name: 'Runs', script: ({ signal }) => new Promise((resolve) => {
        signal.addEventListener('abort', () => {
          dead = true;
          resolve({ outcome: 'cancelled' });
        });
      }) },
      { name: 'After', script: succeeds },
    ]);
    const handle = await harness.start(id);
    await expect.poll(() => harness.attemptsOf('Runs').length).toBe(1);
    await handle.cancel();
    const failure = await handle.result().catch((error: unknown) => error);
    expect((failure as WorkflowFailedError).cause).toBeInstanceOf(CancelledFailure);
    expect(dead).toBe(true);
    const record = (await harness.ledger.readRegistration(id))!;
    expect(record).toMatchObject({ state: 'closed', outcome: 'cancelled', steps: [{ state: 'cancelled' }, { state: 'cancelled' }] });
    expect(record.steps[0]!.attempts[0]!.outcome).toBe('cancelled');
  });

  it('cancels what is parked', async () => {
    const id = await harness.register([{ name: 'Never', script: fails }]);
    const handle = await harness.start(id);
    await harness.env.sleep(5 * MINUTE);
    expect((await harness.ledger.readRegistration(id))!.steps[0]!.state).toBe('parked');
    await handle.cancel();
    await handle.result().catch(() => undefined);
    expect((await harness.ledger.readRegistration(id))!.outcome).toBe('cancelled');
  });

  it('looks again when it is signalled while it closes', async () => {
    const id = await harness.register([{ name: 'A', script: succeeds }]);
    const handle = await harness.start(id);
    const loads: string[] = [];
    let signalled = false;
    harness.before(async (activity) => {
      if (activity === 'loadOpenSteps') loads.push(activity);
      if (activity !== 'closeRegistration' || signalled) return;
      signalled = true;
      await handle.signal(lookSignal);
    });
    expect((await handle.result()).outcome).toBe('succeeded');
    expect(signalled).toBe(true);
    expect(loads.length).toBeGreaterThanOrEqual(2);
    const { events } = await handle.fetchHistory();
    const scheduled = events!.filter((event) => event.activityTaskScheduledEventAttributes?.activityType?.name === 'closeRegistration');
    expect(scheduled).toHaveLength(2);
    expect(harness.attemptsOf('A')).toHaveLength(1);
  });

  it('ends when the store does not know the registration, and says why', async () => {
    const handle = await harness.start('01a209e1-0000-7000-8000-000000000000');
    const failure = await handle.result().catch((error: unknown) => error);
    expect((failure as WorkflowFailedError).cause?.cause).toMatchObject({ type: 'UNKNOWN_REGISTRATION', message: expect.stringContaining('has no registration') });
  });

  it('repeats only the record when the end of an attempt could not be written', async () => {
    const id = await harness.register([{ name: 'A', script: succeeds }, { name: 'B', script: succeeds }]);
    const { settleAttempt } = harness.ledger;
    let refused = 0;
    harness.ledger.settleAttempt = (end) => {
      if (refused++ === 0) return Promise.reject(new Error('the disk is full'));
      return settleAttempt(end);
    };
    const record = await harness.run(id);
    expect(record.outcome).toBe('succeeded');
    expect(refused).toBeGreaterThan(1);
    expect(harness.made.map((made) => made.action)).toEqual(['A', 'B']);
  });
});
