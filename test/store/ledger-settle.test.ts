import { expect, test } from 'vitest';
import { LIMITS } from '../../src/domain/limits.ts';
import type { AttemptEnd } from '../../src/store/ledger.ts';
import { createLogStore } from '../../src/store/logs.ts';
import { describeEachStore } from '../helpers/each-store.ts';
import { bindActions, letTimePass, prepareStore, signUpOf, type TestStore } from '../helpers/stores.ts';
import { LEASE_MS, SECOND, MINUTE, THREW, PATIENT, endOf, failureOf, lineOf, registered, park } from './steps.ts';

describeEachStore('ledger: settling', (fresh) => {
  async function store(): Promise<TestStore> {
    return await prepareStore((await fresh()).open());
  }

  test('a lost attempt uses up the quick budget, so that the Actions after it do not wait longer', async () => {
    const usher = await store();
    const { claimed } = await registered(usher, [{ name: 'Notify Slack' }]);
    await claimed(0);
    await letTimePass(usher, LEASE_MS + 1);

    expect(await usher.ledger.settleAttempt(failureOf(await claimed(0)))).toEqual({ state: 'parked', delayMs: MINUTE });
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

  test('a Retry-After beyond the budget parks the step for that long', async () => {
    const usher = await store();
    const { claimed } = await registered(usher, [{ name: 'Notify Slack' }]);

    expect(await usher.ledger.settleAttempt(failureOf(await claimed(0), { retryAfterMs: 10 * MINUTE }))).toEqual({ state: 'parked', delayMs: 10 * MINUTE });
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

    const entries = await createLogStore(usher).page({ limit: 10, offset: 0, order: 'asc' });
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
});
