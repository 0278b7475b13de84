import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { afterFailure, DEFAULT_STEP_POLICY, type Phase, type StepPolicy } from '../../src/domain/policy.ts';
import type { AttemptEnd } from '../../src/store/ledger.ts';
import { describeEachStore } from '../helpers/each-store.ts';
import { bindActions, letTimePass, prepareStore, signUpOf, type TestStore, withStandingClock } from '../helpers/stores.ts';

/** The model's clock goes in these; leases and delays lie between its multiples. */
const TICK_MS = 10_000;
const LEASE_MS = 25_000;
const ROUNDS = { sqlite: 150, postgres: 40 };

const RETRIES = { attempts: 2, firstDelayMs: 15_000, factor: 1, maxDelayMs: 15_000 };
const POLICIES: StepPolicy[] = [
  { ...DEFAULT_STEP_POLICY, quick: { ...RETRIES, budgetMs: 1_000_000 }, long: RETRIES, onFailure: 'wait' },
  { ...DEFAULT_STEP_POLICY, quick: { ...RETRIES, budgetMs: 1_000_000 }, long: RETRIES },
];

const command = fc.oneof(
  { weight: 5, arbitrary: fc.record({ do: fc.constant('claim' as const), step: fc.nat(1), phase: fc.constantFrom<Phase>('quick', 'long'), worker: fc.constantFrom('a', 'b') }) },
  {
    weight: 5,
    arbitrary: fc.record({
      do: fc.constant('settle' as const),
      /** Counted from the newest attempt: also old ones are settled again, and late. */
      back: fc.nat(3),
      outcome: fc.constantFrom('succeeded' as const, 'failed' as const, 'failed' as const, 'failed' as const, 'lost' as const, 'cancelled' as const),
      retryable: fc.nat(9).map((n) => n > 0),
    }),
  },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('wait' as const), ticks: fc.integer({ min: 1, max: 4 }) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('renew' as const), worker: fc.constantFrom('a', 'b') }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('restart' as const), worker: fc.constantFrom('a', 'b') }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('close' as const) }) },
);

type Command = typeof command extends fc.Arbitrary<infer C> ? C : never;

interface ModelStep {
  state: 'pending' | 'parked' | 'succeeded' | 'failed' | 'blocked';
  phase: Phase;
  counted: number;
  startedAt: number | null;
  nextAt: number;
  attempts: number;
}

interface ModelAttempt {
  id: string;
  step: ModelStep;
  phase: Phase;
  worker: string;
  leasedUntil: number;
  ended: AttemptEnd['outcome'] | null;
}

describeEachStore('ledger', (fresh) => {
  test('does what the model says, whatever is claimed, lost, renewed, settled twice or late', { timeout: 280_000 }, async () => {
    const store = await fresh();
    const usher = await prepareStore(withStandingClock(store.open()));
    await bindActions(usher, POLICIES.map((policy, index) => ({ name: `Action ${index}`, policy })));
    let signUps = 0;

    await fc.assert(
      fc.asyncProperty(fc.array(command, { minLength: 5, maxLength: 40 }), async (commands) => {
        const { registrationId } = await usher.register(signUpOf(`user-${signUps++}@example.com`));
        await follow(usher, registrationId, commands);
      }),
      { numRuns: ROUNDS[store.dialect] },
    );
  });
});

function isOpen(step: ModelStep): boolean {
  return step.state === 'pending' || step.state === 'parked';
}

