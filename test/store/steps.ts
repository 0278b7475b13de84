import type { ActionError, LogLine } from '../../src/domain/invocation.ts';
import { DEFAULT_STEP_POLICY, type StepPolicy } from '../../src/domain/policy.ts';
import type { AttemptEnd, ClaimedStep } from '../../src/store/ledger.ts';
import { bindActions, letTimePass, signUpOf, type TestStore } from '../helpers/stores.ts';

export const LEASE_MS = 30_000;
export const SECOND = 1000;
export const MINUTE = 60 * SECOND;

export const THREW: ActionError = { type: 'ACTION_THREW', name: 'Error', message: 'no luck', retryable: true };

/** The end of an attempt, by default a success that left nothing behind. */
export function endOf(step: ClaimedStep, changes: Partial<AttemptEnd> = {}): AttemptEnd {
  return {
    attemptId: step.attempt.id,
    outcome: 'succeeded',
    endedAt: Date.now(),
    retryAfterMs: 0,
    logs: [],
    logsTruncated: false,
    calls: [],
    cacheChanges: [],
    ...changes,
  };
}

/** A line of console output. */
export function lineOf(text: string): LogLine {
  return { at: 1, level: 'log', text };
}

/** A failure of the Action's own. */
export function failureOf(step: ClaimedStep, changes: Partial<AttemptEnd> = {}): AttemptEnd {
  return endOf(step, { outcome: 'failed', error: THREW, ...changes });
}

/** Quick retries with a budget that no lost attempt uses up. */
export const PATIENT = { quick: { ...DEFAULT_STEP_POLICY.quick, budgetMs: 60 * MINUTE } };

/** A registration with its steps' ids, and short forms of claim and settle. */
export async function registered(usher: TestStore, actions: { name: string; policy?: Partial<StepPolicy> }[]) {
  await bindActions(usher, actions);
  const { registrationId } = await usher.register(signUpOf('ann@example.com'));
  const steps = (await usher.ledger.loadOpenSteps(registrationId)).map((step) => step.stepId);
  const claim = (index: number, options: { phase?: 'quick' | 'long'; workerId?: string } = {}) =>
    usher.ledger.claimStep({ registrationId, stepId: steps[index]!, phase: 'quick', workerId: 'worker-1', leaseMs: LEASE_MS, ...options });
  const claimed = async (index: number, options: { phase?: 'quick' | 'long'; workerId?: string } = {}) => {
    const answer = await claim(index, options);
    if (answer.claim !== 'claimed') throw new Error(`not claimed: ${JSON.stringify(answer)}`);
    return answer.step;
  };
  return { registrationId, steps, claim, claimed };
}

/** Fails the step until it is parked, which takes `attempts` attempts. */
export async function park(usher: TestStore, claimed: (index: number) => Promise<ClaimedStep>, index: number): Promise<number> {
  for (let attempts = 1; attempts <= 10; attempts++) {
    const settled = await usher.ledger.settleAttempt(failureOf(await claimed(index)));
    if (settled.state === 'parked') return attempts;
    await letTimePass(usher, 'delayMs' in settled ? settled.delayMs : 0);
  }
  throw new Error('not parked after 10 attempts');
}
