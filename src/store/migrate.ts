import type { Kysely } from 'kysely';
import { type Database, type Queryable, storeNow } from './database.ts';
import * as initial from './migrations/0001-initial.ts';
import * as contract from './migrations/0002-contract.ts';
import * as operations from './migrations/0003-operations.ts';
import { tableColumns } from './table-columns.ts';

interface Migration {
  up(db: Kysely<unknown>): Promise<void>;
}

/** In order; a released one is never changed or taken out. */
const MIGRATIONS: [name: string, migration: Migration][] = [
  ['0001-initial', initial],
  ['0002-contract', contract],
  ['0003-operations', operations],
];

/** The database was made by a newer Usher, whose tables this one does not know. */
export class StoreNewerError extends Error {
  constructor(unknown: string[]) {
    super(
      `The database was made by a newer Usher (unknown migrations: ${unknown.join(', ')}). Nothing was changed. ` +
        'Start the newer Usher again, or restore the backup made before it was upgraded.',
    );
    this.name = 'StoreNewerError';
  }
}

/** What stands in the table of migrations itself. */
interface Applied {
  migration: { name: string; applied_at: number };
}

/**
 * Brings the database to the tables of this program, in one transaction: all of it or nothing. Safe when several
 * processes start at once.
 *
 * @returns the names of the migrations that were made now.
 * @throws {StoreNewerError} when the database has a migration that this program does not know; nothing is changed then.
 */
export async function migrate(database: Database): Promise<string[]> {
  return await database.transaction(async (tx) => {
    await database.lockSchema(tx);
    const missing = missingMigrations(await appliedMigrations(database, tx));
    await applyMigrations(database, tx, missing);
    return missing;
  });
}

/** Names of the migrations that the store has; none for one without tables. */
export async function appliedMigrations(database: Database, queryable: Queryable = database.db): Promise<string[]> {
  if (!(await tableColumns(database, queryable)).has('migration')) return [];
  const rows = await withApplied(queryable).selectFrom('migration').select('name').orderBy('name').execute();
  return rows.map((row) => row.name);
}

/**
 * Names of the migrations of this program that are not among the applied ones, in the order to make them in.
 *
 * @throws {StoreNewerError} when one of the applied ones is unknown.
 */
export function missingMigrations(applied: string[]): string[] {
  const known = MIGRATIONS.map(([name]) => name);
  const unknown = applied.filter((name) => !known.includes(name));
  if (unknown.length > 0) throw new StoreNewerError(unknown);
  return known.filter((name) => !applied.includes(name));
}

/** Makes these migrations in the caller's transaction, which holds the schema's lock, and writes down that they were made. */
export async function applyMigrations(database: Database, tx: Queryable, names: string[]): Promise<void> {
  const applied = withApplied(tx);
  await applied.schema.createTable('migration').ifNotExists()
    .addColumn('name', 'text', (c) => c.primaryKey())
    .addColumn('applied_at', 'bigint', (c) => c.notNull())
    .execute();
  for (const [name, migration] of MIGRATIONS.filter(([each]) => names.includes(each))) {
    await migration.up(tx as unknown as Kysely<unknown>);
    await applied.insertInto('migration').values({ name, applied_at: await storeNow(database, tx) }).execute();
  }
}

function withApplied(queryable: Queryable): Kysely<Applied> {
  return queryable as unknown as Kysely<Applied>;
}
