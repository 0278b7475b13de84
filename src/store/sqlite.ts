import { closeSync, openSync } from 'node:fs';
import { DatabaseSync, type StatementSync } from 'node:sqlite';
import { setImmediate as turn, setTimeout as sleep } from 'node:timers/promises';
import {
  CompiledQuery,
  type DatabaseConnection,
  type Driver,
  Kysely,
  type QueryResult,
  type SelectModifierNode,
  SqliteAdapter,
  SqliteIntrospector,
  SqliteQueryCompiler,
  sql,
} from 'kysely';
import type { Database } from './database.ts';
import type { Schema } from './schema.ts';
import { sqliteTextAndJson } from './text-and-json.ts';

/** How long a write waits for the other process (api or worker) to finish its transactions. */
const BUSY_TIMEOUT_MS = 5000;
/** Most transactions take about half a millisecond: for this long each turn of the event loop tries again. */
const BUSY_TURNS_MS = 2;
/** Between tries after that. */
const BUSY_PAUSE_MS = 2;

const SQLITE_BUSY = 5;
const MAX_STATEMENTS = 500;

/**
 * Opens the embedded store, made on first use, readable by its owner only. Several processes can have it open.
 *
 * A commit that has returned survives a crash of the process and a power cut (write-ahead log, synced on each commit).
 *
 * @param options.isEachSynced false: a power cut can take back the last commits, as far as no other process has committed
 *   after them and synced. For a process whose work can be done again; it keeps the disk free for those whose cannot.
 * @throws an error for which `isStoreUnavailable` is true when the file cannot be opened or written.
 */
export function openSqlite(path: string, { isEachSynced = true }: { isEachSynced?: boolean } = {}): Database {
  createOwnerOnly(path);
  const file = new DatabaseSync(path, { timeout: BUSY_TIMEOUT_MS, enableForeignKeyConstraints: true });
  try {
    file.exec('pragma journal_mode = wal');
    file.exec(`pragma synchronous = ${isEachSynced ? 'full' : 'normal'}`);
    // Otherwise macOS syncs as far as the drive's own cache, which a power cut empties. Elsewhere it changes nothing.
    if (isEachSynced) file.exec('pragma fullfsync = on');
    // What is deleted is overwritten: an erased person is not to be found in the free pages of the file.
    file.exec('pragma secure_delete = on');
    // From here on `createRunner` waits instead: SQLite's own waiting would stop the whole process meanwhile.
    file.exec('pragma busy_timeout = 0');
  } catch (error) {
    file.close();
    throw error;
  }
  const db = new Kysely<Schema>({
    dialect: {
      createAdapter: () => new SqliteAdapter(),
      createDriver: () => createDriver(file),
      createIntrospector: (kysely) => new SqliteIntrospector(kysely),
      createQueryCompiler: () => new LocklessQueryCompiler(),
    },
  });
  return {
    db,
    dialect: 'sqlite',
    now: sql<number>`cast(round(unixepoch('subsec') * 1000) as integer)`,
    textAndJson: sqliteTextAndJson(file),
    transaction: (fn) => db.transaction().execute(fn),
    // A transaction excludes all others from its first statement on.
    lockSchema: () => Promise.resolve(),
    lockBindings: () => Promise.resolve(),
    // Its few processes look every second, which costs next to nothing here.
    signal: () => undefined,
    onSignal: () => () => undefined,
    connections: () => null,
    shred: () => {
      // Pages as they were before stand in the write-ahead log until it is emptied.
      const { busy } = file.prepare('pragma wal_checkpoint(truncate)').get() as { busy: number };
      return Promise.resolve(busy === 0);
    },
    close: async () => {
      await db.destroy();
      if (file.isOpen) file.close();
    },
  };
}

/** The write-ahead log and its index take over the rights of the file. */
function createOwnerOnly(path: string): void {
  try {
    closeSync(openSync(path, 'wx', 0o600));
  } catch (error) {
    // Opening an existing file here would be wrong: closing it would drop the locks that this process holds on it.
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  }
}

