import type { WorkflowFailedError } from '@temporalio/client';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { DEFAULT_STEP_POLICY } from '../../src/domain/policy.ts';
import { openAppStore } from '../helpers/app-store.ts';
import { createHarness, fails, type Harness, HOUR, MINUTE, type Script, SECOND, succeeds } from './harness.ts';

let harness: Harness;
beforeAll(async () => {
  harness = await createHarness({ openStore: openAppStore });
});
beforeEach(() => harness.reset());
afterAll(async () => {
  await harness.close();
});

/** The pauses between the attempts, in seconds: decided so, and none shorter. Longer ones are a busy machine's. */
function expectPauses(action: string, seconds: number[]): void {
  expect(harness.delaysOf(action), action).toEqual(seconds.map((each) => each * SECOND));
  const attempts = harness.attemptsOf(action);
  const pauses = attempts.slice(1).map((at, i) => (at - attempts[i]!) / SECOND);
  expect(pauses, action).toHaveLength(seconds.length);
  for (const [i, expected] of seconds.entries()) expect(pauses[i], action).toBeGreaterThanOrEqual(expected);
}

describe('retry', () => {
  it('quick: as often and as far apart as the binding says, then parked by the default', async () => {
    const quick = { attempts: 3, firstDelayMs: 10 * SECOND, factor: 3, maxDelayMs: 20 * SECOND, budgetMs: 5 * MINUTE };
    const id = await harness.register([
      { name: 'Own', script: ({ attempt }) => (attempt < 4 ? { error: {} } : {}), policy: { quick } },
      { name: 'After', script: succeeds },
    ]);
    expect((await harness.run(id)).outcome).toBe('succeeded');
    expectPauses('Own', [10, 20, 60]);
    expect(harness.made.map(({ action }) => action)).toEqual(['Own', 'Own', 'Own', 'After', 'Own']);
  });

  it('long: as often and as far apart as the binding says, then failed for good', async () => {
    const quick = { ...DEFAULT_STEP_POLICY.quick, attempts: 1 };
    const long = { attempts: 3, firstDelayMs: 5 * MINUTE, factor: 2, maxDelayMs: 8 * MINUTE };
    const id = await harness.register([{ name: 'Own', script: fails, policy: { quick, long } }, { name: 'Default', script: ({ now }) => (now < HOUR ? { error: {} } : {}) }]);
    const record = await harness.run(id);
    expect(record.steps.map(({ state }) => state)).toEqual(['failed', 'succeeded']);
    expectPauses('Own', [300, 480, 480]);
    expect(harness.attemptsOf('Default').length).toBeGreaterThan(5);
  });

  it('without long retries an Action fails for good with its quick ones, and is not parked', async () => {
    const id = await harness.register([{ name: 'Now or never', script: fails, policy: { long: { ...DEFAULT_STEP_POLICY.long, attempts: 0 } } }]);
    const record = await harness.run(id);
    expect(record).toMatchObject({ outcome: 'failed', steps: [{ state: 'failed', phase: 'quick' }] });
    expectPauses('Now or never', [1, 2, 4, 8]);
  });
});

describe('timeout', () => {
  it('of 10 minutes: the first attempt has them, the Actions after it wait for that one only, and the rest is long retries', async () => {
    const timesOut: Script = ({ attempt }) => (attempt < 3 ? { error: { type: 'ACTION_TIMED_OUT' }, tookMs: 10 * MINUTE } : { tookMs: 9 * MINUTE });
    const id = await harness.register([{ name: 'Slow', script: timesOut, policy: { timeoutMs: 10 * MINUTE } }, { name: 'After', script: succeeds }]);
    const handle = await harness.start(id);
    expect(await handle.result()).toMatchObject({ outcome: 'succeeded' });
    expect(harness.made.map(({ action }) => action)).toEqual(['Slow', 'After', 'Slow', 'Slow']);
    const { events } = await handle.fetchHistory();
    const limits = events!.flatMap(({ activityTaskScheduledEventAttributes: scheduled }) => (scheduled?.activityType?.name === 'runAction' ? [Number(scheduled.startToCloseTimeout?.seconds)] : []));
    expect(limits.slice(0, 2)).toEqual([660, 90]);
    expect(new Set(limits.slice(2))).toEqual(new Set([660]));
  });
});

describe('on_failure', () => {
  it('wait: the Actions after it begin when it has succeeded, and those before it have nothing to do with it', async () => {
    const id = await harness.register([
      { name: 'Before', script: ({ now }) => (now < 3 * HOUR ? { error: {} } : {}) },
      { name: 'Must', script: ({ now }) => (now < HOUR ? { error: {} } : {}), policy: { onFailure: 'wait' } },
      { name: 'After', script: succeeds },
    ]);
    expect((await harness.run(id)).outcome).toBe('succeeded');
    expect(harness.attemptsOf('Must')[0]).toBeLessThan(2 * MINUTE);
    expect(harness.attemptsOf('After')).toEqual([expect.toSatisfy((at: number) => at >= HOUR && at < 3 * HOUR)]);
  });

  it('continue: one that failed for good holds nobody up', async () => {
    const id = await harness.register([{ name: 'Broken', script: () => ({ error: { retryable: false } }) }, { name: 'After', script: succeeds }]);
    expect((await harness.run(id)).steps.map(({ state }) => state)).toEqual(['failed', 'succeeded']);
    expect(harness.attemptsOf('After')[0]).toBeLessThan(MINUTE);
  });
});

