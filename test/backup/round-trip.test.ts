import { mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as fc from 'fast-check';
import { sql } from 'kysely';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { openBackup, writeBackup } from '../../src/backup/backup-file.ts';
import { load } from '../../src/backup/load.ts';
import { readSnapshot } from '../../src/backup/snapshot.ts';
import { KEYS, TABLES } from '../../src/backup/tables.ts';
import { newId } from '../../src/domain/ids.ts';
import type { Database } from '../../src/store/database.ts';
import { migrate } from '../../src/store/migrate.ts';
import { openSqlite } from '../../src/store/sqlite.ts';
import { describeEachStore } from '../helpers/each-store.ts';
import { contents, fillEveryTable } from './every-table.ts';

const { signal } = new AbortController();
let dir: string;
const opened: Database[] = [];

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'usher-backup-'));
});
afterAll(async () => {
  await Promise.all(opened.map((database) => database.close()));
  await rm(dir, { recursive: true, force: true });
});

function embedded(): Database {
  const database = openSqlite(join(dir, `${newId()}.db`));
  opened.push(database);
  return database;
}

async function backUp(database: Database): Promise<string> {
  const path = join(dir, `${newId()}.gz`);
  await readSnapshot(database, (snapshot) => writeBackup(path, snapshot, { dialect: database.dialect, signal }));
  return path;
}

async function loadFrom(path: string, database: Database): Promise<void> {
  const backup = await openBackup(path);
  await database.transaction(async (tx) => void (await load(database, tx, backup, signal)));
}

test('every table that the migrations make is in a backup, told apart by its primary key, after those that it refers to', async () => {
  const { db } = embedded();
  await migrate(opened.at(-1)!);
  const made = (await db.introspection.getTables()).map(({ name }) => name).filter((name) => name !== 'migration');
  expect(made.toSorted()).toEqual(TABLES.toSorted());
  for (const table of TABLES) {
    const { rows: columns } = await sql<{ name: string; pk: number }>`select name, pk from pragma_table_info(${table}) where pk > 0 order by pk`.execute(db);
    expect(KEYS[table], table).toEqual(columns.map(({ name }) => name));
    const { rows: parents } = await sql<{ parent: (typeof TABLES)[number] }>`select "table" as parent from pragma_foreign_key_list(${table})`.execute(db);
    for (const { parent } of parents) expect(TABLES.indexOf(parent), `${table} refers to ${parent}`).toBeLessThan(TABLES.indexOf(table));
  }
});

describeEachStore('a backup', (fresh) => {
  test('holds every row of every table as it was, for a store of either kind', async () => {
    const source = (await fresh()).open();
    await migrate(source);
    await fillEveryTable(source, TABLES);
    const before = await contents(source, TABLES);
    for (const table of TABLES) expect(before[table]!.length, table).toBeGreaterThan(100);

    const path = await backUp(source);
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    const [same, other] = [(await fresh()).open(), embedded()];
    await loadFrom(path, same);
    await loadFrom(path, other);

    expect(await contents(same, TABLES)).toEqual(before);
    expect(await contents(other, TABLES)).toEqual(before);
    // And from the embedded store back to this one.
    const back = (await fresh()).open();
    await loadFrom(await backUp(other), back);
    expect(await contents(back, TABLES)).toEqual(before);
    expect(await back.db.introspection.getTables()).toEqual(await source.db.introspection.getTables());
  });

  test('is of one moment: what is written while it is made is not in it, also where it refers to nothing that is', async () => {
    const store = await fresh();
    const [source, writer] = [store.open(), store.open()];
    await migrate(source);
    const add = (name: string) => writer.db.insertInto('flow').values({ id: name, failures: 0, updated_at: 1 }).execute();
    const set = (name: string) => writer.db.insertInto('setting').values({ name, value: 'x' }).execute();
    await add('before');
    const path = join(dir, `${newId()}.gz`);
    await readSnapshot(source, async ({ migrations, pages }) => {
      async function* withWrites() {
        for await (const page of pages) {
          yield page;
          await add(`while ${page.table} was read`);
          await set(`while ${page.table} was read`);
        }
      }
      await writeBackup(path, { migrations, pages: withWrites() }, { dialect: source.dialect, signal });
    });

    const target = (await fresh()).open();
    await loadFrom(path, target);
    expect(await target.db.selectFrom('flow').select('id').execute()).toEqual([{ id: 'before' }]);
    expect(await target.db.selectFrom('setting').select('name').execute()).toEqual([]);
    expect((await writer.db.selectFrom('flow').select('id').execute()).length).toBe(TABLES.length + 1);
  });

  test('keeps any text and any number', async () => {
    const text = fc.string({ unit: 'binary' }).filter((each) => !each.includes('\0') && each.isWellFormed());
    const row = fc.record({ name: text, value: text, number: fc.maxSafeInteger(), maybe: fc.option(text) });
    await fc.assert(
      fc.asyncProperty(fc.uniqueArray(row, { selector: ({ name }) => name, maxLength: 40 }), async (rows) => {
        const source = embedded();
        await migrate(source);
        for (const { name, value, number, maybe } of rows) {
          await source.db.insertInto('setting').values({ name, value }).execute();
          await source.db.insertInto('flow').values({ id: name, failures: 0, paused_at: number, paused_by: maybe, updated_at: -number }).execute();
        }
        const target = (await fresh()).open();
        await loadFrom(await backUp(source), target);
        expect(await contents(target, ['setting', 'flow'])).toEqual(await contents(source, ['setting', 'flow']));
      }),
      { numRuns: 4 },
    );
  });
});