/** kysely's driver for Node's own SQLite: one connection, which kysely gives to one query or transaction at a time. */
function createDriver(file: DatabaseSync): Driver {
  const connection: DatabaseConnection = {
    executeQuery: createRunner(file),
    streamQuery() {
      throw new TypeError('Streaming is not supported: select a page at a time.');
    },
  };
  const execute = async (text: string) => {
    await connection.executeQuery(CompiledQuery.raw(text));
  };
  return {
    init: () => Promise.resolve(),
    acquireConnection: () => Promise.resolve(connection),
    // As a writer from the start: one that begins as a reader and writes later fails when another was faster. One that
    // only reads holds nobody up.
    beginTransaction: (_connection, { accessMode }) => execute(accessMode === 'read only' ? 'begin' : 'begin immediate'),
    commitTransaction: () => execute('commit'),
    rollbackTransaction: async () => {
      // SQLite has rolled back by itself after some errors (disk full, I/O); a second rollback would hide the first error.
      if (file.isTransaction) await execute('rollback');
    },
    releaseConnection: () => Promise.resolve(),
    destroy: () => {
      file.close();
      return Promise.resolve();
    },
  };
}

/**
 * Runs one statement at a time; while another process writes, tries again without blocking this one. Once that has been
 * in vain for as long as anybody waits, others are refused at once: they stand in one queue, and would wait for the sum.
 */
function createRunner(file: DatabaseSync): <R>(query: CompiledQuery) => Promise<QueryResult<R>> {
  const prepare = createStatementCache(file);
  let busySince: number | null = null;
  return async <R>(query: CompiledQuery) => {
    for (;;) {
      try {
        const result = run<R>(prepare(query.sql), query);
        // Readers never wait for a writer, so they do not know.
        if (!query.sql.startsWith('select')) busySince = null;
        return result;
      } catch (error) {
        // Inside a transaction we hold the lock already, and a statement must not run twice.
        if (!isBusy(error) || file.isTransaction) throw error;
        busySince ??= performance.now();
        const waitedMs = performance.now() - busySince;
        if (waitedMs >= BUSY_TIMEOUT_MS) throw error;
        await (waitedMs < BUSY_TURNS_MS ? turn() : sleep(BUSY_PAUSE_MS));
      }
    }
  };
}

interface Statement {
  statement: StatementSync;
  returnsRows: boolean;
}

/** To prepare a statement takes longer than to run it. */
function createStatementCache(file: DatabaseSync): (text: string) => Statement {
  const cache = new Map<string, Statement>();
  return (text) => {
    const known = cache.get(text);
    if (known !== undefined) return known;
    const statement = file.prepare(text);
    // Those with lists of all lengths must not fill the memory; what is used often is soon there again.
    if (cache.size >= MAX_STATEMENTS) cache.clear();
    const prepared = { statement, returnsRows: statement.columns().length > 0 };
    cache.set(text, prepared);
    return prepared;
  };
}

function run<R>({ statement, returnsRows }: Statement, { parameters }: CompiledQuery): QueryResult<R> {
  const values = parameters as (null | number | bigint | string | NodeJS.ArrayBufferView)[];
  if (returnsRows) return { rows: statement.all(...values) as R[] };
  const { changes } = statement.run(...values);
  return { rows: [], numAffectedRows: BigInt(changes) };
}

function isBusy(error: unknown): boolean {
  const { errcode } = error as { errcode?: number };
  return errcode !== undefined && (errcode & 0xff) === SQLITE_BUSY;
}

/** Leaves `for update` and `skip locked` out: SQLite has neither and needs neither. */
class LocklessQueryCompiler extends SqliteQueryCompiler {
  protected override visitSelectModifier(node: SelectModifierNode): void {
    if (node.modifier !== 'ForUpdate' && node.modifier !== 'SkipLocked') super.visitSelectModifier(node);
  }
}
