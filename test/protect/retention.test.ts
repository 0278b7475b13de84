import { CompiledQuery } from 'kysely';
import { expect, test } from 'vitest';
import { createRetentionSweep } from '../../src/store/retention.ts';
import { writeExecution } from '../../src/store/executions.ts';
import { writeHandedIn } from '../../src/store/handed-in.ts';
import { removeUnused } from '../../src/store/unused.ts';
import { createLogStore } from '../../src/store/logs.ts';
import { describeEachStore } from '../helpers/each-store.ts';
import { bindActions, prepareStore, signUpOf, type TestStore } from '../helpers/stores.ts';

const DAY_MS = 24 * 60 * 60_000;

/** A registration that succeeded, or one that is open. */
async function registration(usher: TestStore, email: string, isClosed: boolean): Promise<string> {
  const id = `execution-of-${email}`;
  const { registrationId } = await usher.register(signUpOf(email, {
    preExecution: { id, status: 'final', results: [], createdAt: 1, updatedAt: 1 },
    alsoWrite: (tx, made) => writeHandedIn(tx, { clientId: 'c', key: email, content: {} }, { id: made, createdAt: 1 }),
  }));
  if (!isClosed) return registrationId;
  const [step] = await usher.ledger.loadOpenSteps(registrationId);
  const claim = await usher.ledger.claimStep({ registrationId, stepId: step!.stepId, phase: 'quick', workerId: 'w', leaseMs: 30_000 });
  if (claim.claim !== 'claimed') throw new Error('not claimed');
  await usher.ledger.settleAttempt({ attemptId: claim.step.attempt.id, outcome: 'succeeded', endedAt: 1, retryAfterMs: 0, logs: [], logsTruncated: false, calls: [], cacheChanges: [] });
  await usher.ledger.closeRegistration(registrationId);
  return registrationId;
}

async function sweep(usher: TestStore, retention: { registrations: number | null; logs: number | null }, now: number): Promise<number> {
  const { step } = createRetentionSweep({ database: usher.database, retention });
  for (let batches = 1; batches < 100; batches++) if (!(await step(now))) return batches;
  throw new Error('it does not come to an end');
}

async function counts({ database: { db } }: TestStore): Promise<Record<string, number>> {
  const tables = ['registration', 'step', 'attempt', 'execution', 'handed_in', 'log'] as const;
  const rows = await Promise.all(tables.map(async (table) => [table, (await db.selectFrom(table).selectAll().execute()).length] as const));
  return Object.fromEntries(rows);
}

