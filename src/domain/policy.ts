/** Delays of one phase of retries: `firstDelayMs · factor^n`, never above `maxDelayMs`. */
export interface RetryPhase {
  /** Attempts that count in this phase, the first one included. */
  attempts: number;
  firstDelayMs: number;
  factor: number;
  maxDelayMs: number;
}

/** How a step is tried; fixed in the step when the registration commits. */
export interface StepPolicy {
  v: 1;
  /** Quick retries, during which the Actions after this one wait. */
  quick: RetryPhase & { budgetMs: number };
  /** Long retries of a parked step, during which the Actions after it go on (unless `onFailure` is `wait`). */
  long: RetryPhase;
  /** Of one attempt, up to 10 minutes. */
  timeoutMs: number;
  /** `wait`: the Actions after this one run only when it has succeeded. */
  onFailure: 'continue' | 'wait';
  /** Attempts of this Action at once, over all workers; null: as many as the workers have room for. */
  concurrency: number | null;
  /** Calls whose answer (or its lack) fails an attempt that otherwise ended well. */
  failOnHttp: 'off' | '5xx' | '4xx+5xx';
  /** Header with which the runner numbers the attempt's outgoing requests, `<idempotency key>-<n>`; null: none. */
  idempotencyHeader: string | null;
}

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;

/** A receiver's `Retry-After` is obeyed up to this. */
export const MAX_RETRY_AFTER_MS = 24 * HOUR;

/**
 * The defaults. Quick: at 0, 1, 3, 7 and 15 s. Long: 1, 2, 4, 8, 16, 32 min (63 min in all), then 119 times 1 h:
 * five days and three minutes, counted in attempts, so that a worker that was off has cost nobody a try.
 */
export const DEFAULT_STEP_POLICY: StepPolicy = {
  v: 1,
  quick: { attempts: 5, firstDelayMs: SECOND, factor: 2, maxDelayMs: MINUTE, budgetMs: MINUTE },
  long: { attempts: 125, firstDelayMs: MINUTE, factor: 2, maxDelayMs: HOUR },
  timeoutMs: 30 * SECOND,
  onFailure: 'continue',
  concurrency: null,
  failOnHttp: 'off',
  idempotencyHeader: null,
};

/** Reads a policy that was kept as JSON. What an older version did not know yet has its default. */
export function parsePolicy(json: string): StepPolicy {
  return { ...DEFAULT_STEP_POLICY, ...(JSON.parse(json) as Partial<StepPolicy>) };
}

export type Phase = 'quick' | 'long';

/** Where a step stands after a failure that counted. */
export interface FailedAttempt {
  phase: Phase;
  /** Attempts that have counted in this phase, this one included. */
  counted: number;
  /** Since the phase's first attempt started. */
  elapsedMs: number;
  retryable: boolean;
  /** From the receiver or the Action; 0 when neither named one. */
  retryAfterMs: number;
}

export type NextStep = { next: 'retry'; delayMs: number } | { next: 'park'; delayMs: number } | { next: 'fail' };

/**
 * What follows a failure that counted: another attempt of the same phase, parking, or failure for good.
 *
 * A quick retry is only begun when it would end inside the budget even if it ran to its timeout, so that the Actions
 * after this one never wait longer than `budgetMs`, or than one attempt where that may take longer: the first attempt is
 * always made, and with a timeout above the budget it is the only quick one. `Retry-After` can lengthen a delay, never shorten it: a receiver
 * that always answers "in 10 s" would otherwise use up five days of attempts in twenty minutes.
 */
export function afterFailure(policy: StepPolicy, failed: FailedAttempt): NextStep {
  if (!failed.retryable) return { next: 'fail' };
  const retryAfterMs = Math.min(failed.retryAfterMs, MAX_RETRY_AFTER_MS);
  if (failed.phase === 'long') {
    if (failed.counted >= policy.long.attempts) return { next: 'fail' };
    return { next: 'retry', delayMs: Math.max(delayBefore(policy.long, failed.counted + 1), retryAfterMs) };
  }
  const delayMs = Math.max(delayBefore(policy.quick, failed.counted), retryAfterMs);
  const fits = failed.elapsedMs + delayMs + policy.timeoutMs <= policy.quick.budgetMs;
  if (failed.counted < policy.quick.attempts && fits) return { next: 'retry', delayMs };
  if (policy.long.attempts === 0) return { next: 'fail' };
  return { next: 'park', delayMs: Math.max(delayBefore(policy.long, 1), retryAfterMs) };
}

/** How long the delays of a phase are in all, in milliseconds, when nothing names a longer one. */
export function horizonMs(phase: RetryPhase): number {
  let sum = 0;
  for (let n = 1; n <= phase.attempts; n++) sum += delayBefore(phase, n);
  return sum;
}

/** The delay before the n-th delayed attempt of a phase (n from 1). */
function delayBefore(phase: RetryPhase, n: number): number {
  return Math.min(phase.firstDelayMs * phase.factor ** (n - 1), phase.maxDelayMs);
}
