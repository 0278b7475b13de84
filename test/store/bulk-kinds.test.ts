import { expect, test } from 'vitest';
import { newId, newUserId, nowIsoNanos } from '../../src/domain/ids.ts';
import type { BulkTask } from '../../src/domain/bulk-operation.ts';
import { sealedAs } from '../../src/store/ledger-rows.ts';
import { describeEachStore } from '../helpers/each-store.ts';
import { bindActions, prepareStore, type TestStore } from '../helpers/stores.ts';
import { boundActionId, bulkOf, failedSignUps, signUps } from './bulk.ts';

/** The steps of all registrations, in the order of registration and position. */
async function steps({ database: { db } }: TestStore) {
  return await db.selectFrom('step').selectAll().orderBy('registration_id').orderBy('position').execute();
}

async function states(usher: TestStore): Promise<string[]> {
  return (await steps(usher)).map(({ action_name: name, state }) => `${name}: ${state}`);
}

/** Deploys a next version of an Action. @returns its id */
async function deployAgain({ database: { db } }: TestStore, actionId: string): Promise<string> {
  const last = await db.selectFrom('action_version').selectAll().where('action_id', '=', actionId).orderBy('number', 'desc').executeTakeFirstOrThrow();
  const id = newId();
  await db.insertInto('action_version').values({ ...last, id, number: last.number + 1, created_at: nowIsoNanos() }).execute();
  await db.updateTable('action').set({ deployed_version_id: id }).where('id', '=', actionId).execute();
  return id;
}

/** A user who came to be without a registration. */
async function importUser({ database: { db } }: TestStore, email: string, createdAt = Date.now()): Promise<string> {
  const { id: connectionId } = await db.selectFrom('connection').select('id').executeTakeFirstOrThrow();
  const id = `auth0|${newUserId()}`;
  await db.insertInto('user_account')
    .values({ id, connection_id: connectionId, email, email_verified: 1, phone_verified: 0, profile: '{"name":"Ann"}', user_metadata: '{"plan":"gold"}', app_metadata: '{}', created_at: createdAt, updated_at: createdAt })
    .execute();
  return id;
}