describeEachStore('retention', (fresh) => {
  test('what is closed for longer goes with everything about it, what is open stays', async () => {
    const usher = await prepareStore((await fresh()).open());
    await bindActions(usher, [{ name: 'Notify' }]);
    const closed = await registration(usher, 'closed@example.com', true);
    const open = await registration(usher, 'open@example.com', false);
    const keys = async () => (await usher.database.db.selectFrom('data_key').select('id').execute()).length;
    const before = await keys();

    await sweep(usher, { registrations: 90, logs: null }, Date.now() + 89 * DAY_MS);
    expect(await counts(usher)).toEqual({ registration: 2, step: 2, attempt: 1, execution: 2, handed_in: 2, log: 2 });

    await sweep(usher, { registrations: 90, logs: null }, Date.now() + 91 * DAY_MS);
    expect(await counts(usher)).toEqual({ registration: 1, step: 1, attempt: 0, execution: 1, handed_in: 1, log: 1 });
    expect(await keys()).toBe(before - 1);
    expect(await usher.ledger.readRegistration(closed)).toBeNull();
    expect(await usher.ledger.loadOpenSteps(open)).toHaveLength(1);
    // Whoever reads the log meets no entry whose key is gone.
    expect(await createLogStore(usher).page({ limit: 10, offset: 0, order: 'asc' })).toHaveLength(1);
  });

  test('a sign-up that was denied goes by its own age, and so does the tenant log', async () => {
    const usher = await prepareStore((await fresh()).open());
    await bindActions(usher, []);
    await usher.register(signUpOf('ann@example.com'));
    const id = '00000000-0001-7000-8000-000000000000';
    await writeExecution(usher.database.db, usher.keyring, { id, status: 'final', results: [], createdAt: 1, updatedAt: 1 }, null);

    await sweep(usher, { registrations: null, logs: null }, Date.now() + 1000 * DAY_MS);
    expect(await counts(usher)).toMatchObject({ registration: 1, execution: 1, log: 1 });
    await sweep(usher, { registrations: 90, logs: 30 }, Date.now() + 29 * DAY_MS);
    expect(await counts(usher)).toMatchObject({ registration: 1, execution: 0, log: 1 });
    await sweep(usher, { registrations: 90, logs: 30 }, Date.now() + 31 * DAY_MS);
    expect(await counts(usher)).toMatchObject({ registration: 1, log: 0 });
  });

  test('a bulk operation goes with what it says of each, once it has ended for as long; one that runs stays', async () => {
    const usher = await prepareStore((await fresh()).open());
    const { db } = usher.database;
    const operation = { kind: 'redrive', filter: '{}', options: '{}', cursor: '', rate: 1, total: 1, done: 1, changed: 1, failed: 0, created_by: 'c', created_at: 1, updated_at: 1 } as const;
    await db.insertInto('bulk_operation').values([{ ...operation, id: 'ended', state: 'done', ended_at: Date.now() }, { ...operation, id: 'runs', state: 'running' }]).execute();
    await db.insertInto('bulk_item').values(Array.from({ length: 450 }, (_, n) => ({ operation_id: n < 449 ? 'ended' : 'runs', subject_id: `r${n}`, result: 'changed' as const, at: 1 }))).execute();

    await sweep(usher, { registrations: 90, logs: null }, Date.now() + 89 * DAY_MS);
    expect(await db.selectFrom('bulk_operation').select('id').orderBy('id').execute()).toEqual([{ id: 'ended' }, { id: 'runs' }]);

    await sweep(usher, { registrations: 90, logs: null }, Date.now() + 91 * DAY_MS);
    expect(await db.selectFrom('bulk_operation').select('id').execute()).toEqual([{ id: 'runs' }]);
    expect(await db.selectFrom('bulk_item').select('subject_id').execute()).toEqual([{ subject_id: 'r449' }]);
  });

  test('many are removed in small batches', async () => {
    const usher = await prepareStore((await fresh()).open());
    await bindActions(usher, []);
    for (let n = 0; n < 35; n++) await usher.register(signUpOf(`user${n}@example.com`));
    expect(await sweep(usher, { registrations: 1, logs: null }, Date.now() + 2 * DAY_MS)).toBe(4);
    expect(await counts(usher)).toMatchObject({ registration: 0, log: 0 });
  });

  test('the version of a deleted Action goes once no registration has it any more', async () => {
    const usher = await prepareStore((await fresh()).open());
    const { db } = usher.database;
    await bindActions(usher, [{ name: 'Notify' }]);
    await registration(usher, 'ann@example.com', true);
    await db.deleteFrom('binding').execute();
    await db.deleteFrom('action').execute();
    await db.updateTable('action_version').set({ updated_at: '2020-01-01T00:00:00.000Z' }).execute();
    const versions = async () => (await db.selectFrom('action_version').select('id').execute()).length;

    await removeUnused(usher.database);
    expect(await versions()).toBe(1);
    await sweep(usher, { registrations: 1, logs: null }, Date.now() + 2 * DAY_MS);
    await removeUnused(usher.database);
    expect(await versions()).toBe(0);
  });

  test('executions of denied sign-ups are found without reading those of registrations', async () => {
    const usher = await prepareStore((await fresh()).open());
    const { db, dialect } = usher.database;
    if (dialect !== 'sqlite') return;
    const asked: string[] = [];
    const noting = db.withPlugin({
      transformQuery({ node, queryId }) {
        asked.push(db.getExecutor().compileQuery(node, queryId).sql);
        return node;
      },
      transformResult: ({ result }) => Promise.resolve(result),
    });
    await createRetentionSweep({ database: { ...usher.database, db: noting }, retention: { registrations: 1, logs: null } }).step();
    const query = asked.find((sql) => sql.includes('"execution"'))!;
    const { rows } = await db.executeQuery<{ detail: string }>(CompiledQuery.raw(`explain query plan ${query}`, ['a', 1]));
    expect(rows.map(({ detail }) => detail).join()).toContain('execution_denied');
  });
});