describe('fail_on_http', () => {
  const answers = (...statuses: number[]): Script => ({ attempt }) => ({ calls: [{ status: 200 }, { status: statuses[attempt - 1] ?? 200 }] });

  it('5xx: tries again what ended well with a call that was answered 500, until none is', async () => {
    const id = await harness.register([{ name: 'Swallows', script: answers(500, 503, 404), policy: { failOnHttp: '5xx' } }]);
    const record = await harness.run(id);
    expect(record.outcome).toBe('succeeded');
    expectPauses('Swallows', [1, 2]);
    expect(record.steps[0]!.attempts.map(({ outcome, counted, error }) => [outcome, counted, error?.type])).toEqual([
      ['failed', true, 'HTTP_CALL_FAILED'],
      ['failed', true, 'HTTP_CALL_FAILED'],
      ['succeeded', false, undefined],
    ]);
    expect(record.steps[0]!.attempts[0]!.error!.message).toBe('POST receiver.example was answered 500. The Action itself ended well; its binding has fail_on_http: 5xx.');
  });

  it('4xx+5xx: also what was refused', async () => {
    const id = await harness.register([{ name: 'Swallows', script: answers(404, 429), policy: { failOnHttp: '4xx+5xx' } }]);
    expect((await harness.run(id)).steps[0]!.attempts.map(({ outcome }) => outcome)).toEqual(['failed', 'failed', 'succeeded']);
  });

  it('counts a call that was never answered', async () => {
    const script: Script = ({ attempt }) => ({ calls: attempt === 1 ? [{ error: 'ECONNREFUSED' }, { error: 'ECONNRESET' }] : [{ status: 201 }] });
    const id = await harness.register([{ name: 'Swallows', script, policy: { failOnHttp: '5xx' } }]);
    const record = await harness.run(id);
    expect(record.steps[0]!.attempts.map(({ outcome }) => outcome)).toEqual(['failed', 'succeeded']);
    expect(record.steps[0]!.attempts[0]!.error!.message).toMatch(/^POST receiver\.example was not answered \(ECONNRESET\), and 1 more failed\./);
  });

  it('obeys the Retry-After of the call', async () => {
    const script: Script = ({ attempt }) => ({ calls: [attempt === 1 ? { status: 503, retryAfterMs: 20 * SECOND } : { status: 200 }] });
    const id = await harness.register([{ name: 'Swallows', script, policy: { failOnHttp: '5xx' } }]);
    expect((await harness.run(id)).outcome).toBe('succeeded');
    expectPauses('Swallows', [20]);
  });

  it('off, the default: such an attempt has succeeded, with its failed calls', async () => {
    const id = await harness.register([{ name: 'Swallows', script: answers(500) }]);
    const record = await harness.run(id);
    expect(record.steps[0]).toMatchObject({ state: 'succeeded', attempts: [{ outcome: 'succeeded', error: null, calls: [{ status: 200 }, { status: 500 }] }] });
  });

  it('an Action that failed by itself keeps its own error', async () => {
    const script: Script = ({ attempt }) => (attempt === 1 ? { error: { message: 'its own', retryable: false }, calls: [{ status: 500 }] } : {});
    const id = await harness.register([{ name: 'Throws', script, policy: { failOnHttp: '4xx+5xx' } }]);
    expect((await harness.run(id)).steps[0]).toMatchObject({ state: 'failed', attempts: [{ error: { type: 'ACTION_THREW', message: 'its own' } }] });
  });
});

describe('what an Action throws', () => {
  it('with retryable: false ends it at once, while it is parked too', async () => {
    const id = await harness.register([
      { name: 'At once', script: () => ({ error: { retryable: false } }) },
      { name: 'Parked', script: ({ attempt }) => ({ error: { retryable: attempt < 7 } }) },
    ]);
    const handle = await harness.start(id);
    const failure = await handle.result().catch((error: unknown) => error);
    expect((failure as WorkflowFailedError).cause?.message).toBe('At once v1: failed; Parked v1: failed');
    expect(harness.attemptsOf('At once')).toHaveLength(1);
    expect(harness.attemptsOf('Parked')).toHaveLength(7);
  });

  it('with retryAfter is tried again then, parked when that is long, and after a day at the latest', async () => {
    const asks = [8 * SECOND, 2 * HOUR, 999 * HOUR];
    const id = await harness.register([{ name: 'Busy', script: ({ attempt }) => (attempt <= 3 ? { error: { retryAfterMs: asks[attempt - 1]! } } : {}) }, { name: 'After', script: succeeds }]);
    expect((await harness.run(id)).outcome).toBe('succeeded');
    expectPauses('Busy', [8, 2 * 3600, 24 * 3600]);
    expect(harness.attemptsOf('After')[0]).toBeLessThan(2 * MINUTE);
  });
});
