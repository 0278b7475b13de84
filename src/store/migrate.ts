import type { Kysely } from 'kysely';
import { type Database, storeNow } from './database.ts';
import * as initial from './migrations/0001-initial.ts';
import * as contract from './migrations/0002-contract.ts';
import * as operations from './migrations/0003-operations.ts';

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

/**
 * Brings the database to the tables of this program, in one transaction: all of it or nothing. Safe when several
 * processes start at once.
 *
 * @throws {StoreNewerError} when the database has a migration that this program does not know; nothing is changed then.
 */
export async function migrate(database: Database): Promise<void> {
  await database.transaction(async (tx) => {
    await database.lockSchema(tx);
    const migrations = tx as unknown as Kysely<{ migration: { name: string; applied_at: number } }>;
    await migrations.schema.createTable('migration').ifNotExists()
      .addColumn('name', 'text', (c) => c.primaryKey())
      .addColumn('applied_at', 'bigint', (c) => c.notNull())
      .execute();
    const rows = await migrations.selectFrom('migration').select('name').execute();
    const applied = new Set(rows.map((row) => row.name));

    const known = new Set(MIGRATIONS.map(([name]) => name));
    const unknown = [...applied].filter((name) => !known.has(name));
    if (unknown.length > 0) throw new StoreNewerError(unknown);

    for (const [name, migration] of MIGRATIONS) {
      if (applied.has(name)) continue;
      await migration.up(tx as unknown as Kysely<unknown>);
      await migrations.insertInto('migration').values({ name, applied_at: await storeNow(database, tx) }).execute();
    }
  });
}
