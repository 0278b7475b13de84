import { expect, test } from 'vitest';
import { storeNow } from '../../src/store/database.ts';
import { describeEachStore } from '../helpers/each-store.ts';
import { letTimePass, prepareStore, type TestStore, withStandingClock } from '../helpers/stores.ts';
import { LEASE_MS, SECOND, MINUTE, THREW, PATIENT, endOf, failureOf, registered, park } from './steps.ts';

describeEachStore('ledger: claims and leases', (fresh) => {
  async function store(): Promise<TestStore> {
    return await prepareStore(withStandingClock((await fresh()).open()));
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
    expect(step.attempt.leasedUntil).toBe((await storeNow(usher.database)) + LEASE_MS);
  });

  test('while an attempt holds its lease, the step is held; it is asked about again within seconds, as the attempt may end, and never after the lease', async () => {
    const usher = await store();
    const { claim, claimed } = await registered(usher, [{ name: 'Notify Slack' }]);
    await claimed(0);
    const hold = async () => {
      const answer = await claim(0, { workerId: 'worker-2' });
      if (answer.claim !== 'held') throw new Error(`not held: ${answer.claim}`);
      expect(answer.reason).toContain('attempt 1');
      return answer;
    };

    const early = await hold();
    expect(early.delayMs).toBe(2 * SECOND);
    expect(early.leaseEndsInMs).toBe(LEASE_MS);
    await letTimePass(usher, LEASE_MS - 1.5 * SECOND);
    const late = await hold();
    expect(late.leaseEndsInMs).toBe(1.5 * SECOND);
    expect(late.delayMs).toBe(late.leaseEndsInMs);
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
    const { registrationId, claim, claimed } = await registered(usher, [{ name: 'Notify Slack', policy: PATIENT }]);
    const first = await claimed(0);
    await letTimePass(usher, LEASE_MS + 1);
    expect((await usher.ledger.readRegistration(registrationId))!.steps[0]!.attempts).toMatchObject([{ outcome: 'lost', endedAt: null }]);

    const answer = await claim(0, { workerId: 'worker-2' });
    if (answer.claim !== 'claimed') throw new Error('not claimed');
    const second = answer.step;

    expect(answer.lost).toMatchObject([{ registrationId, actionName: 'Notify Slack', attempt: { id: first.attempt.id, number: 1 } }]);
    expect(second.attempt).toMatchObject({ number: 2, idempotencyKey: first.attempt.idempotencyKey });
    // The delay after the first failure that counts; after a second one it would be 2 s.
    expect(await usher.ledger.settleAttempt(failureOf(second))).toEqual({ state: 'retry', delayMs: SECOND });
    expect((await usher.ledger.readRegistration(registrationId))!.steps[0]!.attempts).toMatchObject([
      { number: 1, outcome: 'lost', counted: false },
      { number: 2, outcome: 'failed', counted: true, error: THREW },
    ]);
  });

  test('renewing keeps the leases that are asked for and still good, tells which are lost, and lets the others run out', async () => {
    const usher = await store();
    const { claim, claimed } = await registered(usher, [{ name: 'One' }, { name: 'Two' }, { name: 'Three' }]);
    const one = await claimed(0);
    await letTimePass(usher, 20 * SECOND);
    const two = await claimed(1);
    // The answer to this claim got lost: its worker knows nothing of it.
    await claimed(2);
    const attemptIds = [one.attempt.id, two.attempt.id];

    expect(await usher.ledger.renewLeases({ attemptIds, leaseMs: LEASE_MS })).toEqual(new Set(attemptIds));
    await letTimePass(usher, 20 * SECOND);
    expect(await usher.ledger.renewLeases({ attemptIds, leaseMs: LEASE_MS })).toEqual(new Set(attemptIds));
    await letTimePass(usher, 11 * SECOND);
    expect(await claim(0, { workerId: 'worker-3' })).toMatchObject({ claim: 'held' });
    expect(await claim(2, { workerId: 'worker-3' })).toMatchObject({ claim: 'claimed', step: { attempt: { number: 2 } } });
    await letTimePass(usher, 20 * SECOND);
    expect(await usher.ledger.renewLeases({ attemptIds, leaseMs: LEASE_MS })).toEqual(new Set());
  });

  test('a worker that starts on the embedded store takes over at once what its predecessor left', async () => {
    const usher = await store();
    const { claim, claimed } = await registered(usher, [{ name: 'One' }, { name: 'Two' }]);
    const left = await claimed(0, { workerId: 'dead' });
    const alive = await claimed(1, { workerId: 'new' });

    const { registrationId, stepId, actionName, userId } = left;
    const lost = { registrationId, stepId, actionName, userId, attempt: { id: left.attempt.id, number: 1, phase: 'quick' } };
    expect(await usher.ledger.endLostAttempts({ exceptWorkerId: 'new' })).toMatchObject([lost]);

    expect(await claim(0, { workerId: 'new' })).toMatchObject({ claim: 'claimed', step: { attempt: { number: 2 } } });
    expect(await usher.ledger.renewLeases({ attemptIds: [alive.attempt.id], leaseMs: LEASE_MS })).toContain(alive.attempt.id);
  });

  test('an attempt is not begun before it is due, however often somebody asks', async () => {
    const usher = await store();
    const { registrationId, claim, claimed } = await registered(usher, [{ name: 'Notify Slack' }]);
    await usher.ledger.settleAttempt(failureOf(await claimed(0), { retryAfterMs: 25 * SECOND }));
    await letTimePass(usher, 5 * SECOND);

    const early = await claim(0);
    expect(early).toMatchObject({ claim: 'held', reason: 'the next attempt is not due', delayMs: 20 * SECOND });
    const nextAt = async () => (await usher.ledger.readRegistration(registrationId))!.steps[0]!.nextAt;
    expect(await nextAt()).toBe((await storeNow(usher.database)) + 20 * SECOND);

    await letTimePass(usher, 19.5 * SECOND);
    expect(await claim(0)).toMatchObject({ claim: 'claimed', step: { attempt: { number: 2 } } });
    expect(await nextAt()).toBeNull();
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
});
