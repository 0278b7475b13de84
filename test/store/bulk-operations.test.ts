import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { expect, test } from 'vitest';
import type { BulkTask } from '../../src/domain/bulk-operation.ts';
import type { BulkRunner } from '../../src/jobs/bulk-runner.ts';
import { describeEachStore } from '../helpers/each-store.ts';
import { bindActions, prepareStore, type TestStore } from '../helpers/stores.ts';
import { type Bulk, bulkOf, failedSignUps, redrives, untilOperation } from './bulk.ts';

const RUN_BULK = new URL('processes/run-bulk.ts', import.meta.url).pathname;
const REDRIVE: BulkTask = { kind: 'redrive', steps: 'failed', version: 'pinned' };

const times = <T>(count: number, value: T): T[] => Array.from({ length: count }, () => value);

/** Starts a runner, which has moved past three and does not begin with the fourth until it is told to. */
async function runToFourth({ usher: { database }, runner }: { usher: TestStore; runner: Bulk['runner'] }): Promise<{ own: BulkRunner; goOn(): void }> {
  const reached = Promise.withResolvers<void>();
  const told = Promise.withResolvers<void>();
  let begun = 0;
  const own = runner({
    database: {
      async transaction(fn) {
        if (++begun === 4) {
          reached.resolve();
          await told.promise;
        }
        return await database.transaction(fn);
      },
    },
  });
  own.start();
  await reached.promise;
  return { own, goOn: told.resolve };
}

