import { sql } from 'kysely';
import type { Database, Queryable } from '../store/database.ts';
import { appliedMigrations, missingMigrations } from '../store/migrate.ts';
import { tableColumns } from '../store/table-columns.ts';
import { BackupError } from './backup-error.ts';
import type { Cell, Page, Snapshot } from './page.ts';
import { KEYS, rowsPerPage, type TableName, TABLES } from './tables.ts';

/** Where a command looks for a store and finds none. */
export const NO_STORE = 'There is no store of Usher there yet: see that USHER_DATA_DIR and DATABASE_URL name the one that you mean.';

/**
 * Reads everything in the store as it is at one moment, while others write. On the embedded store nobody is held up; its
 * write-ahead log grows by what they write until `read` is done. On PostgreSQL nothing is vacuumed away meanwhile.
 *
 * @throws {BackupError} when there is no store there.
 * @throws {StoreNewerError}
 */
export async function readSnapshot<T>(database: Database, read: (snapshot: Snapshot) => Promise<T>): Promise<T> {
  return await database.db.transaction().setIsolationLevel('repeatable read').setAccessMode('read only').execute(async (tx) => {
    await waitForUs(database, tx);
    const migrations = await appliedMigrations(database, tx);
    if (migrations.length === 0) throw new BackupError(NO_STORE);
    missingMigrations(migrations);
    return await read({ migrations, pages: readPages(database, tx) });
  });
}

/** PostgreSQL ends the transaction of a process that it takes for dead; ours waits for a slow disk, or for leases. */
export async function waitForUs({ dialect }: Database, tx: Queryable): Promise<void> {
  if (dialect === 'postgres') await sql`set local idle_in_transaction_session_timeout = 0`.execute(tx);
}

/** All rows of all tables of ours, a page at a time. */
export async function* readPages(database: Database, tx: Queryable): AsyncGenerator<Page> {
  const columns = await tableColumns(database, tx);
  for (const table of TABLES) {
    const ours = columns.get(table);
    // One that a later migration makes.
    if (ours !== undefined) yield* readTable(tx, table, ours.toSorted());
  }
}

async function* readTable(tx: Queryable, table: TableName, columns: string[]): AsyncGenerator<Page> {
  const limit = rowsPerPage(table);
  const keys = KEYS[table] as readonly string[];
  const keyRefs = sql.join(keys.map((key) => sql.ref(key)));
  const after = (row: Cell[]) => sql.join(keys.map((key) => sql.val(row[columns.indexOf(key)])));
  for (let last: Cell[] | undefined; ; ) {
    const page = await sql<Record<string, unknown>>`
      select ${sql.join(columns.map((column) => sql.ref(column)))} from ${sql.table(table)}
      ${last === undefined ? sql`` : sql`where (${keyRefs}) > (${after(last)})`}
      order by ${keyRefs} limit ${sql.lit(limit)}`.execute(tx);
    const rows = page.rows.map((row) => columns.map((column) => asCell(row[column])));
    if (rows.length > 0 || last === undefined) yield { table, columns, rows };
    if (rows.length < limit) return;
    last = rows.at(-1);
  }
}

function asCell(value: unknown): Cell {
  if (value === null || typeof value === 'string' || typeof value === 'number') return value;
  if (value instanceof Uint8Array) return { base64: Buffer.from(value.buffer, value.byteOffset, value.byteLength).toString('base64') };
  throw new TypeError(`a column holds a ${typeof value}, which a backup does not know`);
}
