import { sql } from 'kysely';
import type { Database, Queryable } from '../store/database.ts';
import { appliedMigrations, applyMigrations, missingMigrations } from '../store/migrate.ts';
import { BackupError } from './backup-error.ts';
import { type Cell, createSums, differingTable, type Page, type Snapshot, type Sums } from './page.ts';
import { readPages } from './snapshot.ts';
import { TABLES } from './tables.ts';

/**
 * Fills a store without tables, within the caller's transaction, which holds the schema's lock: makes the tables that the
 * snapshot was made of, puts every row in, compares what stands there now, and brings the tables to those of this program.
 *
 * @throws {BackupError} when the rows do not fit, or are not there afterwards as they were.
 */
export async function load(database: Database, tx: Queryable, { migrations, pages }: Snapshot, signal: AbortSignal): Promise<Sums> {
  await applyMigrations(database, tx, migrations);
  const given = createSums();
  for await (const page of pages) {
    signal.throwIfAborted();
    given.add(page);
    await insert(tx, page);
  }
  const written = createSums();
  for await (const page of readPages(database, tx)) {
    signal.throwIfAborted();
    written.add(page);
  }
  const table = differingTable(given.sums(), written.sums());
  if (table !== null) throw new BackupError(`The rows of ${table} are not in the new store as they were in the old one. Nothing was changed.`);
  await applyMigrations(database, tx, missingMigrations(migrations));
  return given.sums();
}

/** Takes all tables of Usher away, within the caller's transaction. */
export async function dropTables(database: Database, tx: Queryable): Promise<void> {
  // An older program's tables become ours first, so that all of them are known by their names.
  await applyMigrations(database, tx, missingMigrations(await appliedMigrations(database, tx)));
  for (const table of TABLES.toReversed()) await tx.schema.dropTable(table).execute();
  await tx.schema.dropTable('migration').execute();
}

async function insert(tx: Queryable, { table, columns, rows }: Page): Promise<void> {
  if (rows.length === 0) return;
  const values = rows.map((row) => sql`(${sql.join(row.map((cell) => sql.val(asValue(cell))))})`);
  try {
    await sql`insert into ${sql.table(table)} (${sql.join(columns.map((column) => sql.ref(column)))}) values ${sql.join(values)}`.execute(tx);
  } catch (error) {
    const { code } = error as { code?: string };
    // Source: PostgreSQL's SQLSTATE classes 22 (data exception), 23 (integrity constraint violation) and 54 (program limit exceeded).
    if (code === undefined || !/^(22|23|54)/.test(code)) throw error;
    throw new BackupError(`PostgreSQL does not take the rows of ${table} (${(error as Error).message}). Nothing was changed.`, { cause: error });
  }
}

function asValue(cell: Cell): string | number | null | Buffer {
  return typeof cell === 'object' && cell !== null ? Buffer.from(cell.base64, 'base64') : cell;
}