/** Does the commands to the ledger and to the model, and compares after each. */
async function follow(usher: TestStore, registrationId: string, commands: Command[]): Promise<void> {
  const { ledger } = usher;
  // Failures in a row of many registrations would tell of a receiver that is down; see flow.test.ts.
  await usher.database.db.deleteFrom('flow').execute();
  const stepIds = (await ledger.loadOpenSteps(registrationId)).map((step) => step.stepId);
  const steps = stepIds.map((): ModelStep => ({ state: 'pending', phase: 'quick', counted: 0, startedAt: null, nextAt: 0, attempts: 0 }));
  const attempts: ModelAttempt[] = [];
  let now = 0;
  let closed = false;

  for (const each of commands) {
    switch (each.do) {
      case 'wait':
        now += each.ticks * TICK_MS;
        await letTimePass(usher, each.ticks * TICK_MS);
        break;

      case 'claim': {
        const step = steps[each.step]!;
        const answer = await ledger.claimStep({ registrationId, stepId: stepIds[each.step]!, phase: each.phase, workerId: each.worker, leaseMs: LEASE_MS });
        if (!isOpen(step)) {
          expect(answer).toEqual({ claim: 'recorded', state: { state: step.state } });
          break;
        }
        if (step.state === 'parked' && each.phase === 'quick') {
          expect(answer).toMatchObject({ claim: 'recorded', state: { state: 'parked' } });
          break;
        }
        for (const attempt of attempts) if (attempt.step === step && attempt.ended === null && attempt.leasedUntil <= now) attempt.ended = 'lost';
        if (step.nextAt > now || attempts.some((attempt) => attempt.step === step && attempt.ended === null)) {
          expect(answer.claim).toBe('held');
          break;
        }
        step.attempts++;
        step.startedAt ??= now;
        step.nextAt = 0;
        expect(answer).toMatchObject({
          claim: 'claimed',
          step: { attempt: { number: step.attempts, idempotencyKey: `${registrationId}.${stepIds[each.step]}.1` } },
        });
        if (answer.claim === 'claimed') {
          attempts.push({ id: answer.step.attempt.id, step, phase: step.phase, worker: each.worker, leasedUntil: now + LEASE_MS, ended: null });
        }
        break;
      }

      case 'settle': {
        const attempt = attempts.at(-1 - each.back);
        if (attempt === undefined) break;
        const settled = await ledger.settleAttempt({
          attemptId: attempt.id,
          outcome: each.outcome,
          endedAt: Date.now(),
          ...(each.outcome === 'failed' ? { error: { type: 'ACTION_THREW', name: 'Error', message: '', retryable: each.retryable } } : {}),
          retryAfterMs: 0,
          logs: [],
          logsTruncated: false,
          calls: [],
          cacheChanges: [],
        });
        settleInModel(attempt, each, steps, now);
        const { step } = attempt;
        if (isOpen(step)) expect(settled.state).toBe(step.phase === 'long' && attempt.phase === 'quick' ? 'parked' : 'retry');
        else expect(settled).toEqual({ state: step.state });
        break;
      }

      case 'renew': {
        const kept = attempts.filter((attempt) => attempt.worker === each.worker && attempt.ended === null && attempt.leasedUntil > now);
        const ofWorker = attempts.filter((attempt) => attempt.worker === each.worker);
        if (ofWorker.length === 0) break;
        const held = await ledger.renewLeases({ attemptIds: ofWorker.map((attempt) => attempt.id), leaseMs: LEASE_MS });
        expect(attempts.filter((attempt) => held.has(attempt.id))).toEqual(kept);
        for (const attempt of kept) attempt.leasedUntil = now + LEASE_MS;
        break;
      }

      case 'restart':
        await ledger.endLostAttempts({ exceptWorkerId: each.worker });
        for (const attempt of attempts) if (attempt.worker !== each.worker && attempt.ended === null) attempt.ended = 'lost';
        break;

      case 'close':
        closed = (await ledger.closeRegistration(registrationId)).closed;
        expect(closed).toBe(!steps.some(isOpen));
        break;
    }

    const record = (await ledger.readRegistration(registrationId))!;
    expect(record.state).toBe(closed ? 'closed' : 'open');
    expect(record.steps.map(({ state, phase }) => ({ state, phase }))).toEqual(steps.map(({ state, phase }) => ({ state, phase })));
    expect((await ledger.loadOpenSteps(registrationId)).map((step) => step.stepId)).toEqual(stepIds.filter((_, index) => isOpen(steps[index]!)));
    for (const step of record.steps) {
      expect(step.attempts.map((attempt) => attempt.number)).toEqual(step.attempts.map((_, index) => index + 1));
      expect(step.attempts.filter((attempt) => attempt.outcome === null).length).toBeLessThanOrEqual(1);
      const succeeded = step.attempts.some((attempt) => attempt.outcome === 'succeeded');
      if (step.state === 'succeeded') expect(succeeded).toBe(true);
    }
  }
}

function settleInModel(attempt: ModelAttempt, end: { outcome: AttemptEnd['outcome']; retryable: boolean }, steps: ModelStep[], now: number): void {
  const late = attempt.ended === 'lost';
  const real = end.outcome === 'succeeded' || end.outcome === 'failed';
  if (attempt.ended !== null && !(late && real)) return;
  attempt.ended = end.outcome;
  const { step } = attempt;
  if (!isOpen(step)) return;
  if (end.outcome === 'succeeded') {
    step.state = 'succeeded';
    return;
  }
  if (end.outcome !== 'failed' || late) return;
  step.counted++;
  const index = steps.indexOf(step);
  const next = afterFailure(POLICIES[index]!, { phase: step.phase, counted: step.counted, elapsedMs: now - step.startedAt!, retryable: end.retryable, retryAfterMs: 0 });
  if (next.next === 'fail') {
    step.state = 'failed';
    if (POLICIES[index]!.onFailure === 'wait') for (const other of steps.slice(index + 1)) if (isOpen(other)) other.state = 'blocked';
    return;
  }
  step.nextAt = now + next.delayMs;
  if (next.next === 'park') Object.assign(step, { state: 'parked', phase: 'long', counted: 0, startedAt: null });
}
