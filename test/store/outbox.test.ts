import { expect, test } from 'vitest';
import { newId } from '../../src/domain/ids.ts';
import { describeEachStore } from '../helpers/each-store.ts';
import { bindActions, letTimePass, prepareStore, signUpOf, type TestStore, withStandingClock } from '../helpers/stores.ts';

const MINUTE = 60_000;
const LEASE = { limit: 100, leaseMs: 15_000 };

async function register(usher: TestStore, count: number): Promise<string[]> {
  const ids: string[] = [];
  for (let index = 0; index < count; index++) ids.push((await usher.register(signUpOf(`user-${index}@example.com`))).registrationId);
  return ids;
}

describeEachStore('outbox', (fresh) => {
  async function store(): Promise<TestStore> {
    const usher = await prepareStore(withStandingClock((await fresh()).open()));
    await bindActions(usher, [{ name: 'Notify Slack' }]);
    return usher;
  }

  test('many dispatchers at once never get the same registration, and together get all', async () => {
    const empty = await fresh();
    const usher = await prepareStore(empty.open());
    await bindActions(usher, [{ name: 'Notify Slack' }]);
    const ids = await register(usher, 60);
    const others = [await prepareStore(empty.open()), await prepareStore(empty.open())];

    const claimed: string[] = [];
    for (let round = 0; claimed.length < ids.length && round < 100; round++) {
      const batches = await Promise.all([usher, ...others].map(({ outbox }) => outbox.claimDue({ limit: 7, leaseMs: MINUTE })));
      for (const batch of batches) expect(batch.length).toBeLessThanOrEqual(7);
      claimed.push(...batches.flat().map((due) => due.registrationId));
    }

    expect(claimed.toSorted()).toEqual(ids);
  });

  test('the longest due come first', async () => {
    const usher = await store();
    const ids = await register(usher, 5);
    await usher.database.db.updateTable('registration').set({ due_at: 1 }).where('id', '=', ids[3]!).execute();
    await usher.database.db.updateTable('registration').set({ due_at: 2 }).where('id', '=', ids[1]!).execute();

    const claimed = await usher.outbox.claimDue({ limit: 2, leaseMs: MINUTE });

    expect(claimed.map((due) => due.registrationId)).toEqual([ids[3], ids[1]]);
  });

  test('what a dead dispatcher has claimed is taken over after its lease, and not before', async () => {
    const usher = await store();
    const [id] = await register(usher, 1);
    expect(await usher.outbox.claimDue(LEASE)).toHaveLength(1);
    await letTimePass(usher, LEASE.leaseMs - 1);
    expect(await usher.outbox.claimDue(LEASE)).toEqual([]);

    await letTimePass(usher, 1);

    expect(await usher.outbox.claimDue(LEASE)).toMatchObject([{ registrationId: id, dueSeq: 1 }]);
  });

  test('claims that are given back can be taken at once', async () => {
    const usher = await store();
    const ids = await register(usher, 2);
    await usher.outbox.claimDue(LEASE);

    await usher.outbox.releaseClaims(ids);

    expect(await usher.outbox.claimDue(LEASE)).toHaveLength(2);
    await usher.outbox.releaseClaims([]);
  });

  test('what was handed over is not due any more, and is asked about later', async () => {
    const usher = await store();
    const [id] = await register(usher, 1);
    await usher.outbox.claimDue(LEASE);
    expect(await usher.outbox.depth()).toMatchObject({ due: 1 });

    await usher.outbox.markHandedOver([{ registrationId: id!, dueSeq: 1 }], { checkAfterMs: MINUTE });

    expect(await usher.outbox.depth()).toEqual({ due: 0, oldestDueAt: null });
    expect(await usher.outbox.claimForCheck(LEASE)).toEqual([]);
    await letTimePass(usher, 2 * MINUTE);
    expect(await usher.outbox.claimDue(LEASE)).toEqual([]);
    expect(await usher.outbox.claimForCheck(LEASE)).toEqual([id]);
  });

  test('a wish that came during a hand-over is not cleared by it, and can be taken at once', async () => {
    const usher = await store();
    const [id] = await register(usher, 1);
    const [first] = await usher.outbox.claimDue(LEASE);
    await usher.outbox.makeDue(id!);

    await usher.outbox.markHandedOver([{ registrationId: id!, dueSeq: first!.dueSeq }], { checkAfterMs: 0 });

    expect(await usher.outbox.claimDue(LEASE)).toMatchObject([{ registrationId: id, dueSeq: first!.dueSeq + 1 }]);
  });

  test('a hand-over that ends after the registration has closed brings nothing back', async () => {
    const usher = await store();
    const [id] = await register(usher, 1);
    await usher.outbox.claimDue(LEASE);
    await usher.ledger.cancelRegistration(id!);

    await usher.outbox.markHandedOver([{ registrationId: id!, dueSeq: 1 }], { checkAfterMs: 0 });
    await usher.outbox.backOff({ registrationId: id!, dueSeq: 1, delayMs: 0, error: 'refused' });
    await usher.outbox.makeDue(id!);
    await usher.outbox.postponeCheck(id!, 0);

    await letTimePass(usher, MINUTE);
    expect(await usher.outbox.claimDue(LEASE)).toEqual([]);
    expect(await usher.outbox.claimForCheck(LEASE)).toEqual([]);
    expect(await usher.outbox.depth()).toEqual({ due: 0, oldestDueAt: null });
  });

  test('one that Temporal refuses waits, says why, and does not hold up the others', async () => {
    const usher = await store();
    const [bad, good] = await register(usher, 2);
    await usher.outbox.claimDue(LEASE);
    await usher.outbox.backOff({ registrationId: bad!, dueSeq: 1, delayMs: MINUTE, error: 'input too large' });
    await usher.outbox.releaseClaims([good!]);

    expect(await usher.outbox.claimDue(LEASE)).toMatchObject([{ registrationId: good }]);
    expect(await usher.ledger.readRegistration(bad!)).toMatchObject({ dispatchError: 'input too large' });

    await letTimePass(usher, MINUTE);
    expect(await usher.outbox.claimDue(LEASE)).toMatchObject([{ registrationId: good }, { registrationId: bad, dispatchFailures: 1 }]);
    await usher.outbox.markHandedOver([{ registrationId: bad!, dueSeq: 1 }], { checkAfterMs: 0 });
    expect(await usher.ledger.readRegistration(bad!)).toMatchObject({ dispatchError: null });
  });

  test('when Temporal has lost its data, everything open is handed over again and nothing that is closed', async () => {
    const usher = await store();
    const ids = await register(usher, 3);
    await usher.outbox.claimDue(LEASE);
    for (const id of ids) await usher.outbox.markHandedOver([{ registrationId: id, dueSeq: 1 }], { checkAfterMs: MINUTE });
    await usher.ledger.cancelRegistration(ids[1]!);

    expect(await usher.outbox.makeAllOpenDue()).toBe(2);

    const due = await usher.outbox.claimDue(LEASE);
    expect(due.map((each) => each.registrationId).toSorted()).toEqual([ids[0], ids[2]]);
  });

  test('everything open is handed over again also when that is thousands', async () => {
    const usher = await store();
    const [id] = await register(usher, 1);
    const { db } = usher.database;
    const row = await db.selectFrom('registration').selectAll().where('id', '=', id!).executeTakeFirstOrThrow();
    for (let chunk = 0; chunk < 5; chunk++) {
      const copies = Array.from({ length: 500 }, () => ({ ...row, id: newId(), due_at: null }));
      await db.insertInto('registration').values(copies).execute();
    }

    expect(await usher.outbox.makeAllOpenDue()).toBe(2501);

    expect((await usher.outbox.depth()).due).toBe(2501);
  });

  test('the sweep asks about each silent registration once per lease, and not about those that are due anyway', async () => {
    const usher = await store();
    const ids = await register(usher, 2);
    await usher.outbox.claimDue(LEASE);
    for (const id of ids) await usher.outbox.markHandedOver([{ registrationId: id, dueSeq: 1 }], { checkAfterMs: -1 });
    await usher.outbox.makeDue(ids[1]!);

    expect(await usher.outbox.claimForCheck(LEASE)).toEqual([ids[0]]);
    expect(await usher.outbox.claimForCheck(LEASE)).toEqual([]);
    await letTimePass(usher, LEASE.leaseMs + 1);
    expect(await usher.outbox.claimForCheck(LEASE)).toEqual([ids[0]]);
    await usher.outbox.postponeCheck(ids[0]!, 10 * MINUTE);
    await letTimePass(usher, 9 * MINUTE);
    expect(await usher.outbox.claimForCheck(LEASE)).toEqual([]);
  });
});
