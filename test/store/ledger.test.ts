import { expect, test } from 'vitest';
import type { ActionError, LogLine } from '../../src/domain/invocation.ts';
import { LIMITS } from '../../src/domain/limits.ts';
import { DEFAULT_STEP_POLICY, type StepPolicy } from '../../src/domain/policy.ts';
import type { AttemptEnd, ClaimedStep } from '../../src/store/ledger.ts';
import { createLogStore } from '../../src/store/logs.ts';
import { describeEachStore } from '../helpers/each-store.ts';
import { bindActions, letTimePass, prepareStore, signUpOf, type TestStore } from '../helpers/stores.ts';

const LEASE_MS = 30_000;
const SECOND = 1000;
const MINUTE = 60 * SECOND;

const THREW: ActionError = { type: 'ACTION_THREW', name: 'Error', message: 'no luck', retryable: true };

function endOf(step: ClaimedStep, changes: Partial<AttemptEnd> = {}): AttemptEnd {
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

function lineOf(text: string): LogLine {
  return { at: 1, level: 'log', text };
}

function failureOf(step: ClaimedStep, changes: Partial<AttemptEnd> = {}): AttemptEnd {
  return endOf(step, { outcome: 'failed', error: THREW, ...changes });
}

/** Quick retries with a budget that no lost attempt uses up. */
const PATIENT = { quick: { ...DEFAULT_STEP_POLICY.quick, budgetMs: 60 * MINUTE } };

/** A registration with its steps' ids, and short forms of claim and settle. */
async function registered(usher: TestStore, actions: { name: string; policy?: Partial<StepPolicy> }[]) {
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
async function park(usher: TestStore, claimed: (index: number) => Promise<ClaimedStep>, index: number): Promise<number> {
  for (let attempts = 1; attempts <= 10; attempts++) {
    const settled = await usher.ledger.settleAttempt(failureOf(await claimed(index)));
    if (settled.state === 'parked') return attempts;
    await letTimePass(usher, 'delayMs' in settled ? settled.delayMs : 0);
  }
  throw new Error('not parked after 10 attempts');
}

describeEachStore('ledger', (fresh) => {
  async function store(): Promise<TestStore> {
    return await prepareStore((await fresh()).open());
  }

  test('a claim gives the first attempt, its event, its policy and its idempotency key', async () => {
    const usher = await store();
    const { registrationId, steps, claimed } = await registered(usher, [{ name: 'Notify Slack', policy: { timeoutMs: 7000 } }]);

    const step = await claimed(0);

    expect(step).toMatchObject({
      registrationId,
      actionName: 'Notify Slack',
      versionNumber: 3,
      event: { user: { email: 'ann@example.com' } },
      attempt: { number: 1, run: 1, idempotencyKey: `${registrationId}.${steps[0]}.1` },
    });
    expect(step.policy.timeoutMs).toBe(7000);
    expect(step.attempt.leasedUntil - Date.now()).toBeGreaterThan(LEASE_MS - 5000);
  });

  test('while an attempt holds its lease, the step is held for the rest of the lease', async () => {
    const usher = await store();
    const { claim, claimed } = await registered(usher, [{ name: 'Notify Slack' }]);
    await claimed(0);
    await letTimePass(usher, 10 * SECOND);

    const answer = await claim(0, { workerId: 'worker-2' });

    expect(answer).toMatchObject({ claim: 'held', reason: expect.stringContaining('attempt 1') as string });
    if (answer.claim !== 'held') return;
    expect(answer.delayMs).toBeGreaterThan(15 * SECOND);
    expect(answer.delayMs).toBeLessThanOrEqual(20 * SECOND);
  });

  test('of many claims at once, one gets the step', async () => {
    const usher = await store();
    const { claim } = await registered(usher, [{ name: 'Notify Slack' }]);

    const answers = await Promise.all(Array.from({ length: 20 }, (_, index) => claim(0, { workerId: `worker-${index}` })));

    expect(answers.filter((answer) => answer.claim === 'claimed')).toHaveLength(1);
    expect(answers.filter((answer) => answer.claim === 'held')).toHaveLength(19);
  });

  test('an attempt whose lease ran out is lost, costs no try, and the next one has the same idempotency key', async () => {
    const usher = await store();
    const { registrationId, claimed } = await registered(usher, [{ name: 'Notify Slack', policy: PATIENT }]);
    const first = await claimed(0);
    await letTimePass(usher, LEASE_MS + 1);
    expect((await usher.ledger.readRegistration(registrationId))!.steps[0]!.attempts).toMatchObject([{ outcome: 'lost', endedAt: null }]);

    const second = await claimed(0, { workerId: 'worker-2' });

    expect(second.attempt).toMatchObject({ number: 2, idempotencyKey: first.attempt.idempotencyKey });
    // The delay after the first failure that counts; after a second one it would be 2 s.
    expect(await usher.ledger.settleAttempt(failureOf(second))).toEqual({ state: 'retry', delayMs: SECOND });
    expect((await usher.ledger.readRegistration(registrationId))!.steps[0]!.attempts).toMatchObject([
      { number: 1, outcome: 'lost', counted: false },
      { number: 2, outcome: 'failed', counted: true, error: THREW },
    ]);
  });

  test('a lost attempt uses up the quick budget, so that the Actions after it do not wait longer', async () => {
    const usher = await store();
    const { claimed } = await registered(usher, [{ name: 'Notify Slack' }]);
    await claimed(0);
    await letTimePass(usher, LEASE_MS + 1);

    expect(await usher.ledger.settleAttempt(failureOf(await claimed(0)))).toEqual({ state: 'parked', delayMs: MINUTE });
  });

  test('renewing keeps the leases that are still good, and tells which are lost', async () => {
    const usher = await store();
    const { claim, claimed } = await registered(usher, [{ name: 'One' }, { name: 'Two' }, { name: 'Three' }]);
    const one = await claimed(0);
    await letTimePass(usher, 20 * SECOND);
    const two = await claimed(1);
    await claimed(2, { workerId: 'worker-2' });

    expect(await usher.ledger.renewLeases({ workerId: 'worker-1', leaseMs: LEASE_MS })).toEqual(new Set([one.attempt.id, two.attempt.id]));
    await letTimePass(usher, 20 * SECOND);
    expect(await claim(0, { workerId: 'worker-3' })).toMatchObject({ claim: 'held' });
    await letTimePass(usher, 11 * SECOND);
    expect(await usher.ledger.renewLeases({ workerId: 'worker-1', leaseMs: LEASE_MS })).toEqual(new Set());
  });

  test('a worker that starts on the embedded store takes over at once what its predecessor left', async () => {
    const usher = await store();
    const { claim, claimed } = await registered(usher, [{ name: 'One' }, { name: 'Two' }]);
    await claimed(0, { workerId: 'dead' });
    const alive = await claimed(1, { workerId: 'new' });

    expect(await usher.ledger.endLostAttempts({ exceptWorkerId: 'new' })).toBe(1);

    expect(await claim(0, { workerId: 'new' })).toMatchObject({ claim: 'claimed', step: { attempt: { number: 2 } } });
    expect(await usher.ledger.renewLeases({ workerId: 'new', leaseMs: LEASE_MS })).toContain(alive.attempt.id);
  });

  test('a success is final: claiming again runs nothing, settling again changes nothing', async () => {
    const usher = await store();
    const { registrationId, claim, claimed } = await registered(usher, [{ name: 'Notify Slack' }]);
    const step = await claimed(0);

    expect(await usher.ledger.settleAttempt(endOf(step))).toEqual({ state: 'succeeded' });

    const recorded = await usher.ledger.readRegistration(registrationId);
    expect(await claim(0)).toEqual({ claim: 'recorded', state: { state: 'succeeded' } });
    expect(await usher.ledger.settleAttempt(failureOf(step))).toEqual({ state: 'succeeded' });
    expect(await usher.ledger.settleUnrecorded({ attemptId: step.attempt.id, outcome: 'failed', endedAt: 1 })).toEqual({ state: 'succeeded' });
    expect(await usher.ledger.readRegistration(registrationId)).toEqual(recorded);
  });

  test('failures follow the default policy: four quick retries are begun inside the budget, then the step is parked', async () => {
    const usher = await store();
    const { registrationId, claimed } = await registered(usher, [{ name: 'Notify Slack' }]);
    const delays: number[] = [];
    for (;;) {
      const settled = await usher.ledger.settleAttempt(failureOf(await claimed(0)));
      if (settled.state !== 'retry') {
        expect(settled).toEqual({ state: 'parked', delayMs: MINUTE });
        break;
      }
      delays.push(settled.delayMs);
      await letTimePass(usher, settled.delayMs);
    }

    expect(delays).toEqual([1, 2, 4, 8].map((seconds) => seconds * SECOND));
    expect(await usher.ledger.loadOpenSteps(registrationId)).toMatchObject([{ phase: 'long' }]);
  });

  test('a failure settled twice counts once', async () => {
    const usher = await store();
    const { claimed } = await registered(usher, [{ name: 'Notify Slack' }]);
    const first = await claimed(0);
    const settled = await usher.ledger.settleAttempt(failureOf(first));
    expect(settled).toEqual({ state: 'retry', delayMs: SECOND });

    const again = await usher.ledger.settleAttempt(failureOf(first));

    expect(again.state).toBe('retry');
    expect('delayMs' in again && again.delayMs).toBeLessThanOrEqual(SECOND);
    await letTimePass(usher, SECOND);
    expect(await usher.ledger.settleAttempt(failureOf(await claimed(0)))).toEqual({ state: 'retry', delayMs: 2 * SECOND });
  });

  test('an attempt is not begun before it is due, however often somebody asks', async () => {
    const usher = await store();
    const { registrationId, claim, claimed } = await registered(usher, [{ name: 'Notify Slack' }]);
    await usher.ledger.settleAttempt(failureOf(await claimed(0), { retryAfterMs: 25 * SECOND }));
    await letTimePass(usher, 5 * SECOND);

    const early = await claim(0);
    expect(early).toMatchObject({ claim: 'held', reason: 'the next attempt is not due' });
    expect(early.claim === 'held' && early.delayMs).toBeGreaterThan(18 * SECOND);
    const nextAt = async () => (await usher.ledger.readRegistration(registrationId))!.steps[0]!.nextAt;
    expect(Math.abs((await nextAt())! - Date.now() - 20 * SECOND)).toBeLessThan(3 * SECOND);

    await letTimePass(usher, 19.5 * SECOND);
    expect(await claim(0)).toMatchObject({ claim: 'claimed', step: { attempt: { number: 2 } } });
    expect(await nextAt()).toBeNull();
  });

  test('a Retry-After beyond the budget parks the step for that long', async () => {
    const usher = await store();
    const { claimed } = await registered(usher, [{ name: 'Notify Slack' }]);

    expect(await usher.ledger.settleAttempt(failureOf(await claimed(0), { retryAfterMs: 10 * MINUTE }))).toEqual({ state: 'parked', delayMs: 10 * MINUTE });
  });

  test('a parked step is recorded as parked for who still asks for its quick phase, and goes on in its long one', async () => {
    const usher = await store();
    const { registrationId, claim, claimed } = await registered(usher, [{ name: 'Notify Slack' }]);
    const attempts = await park(usher, claimed, 0);

    const recorded = await claim(0);
    expect(recorded).toMatchObject({ claim: 'recorded', state: { state: 'parked' } });
    await letTimePass(usher, MINUTE);
    const long = await claimed(0, { phase: 'long' });

    expect(long.attempt.number).toBe(attempts + 1);
    expect(await usher.ledger.settleAttempt(failureOf(long))).toEqual({ state: 'retry', delayMs: 2 * MINUTE });
    expect(await usher.ledger.settleAttempt(failureOf(long))).toMatchObject({ state: 'retry' });
    expect((await usher.ledger.readRegistration(registrationId))!.steps[0]).toMatchObject({ state: 'parked', phase: 'long' });
  });

  test('after its last long retry a step has failed for good, and is not tried again', async () => {
    const usher = await store();
    const { registrationId, claim, claimed } = await registered(usher, [
      { name: 'Notify Slack', policy: { long: { attempts: 2, firstDelayMs: MINUTE, factor: 1, maxDelayMs: MINUTE } } },
    ]);
    await park(usher, claimed, 0);
    await letTimePass(usher, MINUTE);
    expect(await usher.ledger.settleAttempt(failureOf(await claimed(0, { phase: 'long' })))).toMatchObject({ state: 'retry' });
    await letTimePass(usher, MINUTE);

    expect(await usher.ledger.settleAttempt(failureOf(await claimed(0, { phase: 'long' })))).toEqual({ state: 'failed' });

    expect(await claim(0, { phase: 'long' })).toEqual({ claim: 'recorded', state: { state: 'failed' } });
    expect(await usher.ledger.closeRegistration(registrationId)).toEqual({ closed: true, result: { outcome: 'failed', steps: ['Notify Slack v3: failed'] } });
  });

  test('the tenant log names an Action once when it is parked and once when it has failed for good', async () => {
    const usher = await store();
    const { registrationId, claimed } = await registered(usher, [
      { name: 'Notify Slack', policy: { long: { attempts: 1, firstDelayMs: MINUTE, factor: 1, maxDelayMs: MINUTE } } },
    ]);
    await park(usher, claimed, 0);
    await letTimePass(usher, MINUTE);
    await usher.ledger.settleAttempt(failureOf(await claimed(0, { phase: 'long' })));

    const entries = await createLogStore({ db: usher.database.db, keyring: usher.keyring }).page({ limit: 10, offset: 0, order: 'asc' });
    const failed = { type: 'actions_execution_failed', details: { execution_id: registrationId, action_name: 'Notify Slack', error_class: 'action_error', action_error: { message: 'no luck' } } };
    expect(entries).toMatchObject([{ type: 'ss' }, failed, failed]);
  });

  test('a failure that no retry can mend ends the step at once', async () => {
    const usher = await store();
    const { claimed } = await registered(usher, [{ name: 'Notify Slack' }]);

    const end = failureOf(await claimed(0), { error: { ...THREW, type: 'ACTION_INVALID', retryable: false } });

    expect(await usher.ledger.settleAttempt(end)).toEqual({ state: 'failed' });
  });

  test('a failure for good blocks the Actions that must wait for it, and no others', async () => {
    const usher = await store();
    const { registrationId, claim, claimed } = await registered(usher, [
      { name: 'Free' },
      { name: 'Gate', policy: { onFailure: 'wait' } },
      { name: 'After' },
    ]);
    const hopeless = { error: { ...THREW, retryable: false } };
    expect(await usher.ledger.settleAttempt(failureOf(await claimed(0), hopeless))).toEqual({ state: 'failed' });
    expect(await usher.ledger.loadOpenSteps(registrationId)).toHaveLength(2);

    expect(await usher.ledger.settleAttempt(failureOf(await claimed(1), hopeless))).toEqual({ state: 'failed' });

    expect(await claim(2)).toEqual({ claim: 'recorded', state: { state: 'blocked' } });
    expect(await usher.ledger.closeRegistration(registrationId)).toEqual({
      closed: true,
      result: { outcome: 'failed', steps: ['Free v3: failed', 'Gate v3: failed', 'After v3: blocked'] },
    });
  });

  test('a step that is run again after its success has a new idempotency key, and what is left of the run before does not touch it', async () => {
    const usher = await store();
    const { registrationId, steps, claimed } = await registered(usher, [{ name: 'Notify Slack' }]);
    const lost = await claimed(0);
    await letTimePass(usher, LEASE_MS + 1);
    await usher.ledger.settleAttempt(endOf(await claimed(0)));
    await usher.database.db.updateTable('step').set({ state: 'pending', run: 2, ended_at: null }).execute();

    expect(await usher.ledger.settleAttempt(endOf(lost))).toEqual({ state: 'retry', delayMs: 0 });

    expect((await claimed(0)).attempt).toMatchObject({ number: 3, run: 2, idempotencyKey: `${registrationId}.${steps[0]}.2` });
  });

  test('what we stopped ourselves counts neither as a try nor as an end', async () => {
    const usher = await store();
    const { claimed } = await registered(usher, [{ name: 'Notify Slack' }]);

    for (const outcome of ['lost', 'cancelled', 'lost'] as const) {
      expect(await usher.ledger.settleAttempt(endOf(await claimed(0), { outcome }))).toEqual({ state: 'retry', delayMs: 0 });
    }

    const fourth = await claimed(0);
    expect(fourth.attempt.number).toBe(4);
    expect(await usher.ledger.settleAttempt(failureOf(fourth))).toEqual({ state: 'retry', delayMs: SECOND });
  });

  test('a success that is reported late still counts, though the attempt was given up as lost', async () => {
    const usher = await store();
    const { registrationId, claim, claimed } = await registered(usher, [{ name: 'Notify Slack' }]);
    const first = await claimed(0);
    await letTimePass(usher, LEASE_MS + 1);
    const second = await claimed(0, { workerId: 'worker-2' });

    expect(await usher.ledger.settleUnrecorded({ attemptId: first.attempt.id, outcome: 'succeeded', endedAt: Date.now() })).toEqual({ state: 'succeeded' });

    expect(await claim(0)).toEqual({ claim: 'recorded', state: { state: 'succeeded' } });
    expect(await usher.ledger.settleAttempt(failureOf(second))).toEqual({ state: 'succeeded' });
    expect((await usher.ledger.readRegistration(registrationId))!.steps[0]!.attempts).toMatchObject([
      { outcome: 'succeeded', counted: false },
      { outcome: 'failed', counted: false },
    ]);
  });

  test('a failure that is reported late costs no try, because another attempt has begun in its place', async () => {
    const usher = await store();
    const { claimed } = await registered(usher, [{ name: 'Notify Slack', policy: PATIENT }]);
    const first = await claimed(0);
    await letTimePass(usher, LEASE_MS + 1);
    const second = await claimed(0, { workerId: 'worker-2' });

    await usher.ledger.settleAttempt(failureOf(first));

    expect(await usher.ledger.settleAttempt(failureOf(second))).toEqual({ state: 'retry', delayMs: SECOND });
  });

  test('an end whose lease ran out is taken as it is while nobody else has begun', async () => {
    const usher = await store();
    const { claimed } = await registered(usher, [{ name: 'Notify Slack' }]);
    const step = await claimed(0);
    await letTimePass(usher, 10 * MINUTE);

    expect(await usher.ledger.settleUnrecorded({ attemptId: step.attempt.id, outcome: 'failed', endedAt: Date.now(), errorType: 'ACTION_CRASHED' })).toMatchObject({ state: 'parked' });
  });

  test('error, calls and logs of an attempt can be read, and late output is added to them', async () => {
    const usher = await store();
    const { registrationId, claimed } = await registered(usher, [{ name: 'Notify Slack' }]);
    const step = await claimed(0);
    const call = { method: 'POST', host: 'hooks.example.com', status: 429, startedAt: 1, durationMs: 2, retryAfterMs: 3000 };
    // Left-over work can be faster than the verdict's commit.
    await usher.ledger.appendLateOutput(step.attempt.id, [lineOf('late, and early')]);
    await usher.ledger.settleAttempt(failureOf(step, { logs: [lineOf('hello')], calls: [call] }));
    await usher.ledger.appendLateOutput(step.attempt.id, [lineOf('late')]);

    const attempt = async () => (await usher.ledger.readRegistration(registrationId))!.steps[0]!.attempts[0]!;
    expect(await attempt()).toMatchObject({
      error: THREW,
      calls: [call],
      logs: [{ text: 'hello' }, { text: 'late, and early' }, { text: 'late' }],
      logsTruncated: false,
    });

    await usher.ledger.appendLateOutput(step.attempt.id, [lineOf('x'.repeat(LIMITS.logBytes)), lineOf('never seen')]);
    expect(await attempt()).toMatchObject({ logs: { length: 3 }, logsTruncated: true });
  });

  test('cache changes of an attempt are seen by the next one, once, and by no other trigger', async () => {
    const usher = await store();
    const { claimed } = await registered(usher, [{ name: 'One' }, { name: 'Two' }]);
    const expires = Date.now() + MINUTE;
    const one = await claimed(0);
    const set = (key: string, value: string) => ({ kind: 'set' as const, key, record: { value, expires_at: expires } });
    await usher.ledger.settleAttempt(endOf(one, { cacheChanges: [set('a', '1'), set('b', '2')] }));
    await usher.ledger.settleAttempt(endOf(await claimed(1), { cacheChanges: [{ kind: 'delete', key: 'a' }, set('b', '3')] }));

    await usher.ledger.settleAttempt(endOf(one, { cacheChanges: [set('b', 'settled twice')] }));

    expect(await usher.ledger.readCache('post-user-registration')).toEqual({ b: { value: '3', expires_at: expires } });
    expect(await usher.ledger.readCache('pre-user-registration')).toEqual({});
  });

  test('Actions that change the same cache entries at the same moment do not get into each other\'s way', async () => {
    const usher = await store();
    await bindActions(usher, [{ name: 'Notify Slack' }]);
    const expires = Date.now() + MINUTE;
    const set = (key: string) => ({ kind: 'set' as const, key, record: { value: key, expires_at: expires } });
    const keys = Array.from({ length: 12 }, (_, index) => `key-${index}`);
    const ends: AttemptEnd[] = [];
    for (let index = 0; index < 20; index++) {
      const { registrationId } = await usher.register(signUpOf(`user-${index}@example.com`));
      const [open] = await usher.ledger.loadOpenSteps(registrationId);
      const claim = await usher.ledger.claimStep({ registrationId, stepId: open!.stepId, phase: 'quick', workerId: 'w', leaseMs: LEASE_MS });
      if (claim.claim !== 'claimed') throw new Error('not claimed');
      ends.push(endOf(claim.step, { cacheChanges: (index % 2 === 0 ? keys : keys.toReversed()).map(set) }));
    }

    const settled = await Promise.all(ends.map((end) => usher.ledger.settleAttempt(end)));

    expect(new Set(settled.map((each) => each.state))).toEqual(new Set(['succeeded']));
    expect(Object.keys(await usher.ledger.readCache('post-user-registration')).toSorted()).toEqual(keys.toSorted());
  });

  test('a registration closes when nothing is open, with the same answer each time', async () => {
    const usher = await store();
    const { registrationId, claimed } = await registered(usher, [{ name: 'One' }, { name: 'Two' }]);
    await usher.ledger.settleAttempt(endOf(await claimed(0)));
    expect(await usher.ledger.closeRegistration(registrationId)).toEqual({ closed: false });
    await usher.ledger.settleAttempt(endOf(await claimed(1)));

    const closed = { closed: true, result: { outcome: 'succeeded', steps: ['One v3: succeeded', 'Two v3: succeeded'] } };
    expect(await usher.ledger.closeRegistration(registrationId)).toEqual(closed);

    const record = await usher.ledger.readRegistration(registrationId);
    expect(record).toMatchObject({ state: 'closed', outcome: 'succeeded', dueAt: null });
    expect(await usher.ledger.closeRegistration(registrationId)).toEqual(closed);
    expect(await usher.ledger.readRegistration(registrationId)).toEqual(record);
  });

  test('cancelling ends what is open, keeps what succeeded, and repeats harmlessly', async () => {
    const usher = await store();
    const { registrationId, claim, claimed } = await registered(usher, [{ name: 'One' }, { name: 'Two' }]);
    await usher.ledger.settleAttempt(endOf(await claimed(0)));
    const running = await claimed(1);

    const cancelled = { outcome: 'cancelled', steps: ['One v3: succeeded', 'Two v3: cancelled'] };
    expect(await usher.ledger.cancelRegistration(registrationId)).toEqual(cancelled);

    expect(await usher.ledger.cancelRegistration(registrationId)).toEqual(cancelled);
    expect(await usher.ledger.closeRegistration(registrationId)).toEqual({ closed: true, result: cancelled });
    expect(await claim(1)).toEqual({ claim: 'recorded', state: { state: 'cancelled' } });
    expect(await usher.ledger.settleAttempt(endOf(running, { outcome: 'cancelled' }))).toEqual({ state: 'cancelled' });
  });

  test('a cancellation found in Temporal does not undo what somebody has asked for since', async () => {
    const usher = await store();
    const { registrationId } = await registered(usher, [{ name: 'One' }]);

    expect(await usher.ledger.recordCancelledByOperator(registrationId)).toBe(false);
    expect(await usher.ledger.loadOpenSteps(registrationId)).toHaveLength(1);

    await usher.outbox.markHandedOver({ registrationId, dueSeq: 1, checkAt: Date.now() });
    expect(await usher.ledger.recordCancelledByOperator(registrationId)).toBe(true);
    expect(await usher.ledger.readRegistration(registrationId)).toMatchObject({ state: 'closed', outcome: 'cancelled' });
  });

  test('a name of any length or shape becomes one line of at most 100 bytes', async () => {
    const usher = await store();
    const { registrationId } = await registered(usher, [{ name: '🙂'.repeat(60) }, { name: 'two\nlines\u0007' }]);

    const [long, lines] = (await usher.ledger.loadOpenSteps(registrationId)).map((step) => step.label);

    expect(Buffer.byteLength(long!)).toBeLessThanOrEqual(100);
    expect(long).toMatch(/^🙂{20,}… v3$/u);
    expect(lines).toBe('two lines v3');
  });

  test('the sweep asks two minutes after the next attempt was due, not before', async () => {
    const usher = await store();
    const { registrationId, claimed } = await registered(usher, [{ name: 'One' }, { name: 'Two' }]);
    await usher.outbox.markHandedOver({ registrationId, dueSeq: 1, checkAt: Date.now() + 2 * MINUTE });
    const silentFor = async () => {
      const { check_at: checkAt } = await usher.database.db.selectFrom('registration').select('check_at').executeTakeFirstOrThrow();
      return Math.round((checkAt! - Date.now()) / SECOND);
    };
    const one = await claimed(0);
    expect(await silentFor()).toBe(150);
    await usher.ledger.settleAttempt(failureOf(one, { retryAfterMs: 10 * MINUTE }));
    // The second Action is due now, whenever the first one is.
    expect(await silentFor()).toBe(120);
    await usher.ledger.settleAttempt(endOf(await claimed(1)));
    expect(await silentFor()).toBe(720);
  });

  test('what the store does not know is an error that says why that can be', async () => {
    const usher = await store();

    await expect(usher.ledger.closeRegistration('nobody')).rejects.toThrow(/no registration nobody.*restored from an older backup/);
    await expect(usher.ledger.settleUnrecorded({ attemptId: 'nothing', outcome: 'failed', endedAt: 1 })).rejects.toThrow(/no attempt nothing/);
    expect(await usher.ledger.readRegistration('nobody')).toBeNull();
  });
});