describeEachStore('a bulk operation', (fresh) => {
  async function failed(count: number) {
    const store = await fresh();
    const usher = await prepareStore(store.open());
    await bindActions(usher, [{ name: 'Notify Slack' }]);
    return { ...bulkOf(usher), usher, store, ids: await failedSignUps(usher, count) };
  }

  test('does what is asked for with each registration that was there when it was made, and with none that came later', async () => {
    const { usher, ids, start, finish, items } = await failed(30);
    const { id, createdAt, total } = await start(REDRIVE);
    expect(total).toBe(30);
    await expect.poll(() => Date.now()).toBeGreaterThan(createdAt);
    await failedSignUps(usher, 3);

    const done = await finish(id);

    expect(done).toMatchObject({ state: 'done', total: 30, done: 30, changed: 30, unchanged: 0, failed: 0 });
    expect(done.endedAt).not.toBeNull();
    expect(await redrives(usher)).toEqual([...times(30, 1), ...times(3, 0)]);
    expect((await items(id)).map((item) => [item.registrationId, item.result])).toEqual(ids.map((each) => [each, 'changed']));
    const open = await usher.database.db.selectFrom('registration').select('id').where('state', '=', 'open').where('due_at', 'is not', null).orderBy('id').execute();
    expect(open.map((row) => row.id)).toEqual(ids);
  });

  test('changes nothing more from the moment at which it is paused, and goes on from there', async () => {
    const { usher, operations, runner, start, finish } = await failed(40);
    const { id } = await start(REDRIVE);
    const { own, goOn } = await runToFourth({ usher, runner });
    await operations.setState(id, 'paused', 'client1');
    goOn();
    await own.stop();

    expect(await operations.find(id)).toMatchObject({ state: 'paused', done: 3 });
    expect((await redrives(usher)).filter((count) => count === 1)).toHaveLength(3);
    expect(await operations.claim(1000)).toBeNull();

    await operations.setState(id, 'running', 'client1');
    expect(await finish(id)).toMatchObject({ done: 40, changed: 40 });
    expect(await redrives(usher)).toEqual(times(40, 1));
  });

  test('that is cancelled leaves the rest as it is, and cannot be resumed', async () => {
    const { usher, operations, runner, start } = await failed(40);
    const { id } = await start(REDRIVE);
    const { own, goOn } = await runToFourth({ usher, runner });
    const cancelled = await operations.setState(id, 'cancelled', 'client1');
    goOn();
    await own.stop();

    expect(cancelled.endedAt).not.toBeNull();
    expect(await operations.find(id)).toMatchObject({ state: 'cancelled', done: 3 });
    expect((await redrives(usher)).filter((count) => count === 1)).toHaveLength(3);
    await expect(operations.setState(id, 'running', 'client1')).rejects.toMatchObject({ status: 409 });
    await expect(operations.setState(id, 'cancelled', 'client1')).resolves.toMatchObject({ endedAt: cancelled.endedAt });
  });

  test('goes no faster than its rate', async () => {
    const { operations, runner, start } = await failed(30);
    const { id } = await start(REDRIVE, {}, 20);
    const own = runner();
    const startedAt = performance.now();
    own.start();
    await untilOperation(operations, id, ({ done }) => done >= 20);
    const tookMs = performance.now() - startedAt;
    await own.stop();
    // 20 a second, of which 100 ms may be made up for.
    expect(tookMs).toBeGreaterThan(800);
  });

  test('gives way to a stop, and goes on after a start without waiting for a lease', async () => {
    const { usher, operations, runner, start, finish } = await failed(40);
    const { id } = await start(REDRIVE);
    const { own, goOn } = await runToFourth({ usher, runner });
    const stopped = own.stop();
    goOn();
    await stopped;
    // It ends what it had begun.
    expect(await operations.find(id)).toMatchObject({ state: 'running', done: 4 });
    expect(await operations.claim(0)).toMatchObject({ id, done: 4 });
    expect(await finish(id)).toMatchObject({ done: 40, changed: 40 });
  });

  test('on which several work at once, because a lease ran out, is done once for each', async () => {
    const { usher, operations, runner, start, items } = await failed(60);
    const { id } = await start(REDRIVE);
    let lost = 0;
    const log = (line: string): void => void (line.includes('somebody else works on it now') && lost++);
    const both = [1, 2].map(() => runner({ operations: { claim: () => operations.claim(0), advance: (tx, operation, step) => operations.advance(tx, operation, { ...step, leaseMs: 0 }) }, log }));
    for (const each of both) each.start();
    const done = await untilOperation(operations, id, ({ state }) => state === 'done');
    await Promise.all(both.map((each) => each.stop()));

    expect(lost).toBeGreaterThan(0);
    expect(done).toMatchObject({ done: 60, changed: 60, unchanged: 0, failed: 0 });
    expect(await redrives(usher)).toEqual(times(60, 1));
    expect(await items(id)).toHaveLength(60);
  });

  test('goes on where it was after three kills with -9: nobody is left out, nobody is done twice', async () => {
    const count = 400;
    const { usher, store, operations, start, finish, items } = await failed(count);
    const { id } = await start(REDRIVE);
    for (let round = 1; round <= 3; round++) {
      const child = spawn(process.execPath, [RUN_BULK, store.place, '40'], { stdio: ['ignore', 'ignore', 'inherit'] });
      await once(child, 'exit');
      expect(child.signalCode).toBe('SIGKILL');
      // Each time, the last one was not committed.
      expect(await operations.find(id)).toMatchObject({ state: 'running', done: round * 39 });
      // The lease of the dead process runs out.
      await usher.database.db.updateTable('bulk_operation').set({ claimed_until: 0 }).execute();
    }
    expect(await items(id)).toHaveLength(3 * 39);

    expect(await finish(id)).toMatchObject({ done: count, changed: count, unchanged: 0, failed: 0 });
    expect(await redrives(usher)).toEqual(times(count, 1));
    expect(await items(id)).toHaveLength(count);
  });

  test('records the one that cannot be changed, with the reason, and goes on with the others', async () => {
    const { usher, ids, start, finish, operations } = await failed(5);
    await usher.database.db.updateTable('step').set({ policy: 'damaged' }).where('registration_id', '=', ids[2]!).execute();
    const { id } = await start(REDRIVE);

    expect(await finish(id)).toMatchObject({ done: 5, changed: 4, unchanged: 0, failed: 1 });
    const [bad, ...others] = await operations.listItems(id, { result: 'failed', limit: 10 });
    expect(others).toEqual([]);
    expect(bad).toMatchObject({ subjectId: ids[2], registrationId: null, reason: expect.stringContaining('JSON') });
  });

  test.each(['before', 'after'] as const)('is only delayed by a connection that breaks %s a commit', async (when) => {
    const { usher, operations, runner, start, items } = await failed(10);
    const { id } = await start(REDRIVE);
    const { transaction } = usher.database;
    let commits = 0;
    const flaky: typeof transaction = async (fn) => {
      const isBroken = ++commits === 4;
      const broken = new Error('Connection terminated unexpectedly');
      if (isBroken && when === 'before') throw broken;
      const result = await transaction(fn);
      if (isBroken) throw broken;
      return result;
    };
    let interrupted = 0;
    const own = runner({ database: { transaction: flaky }, log: (line) => void (line.includes('was interrupted') && interrupted++) });
    own.start();
    await expect.poll(() => interrupted).toBe(1);
    expect(await operations.find(id)).toMatchObject({ state: 'running', done: when === 'before' ? 3 : 4 });
    // Its lease runs out.
    await usher.database.db.updateTable('bulk_operation').set({ claimed_until: 0 }).execute();
    const done = await untilOperation(operations, id, ({ state }) => state === 'done');
    await own.stop();

    expect(done).toMatchObject({ done: 10, changed: 10, failed: 0 });
    expect(await redrives(usher)).toEqual(times(10, 1));
    expect(await items(id)).toHaveLength(10);
  });

  test('does not wait for another that is slow', async () => {
    const { operations, runner, start } = await failed(10);
    const slow = await start(REDRIVE, {}, 1);
    const own = runner();
    own.start();
    // It has chosen whom it means.
    await untilOperation(operations, slow.id, ({ done }) => done >= 1);
    const fast = await start({ kind: 'redrive', steps: 'all', version: 'pinned' });
    await untilOperation(operations, fast.id, ({ state }) => state === 'done');
    await own.stop();
    expect(await operations.find(slow.id)).toMatchObject({ state: 'running' });
  });

  test('leaves alone whoever does not match any more when the turn comes', async () => {
    const { usher, ids, operations, runner, start, items } = await failed(3);
    const { id } = await start(REDRIVE, { outcome: 'failed' });
    const own = runner({
      operations: {
        async advance(tx, operation, step) {
          await operations.advance(tx, operation, step);
          if (step.cursor === ids[0]) await tx.updateTable('registration').set({ outcome: 'cancelled' }).where('id', '=', ids[2]!).execute();
        },
      },
    });
    own.start();
    expect(await untilOperation(operations, id, ({ state }) => state === 'done')).toMatchObject({ changed: 2, unchanged: 1 });
    await own.stop();
    expect((await items(id))[2]).toMatchObject({ subjectId: ids[2], result: 'unchanged', reason: 'It does not match any more.' });
    expect(await redrives(usher)).toEqual([1, 1, 0]);
  });

  test('of one user, of an outcome, of a time or of an error means those registrations and no others', async () => {
    const { usher, ids, subjects } = await failed(4);
    const { db } = usher.database;
    const [first, second, third] = ids as [string, string, string];
    const { user_id: userId } = await db.selectFrom('registration').select('user_id').where('id', '=', first).executeTakeFirstOrThrow();
    await db.updateTable('registration').set({ outcome: 'cancelled' }).where('id', '=', second).execute();
    await db.updateTable('registration').set({ connection_name: 'members', source: 'import' }).where('id', '=', third).execute();
    const step = await db.selectFrom('step').selectAll().where('registration_id', '=', third).executeTakeFirstOrThrow();
    await db.updateTable('step').set({ last_attempt: 2 }).where('id', '=', step.id).execute();
    for (const [number, error] of [[1, 'TIMED_OUT'], [2, 'ACTION_THREW']] as const) {
      await db.insertInto('attempt')
        .values({ id: `attempt-${number}`, step_id: step.id, registration_id: third, run: 1, number, phase: 'quick', worker_id: 'w', started_at: 1, leased_until: 1, ended_at: 1, outcome: 'failed', counted: 1, error_type: error })
        .execute();
    }
    const of = async (filter: Parameters<Bulk['start']>[1]) => (await subjects.count({ task: REDRIVE, filter: filter!, createdAt: Date.now() })).sample;

    expect(await of({})).toEqual(ids);
    expect(await of({ userId })).toEqual([first]);
    expect(await of({ outcome: 'cancelled' })).toEqual([second]);
    expect(await of({ connection: 'members' })).toEqual([third]);
    expect(await of({ source: 'import' })).toEqual([third]);
    expect(await of({ errorType: 'ACTION_THREW' })).toEqual([third]);
    expect(await of({ errorType: 'TIMED_OUT' })).toEqual([]);
    expect(await of({ actionId: step.action_id, stepStates: ['failed'] })).toEqual(ids);
    expect(await of({ actionId: 'another' })).toEqual([]);
    expect(await of({ held: true })).toEqual([]);
    expect(await of({ state: 'open' })).toEqual([]);
    expect(await of({ createdFrom: Date.now() + 120_000 })).toEqual([]);
    expect(await of({ createdTo: Date.now() - 120_000 })).toEqual([]);
    expect(await of({ createdFrom: Date.now() - 60_000, createdTo: Date.now() })).toEqual(ids);
  });
});
