import { CompiledQuery, type KyselyPlugin } from 'kysely';
import { expect, test } from 'vitest';
import type { BulkTask } from '../../src/domain/bulk-operation.ts';
import { createBulkSubjects } from '../../src/store/bulk-subjects.ts';
import type { Database } from '../../src/store/database.ts';
import { describeEachStore } from '../helpers/each-store.ts';
import { bindActions, prepareStore, type TestStore } from '../helpers/stores.ts';
import { boundActionId, bulkOf, failedSignUps } from './bulk.ts';

const COUNT = 3000;
/** Of which one in ten is meant. */
const MEANT = COUNT / 10;

/** The same store, which notes each different statement that is asked of it. */
function noting(database: Database): { database: Database; statements: Set<string> } {
  const statements = new Set<string>();
  const plugin: KyselyPlugin = {
    transformQuery({ node, queryId }) {
      statements.add(database.db.getExecutor().compileQuery(node, queryId).sql);
      return node;
    },
    transformResult: ({ result }) => Promise.resolve(result),
  };
  const db = database.db.withPlugin(plugin);
  return { database: { ...database, db, transaction: (fn) => db.transaction().execute(fn) }, statements };
}

/** Copies one failed registration until there are many: signing them all up would take a minute. */
async function multiply(usher: TestStore): Promise<void> {
  const { db } = usher.database;
  await failedSignUps(usher, 1);
  const registration = await db.selectFrom('registration').selectAll().executeTakeFirstOrThrow();
  const step = await db.selectFrom('step').selectAll().executeTakeFirstOrThrow();
  for (let from = 1; from < COUNT; from += 100) {
    const numbers = Array.from({ length: Math.min(100, COUNT - from) }, (_, index) => from + index);
    const idOf = (n: number): string => `${registration.id.slice(0, -8)}${n.toString(16).padStart(8, '0')}`;
    await db.insertInto('registration').values(numbers.map((n) => ({ ...registration, id: idOf(n), user_id: `auth0|${n}`, outcome: n % 10 === 0 ? ('failed' as const) : ('cancelled' as const) }))).execute();
    await db.insertInto('step').values(numbers.map((n) => ({ ...step, id: `step-${n}`, registration_id: idOf(n) }))).execute();
  }
}

describeEachStore(`a bulk operation among ${COUNT} registrations`, (fresh) => {
  test('reads no table as a whole', async () => {
    const opened = (await fresh()).open();
    const usher = await prepareStore(opened);
    await bindActions(usher, [{ name: 'Notify Slack' }]);
    await multiply(usher);
    await bindActions(usher, [{ name: 'Count' }]);
    const { database, statements } = noting(opened);
    const bulk = bulkOf({ ...usher, database });

    const tasks: BulkTask[] = [{ kind: 'redrive', steps: 'failed', version: 'pinned' }, { kind: 'backfill', actionId: await boundActionId(usher), of: 'registrations' }];
    for (const task of tasks) {
      const { id, total } = await bulk.start(task, { outcome: 'failed' });
      expect(total).toBe(task.kind === 'redrive' ? MEANT : 0);
      expect(await bulk.finish(id)).toMatchObject({ done: total, changed: total });
    }
    const { id } = await bulk.start(tasks[1]!, { userId: 'auth0|1' });
    expect(await bulk.finish(id)).toMatchObject({ total: 1, changed: 1 });

    const asked = [...statements].filter((sql) => /"(registration|step|attempt|bulk_item)"/.test(sql) && !sql.startsWith('insert'));
    expect(asked.length).toBeGreaterThan(5);
    // Whose plans are made without knowing the rows.
    if (database.dialect !== 'sqlite') return;
    const readsAll = async (sql: string): Promise<boolean> => {
      const parameters = Array.from({ length: sql.split('?').length - 1 }, () => null);
      const { rows } = await opened.db.executeQuery<{ detail: string }>(CompiledQuery.raw(`explain query plan ${sql}`, parameters));
      return rows.some(({ detail }) => /^SCAN (registration|step|attempt|bulk_item|own)\b/.test(detail));
    };
    expect(await readsAll('select id from registration where dispatch_error = ?')).toBe(true);
    for (const sql of asked) expect(await readsAll(sql), sql).toBe(false);
  });

  test('a backfill of an Action that all have had finds nobody, without reading its steps once for each', async () => {
    const usher = await prepareStore((await fresh()).open());
    await bindActions(usher, [{ name: 'Notify Slack' }]);
    await multiply(usher);
    const subjects = createBulkSubjects(usher);
    const startedAt = performance.now();
    expect(await subjects.count({ task: { kind: 'backfill', actionId: await boundActionId(usher), of: 'registrations' }, filter: {}, createdAt: Date.now() })).toMatchObject({ total: 0 });
    expect(performance.now() - startedAt).toBeLessThan(10_000);
  });
});
