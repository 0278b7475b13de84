import { describe, expect, test } from 'vitest';
import { afterFailure, DEFAULT_STEP_POLICY, type FailedAttempt, horizonMs, parsePolicy, type StepPolicy } from '../../src/domain/policy.ts';

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;

/** The first quick attempt, which failed at once. */
const FIRST: FailedAttempt = { phase: 'quick', counted: 1, elapsedMs: 0, retryable: true, retryAfterMs: 0 };

function policyWith({ quick, long, ...rest }: Partial<Omit<StepPolicy, 'quick' | 'long'>> & { quick?: Partial<StepPolicy['quick']>; long?: Partial<StepPolicy['long']> }): StepPolicy {
  return { ...DEFAULT_STEP_POLICY, ...rest, quick: { ...DEFAULT_STEP_POLICY.quick, ...quick }, long: { ...DEFAULT_STEP_POLICY.long, ...long } };
}

test('the defaults stay what people rely on: 30 s an attempt, 5 in the first minute, then five days', () => {
  expect(DEFAULT_STEP_POLICY).toEqual({
    v: 1,
    quick: { attempts: 5, firstDelayMs: 1000, factor: 2, maxDelayMs: 60_000, budgetMs: 60_000 },
    long: { attempts: 125, firstDelayMs: 60_000, factor: 2, maxDelayMs: 3_600_000 },
    timeoutMs: 30_000,
    onFailure: 'continue',
    concurrency: null,
    failOnHttp: 'off',
    idempotencyHeader: null,
  });
  expect(horizonMs(DEFAULT_STEP_POLICY.long)).toBe(5 * 24 * HOUR + 3 * MINUTE);
});

test('a policy that was kept before a setting existed has its default', () => {
  const { concurrency: _1, failOnHttp: _2, idempotencyHeader: _3, ...older } = policyWith({ timeoutMs: 5000 });
  expect(parsePolicy(JSON.stringify(older))).toEqual(policyWith({ timeoutMs: 5000 }));
});

describe('a timeout above the quick budget', () => {
  const patient = policyWith({ timeoutMs: 10 * MINUTE });

  test.each([['at once', 0], ['after a minute', MINUTE], ['at its timeout', 10 * MINUTE]])('makes the first attempt the only quick one: it parks when that has failed %s', (_when, elapsedMs) => {
    expect(afterFailure(patient, { ...FIRST, elapsedMs })).toEqual({ next: 'park', delayMs: MINUTE });
  });

  test('leaves the long retries as they are', () => {
    const failed: FailedAttempt = { ...FIRST, phase: 'long', elapsedMs: 3 * HOUR };
    expect(afterFailure(patient, failed)).toEqual({ next: 'retry', delayMs: 2 * MINUTE });
    expect(afterFailure(patient, { ...failed, counted: 125 })).toEqual({ next: 'fail' });
  });

  test('fails for good where there are no long retries', () => {
    expect(afterFailure(policyWith({ timeoutMs: 10 * MINUTE, long: { attempts: 0 } }), FIRST)).toEqual({ next: 'fail' });
  });

  test('has quick retries again with a budget that has room for them', () => {
    expect(afterFailure(policyWith({ timeoutMs: 10 * MINUTE, quick: { budgetMs: 11 * MINUTE } }), FIRST)).toEqual({ next: 'retry', delayMs: SECOND });
  });
});

test('delays grow by their factor up to their cap, in both phases', () => {
  const policy = policyWith({ quick: { attempts: 10, firstDelayMs: 200, factor: 3, maxDelayMs: 1000, budgetMs: HOUR }, long: { attempts: 4, firstDelayMs: 5 * SECOND, factor: 1, maxDelayMs: HOUR } });
  const delays = (phase: 'quick' | 'long') => [1, 2, 3, 4].map((counted) => afterFailure(policy, { ...FIRST, phase, counted }));
  expect(delays('quick')).toEqual([200, 600, 1000, 1000].map((delayMs) => ({ next: 'retry', delayMs })));
  expect(delays('long')).toEqual([...[5000, 5000, 5000].map((delayMs) => ({ next: 'retry', delayMs })), { next: 'fail' }]);
});

test('Retry-After makes a delay longer, never shorter, and at most a day', () => {
  expect(afterFailure(DEFAULT_STEP_POLICY, { ...FIRST, retryAfterMs: 10 * SECOND })).toEqual({ next: 'retry', delayMs: 10 * SECOND });
  expect(afterFailure(DEFAULT_STEP_POLICY, { ...FIRST, retryAfterMs: 10 })).toEqual({ next: 'retry', delayMs: SECOND });
  expect(afterFailure(DEFAULT_STEP_POLICY, { ...FIRST, retryAfterMs: 999 * HOUR })).toEqual({ next: 'park', delayMs: 24 * HOUR });
});

test('what no retry can mend fails at once, in both phases', () => {
  for (const phase of ['quick', 'long'] as const) expect(afterFailure(DEFAULT_STEP_POLICY, { ...FIRST, phase, retryable: false, retryAfterMs: HOUR })).toEqual({ next: 'fail' });
});