describeEachStore('a bulk operation of the kind', (fresh) => {
  async function prepared(...names: string[]) {
    const usher = await prepareStore((await fresh()).open());
    await bindActions(usher, names.map((name) => ({ name })));
    return { usher, ...bulkOf(usher) };
  }

  test('cancel ends what is open, and leaves alone what has ended', async () => {
    const { usher, start, finish } = await prepared('Notify');
    await failedSignUps(usher, 2);
    await signUps(usher, 3);
    const { id, total } = await start({ kind: 'cancel' });
    expect(total).toBe(3);
    expect(await finish(id)).toMatchObject({ done: 3, changed: 3 });
    expect(await states(usher)).toEqual([...Array.from({ length: 2 }, () => 'Notify: failed'), ...Array.from({ length: 3 }, () => 'Notify: cancelled')]);
  });

  test('retry makes the waiting steps of one Action due now', async () => {
    const { usher, start, finish } = await prepared('Notify', 'Count');
    await signUps(usher, 2);
    const { db } = usher.database;
    await db.updateTable('step').set({ state: 'parked', phase: 'long', next_at: Date.now() + 3_600_000 }).execute();
    const { id } = await start({ kind: 'retry', actionId: await boundActionId(usher) });
    expect(await finish(id)).toMatchObject({ total: 2, done: 2, changed: 2 });
    expect((await steps(usher)).map(({ action_name: name, next_at: at }) => [name, at === null])).toEqual([['Notify', true], ['Count', false], ['Notify', true], ['Count', false]]);

    // All that wait now, of any Action: of each registration one still does.
    const all = await start({ kind: 'retry' });
    expect(await finish(all.id)).toMatchObject({ changed: 2 });
    const none = await start({ kind: 'retry' });
    expect(await finish(none.id)).toMatchObject({ done: 2, changed: 0, unchanged: 2 });
  });

  test('skip says of one Action that it is not to run', async () => {
    const { usher, start, finish } = await prepared('Notify', 'Count');
    await signUps(usher, 2);
    const { id } = await start({ kind: 'skip', actionId: await boundActionId(usher) });
    expect(await finish(id)).toMatchObject({ total: 2, changed: 2 });
    expect(await states(usher)).toEqual(['Notify: skipped', 'Count: pending', 'Notify: skipped', 'Count: pending']);
    expect(await start({ kind: 'skip', actionId: await boundActionId(usher) })).toMatchObject({ total: 0 });
  });

  test('redrive of what waits or has failed of an Action moves it to the deployed version, and nothing of other Actions', async () => {
    const { usher, start, finish } = await prepared('Notify', 'Count');
    const { db } = usher.database;
    const [failed, parked, pending, succeeded] = await signUps(usher, 4) as [string, string, string, string];
    const actionId = await boundActionId(usher);
    const set = (id: string, change: object) => db.updateTable('step').set(change).where('registration_id', '=', id).execute();
    await set(failed, { state: 'failed', ended_at: 1, phase_started_at: 1 });
    await db.updateTable('registration').set({ state: 'closed', outcome: 'failed', closed_at: 1, due_at: null }).where('id', '=', failed).execute();
    await set(parked, { state: 'parked', phase: 'long', next_at: Date.now() + 3_600_000, phase_started_at: 1 });
    await set(succeeded, { state: 'succeeded', ended_at: 1, phase_started_at: 1 });
    const before = (await steps(usher))[0]!.version_id;
    const deployed = await deployAgain(usher, actionId);

    const { id, total } = await start({ kind: 'redrive', steps: 'waiting-and-failed', actionId, version: 'deployed' });
    expect(total).toBe(3);
    expect(await finish(id)).toMatchObject({ done: 3, changed: 3 });

    const notify = (await steps(usher)).filter((step) => step.action_id === actionId);
    expect(notify.map((step) => [step.registration_id, step.state, step.version_id])).toEqual([
      [failed, 'pending', deployed],
      [parked, 'pending', deployed],
      [pending, 'pending', deployed],
      [succeeded, 'succeeded', before],
    ]);
    expect((await states(usher)).filter((state) => state.startsWith('Count'))).toEqual(['Count: failed', 'Count: parked', 'Count: pending', 'Count: succeeded']);
  });

  test('backfill runs an Action for registrations that never had it, once, after the first attempts of others', async () => {
    const { usher, start, finish, items } = await prepared('Notify');
    const { db } = usher.database;
    const [closed, open] = await signUps(usher, 2) as [string, string];
    await db.updateTable('step').set({ state: 'succeeded', ended_at: 1 }).where('registration_id', '=', closed).execute();
    await db.updateTable('registration').set({ state: 'closed', outcome: 'succeeded', closed_at: 1, due_at: null }).where('id', '=', closed).execute();
    await bindActions(usher, [{ name: 'Count', policy: { timeoutMs: 7000 } }]);
    const [had] = await signUps(usher, 1);
    const task: BulkTask = { kind: 'backfill', actionId: await boundActionId(usher), of: 'registrations' };

    const { id, total } = await start(task);
    expect(total).toBe(2);
    expect(await finish(id)).toMatchObject({ done: 2, changed: 2 });

    expect(await states(usher)).toEqual(['Notify: succeeded', 'Count: pending', 'Notify: pending', 'Count: pending', 'Count: pending']);
    const added = (await steps(usher)).filter((step) => step.position === 1);
    expect(added.map((step) => [step.registration_id, step.redrives, (JSON.parse(step.policy) as { timeoutMs: number }).timeoutMs])).toEqual([[closed, 1, 7000], [open, 1, 7000]]);
    const rows = await db.selectFrom('registration').select(['id', 'state', 'outcome']).where('due_at', 'is not', null).orderBy('id').execute();
    expect(rows).toEqual([closed, open, had].map((each) => ({ id: each, state: 'open', outcome: null })));
    expect((await items(id)).map((item) => item.registrationId)).toEqual([closed, open]);

    const again = await start(task);
    expect(again.total).toBe(0);
    expect(await finish(again.id)).toMatchObject({ done: 0, changed: 0 });
    expect(await steps(usher)).toHaveLength(5);
  });

  test('backfill gives the Action once to a user with several registrations, also when two backfills meet', async () => {
    const { usher, start, runner, operations } = await prepared('Notify');
    const { db } = usher.database;
    const ids = await signUps(usher, 20);
    await db.updateTable('registration').set({ user_id: 'acme|1' }).where('id', 'in', ids).execute();
    await bindActions(usher, [{ name: 'Count' }]);
    const task: BulkTask = { kind: 'backfill', actionId: await boundActionId(usher), of: 'registrations' };
    const started = [await start(task), await start(task)];
    expect(started.map(({ total }) => total)).toEqual([20, 20]);

    const both = started.map(() => runner());
    for (const each of both) each.start();
    await expect.poll(async () => (await operations.list({ state: 'done', limit: 10 })).length).toBe(2);
    await Promise.all(both.map((each) => each.stop()));

    expect((await states(usher)).filter((state) => state.startsWith('Count'))).toEqual(['Count: pending']);
    const results = await operations.list({ limit: 10 });
    expect(results.map(({ changed }) => changed).reduce((sum, each) => sum + each)).toBe(1);
    expect(results.every(({ failed }) => failed === 0)).toBe(true);
  });

  test('backfill behind an Action that failed and must succeed first waits for it', async () => {
    const { usher, start, finish, items } = await prepared();
    await bindActions(usher, [{ name: 'Provision', policy: { onFailure: 'wait' } }]);
    const [registration] = await failedSignUps(usher, 1);
    await bindActions(usher, [{ name: 'Count' }]);
    const { id } = await start({ kind: 'backfill', actionId: await boundActionId(usher), of: 'registrations' });
    expect(await finish(id)).toMatchObject({ changed: 1 });
    expect(await states(usher)).toEqual(['Provision: failed', 'Count: blocked']);
    expect((await items(id))[0]!.reason).toBe("It waits for the success of 'Provision', which is failed: redrive or skip that.");
    expect(await usher.database.db.selectFrom('registration').select(['id', 'state']).execute()).toEqual([{ id: registration, state: 'closed' }]);

    const redrive = await start({ kind: 'redrive', steps: 'failed', version: 'pinned' });
    await finish(redrive.id);
    expect(await states(usher)).toEqual(['Provision: pending', 'Count: pending']);
  });

  test('backfill of users makes a registration of each who has none, with the user as it is kept', async () => {
    const { usher, start, finish, items } = await prepared('Notify', 'Count');
    const { db } = usher.database;
    await signUps(usher, 1);
    const imported = [await importUser(usher, 'bea@example.com'), await importUser(usher, 'cy@example.com')].toSorted();
    const task: BulkTask = { kind: 'backfill', actionId: await boundActionId(usher), of: 'users' };

    const { id, total } = await start(task);
    expect(total).toBe(2);
    expect(await finish(id)).toMatchObject({ done: 2, changed: 2 });

    const made = await items(id);
    expect(made.map((item) => item.subjectId)).toEqual(imported);
    for (const { subjectId, registrationId } of made) {
      const row = await db.selectFrom('registration').selectAll().where('id', '=', registrationId).executeTakeFirstOrThrow();
      expect(row).toMatchObject({ user_id: subjectId, source: 'backfill', state: 'open' });
      expect(row.due_at).not.toBeNull();
      const event = await usher.keyring.openJson<{ user: object; request?: object }>(row.key_id, sealedAs.event(row.id), row.event_sealed);
      expect(event.user).toMatchObject({ user_id: subjectId, email_verified: true, name: 'Ann', user_metadata: { plan: 'gold' } });
      expect(event.request).toBeUndefined();
      expect((await steps(usher)).filter((step) => step.registration_id === row.id)).toMatchObject([{ action_name: 'Notify', redrives: 1, state: 'pending' }]);
    }

    expect(await start(task)).toMatchObject({ total: 0 });
    expect(await start({ ...task, of: 'registrations' })).toMatchObject({ total: 0 });
  });

  test('backfill of users is for those who came in the time that the filter says, its ends included', async () => {
    const { usher, start, finish, items } = await prepared('Notify');
    const ids: string[] = [];
    for (const createdAt of [999, 1000, 1500, 2000, 2001]) ids.push(await importUser(usher, `at-${createdAt}@example.com`, createdAt));
    const { id, total } = await start({ kind: 'backfill', actionId: await boundActionId(usher), of: 'users' }, { createdFrom: 1000, createdTo: 2000 });
    expect(total).toBe(3);
    expect(await finish(id)).toMatchObject({ done: 3, changed: 3 });
    expect((await items(id)).map(({ subjectId }) => subjectId).toSorted()).toEqual(ids.slice(1, 4).toSorted());
  });

  test('backfill with an Action that nobody can run any more changes nothing, and says why', async () => {
    const { usher, start, finish, items } = await prepared('Notify');
    await failedSignUps(usher, 1);
    await bindActions(usher, [{ name: 'Count' }]);
    const actionId = await boundActionId(usher);
    const { id } = await start({ kind: 'backfill', actionId, of: 'registrations' });
    await usher.database.db.updateTable('action').set({ deployed_version_id: null }).where('id', '=', actionId).execute();
    expect(await finish(id)).toMatchObject({ changed: 0, unchanged: 1 });
    expect((await items(id))[0]!.reason).toContain('not deployed');
  });
});
