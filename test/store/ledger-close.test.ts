import { expect, test } from 'vitest';
import { describeEachStore } from '../helpers/each-store.ts';
import { prepareStore, type TestStore } from '../helpers/stores.ts';
import { SECOND, MINUTE, endOf, failureOf, registered } from './steps.ts';

describeEachStore('ledger: closing and reading', (fresh) => {
  async function store(): Promise<TestStore> {
    return await prepareStore((await fresh()).open());
  }

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

    expect(await usher.ledger.recordCancelledByOperator(registrationId, Date.now())).toBe(false);
    expect(await usher.ledger.loadOpenSteps(registrationId)).toHaveLength(1);

    await usher.outbox.markHandedOver([{ registrationId, dueSeq: 1 }], { checkAfterMs: 0 });
    expect(await usher.ledger.recordCancelledByOperator(registrationId, Date.now())).toBe(true);
    expect(await usher.ledger.readRegistration(registrationId)).toMatchObject({ state: 'closed', outcome: 'cancelled' });
  });

  test('a cancellation that a restored Temporal still remembers does not undo what was handed over since', async () => {
    const usher = await store();
    const { registrationId } = await registered(usher, [{ name: 'One' }]);
    await usher.outbox.markHandedOver([{ registrationId, dueSeq: 1 }], { checkAfterMs: 0 });

    expect(await usher.ledger.recordCancelledByOperator(registrationId, Date.now() - 5 * MINUTE)).toBe(false);

    expect(await usher.ledger.loadOpenSteps(registrationId)).toHaveLength(1);
    expect(await usher.outbox.claimDue({ limit: 10, leaseMs: 1000 })).toMatchObject([{ registrationId }]);
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
    await usher.outbox.markHandedOver([{ registrationId, dueSeq: 1 }], { checkAfterMs: 2 * MINUTE });
    const startedAt = Date.now();
    const expectSilence = async (ms: number) => {
      const { check_at: checkAt } = await usher.database.db.selectFrom('registration').select('check_at').executeTakeFirstOrThrow();
      expect(checkAt).toBeGreaterThanOrEqual(startedAt + ms);
      expect(checkAt).toBeLessThanOrEqual(Date.now() + ms);
    };
    const one = await claimed(0);
    await expectSilence(150 * SECOND);
    await usher.ledger.settleAttempt(failureOf(one, { retryAfterMs: 10 * MINUTE }));
    // The second Action is due now, whenever the first one is.
    await expectSilence(120 * SECOND);
    await usher.ledger.settleAttempt(endOf(await claimed(1)));
    await expectSilence(720 * SECOND);
  });

  test('what the store does not know is an error that says why that can be', async () => {
    const usher = await store();

    await expect(usher.ledger.closeRegistration('nobody')).rejects.toThrow(/no registration nobody.*restored from an older backup/);
    await expect(usher.ledger.settleUnrecorded({ attemptId: 'nothing', outcome: 'failed', endedAt: 1 })).rejects.toThrow(/no attempt nothing/);
    expect(await usher.ledger.readRegistration('nobody')).toBeNull();
  });
});
