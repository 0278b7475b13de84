import type { Kysely, RawBuilder, Transaction } from 'kysely';
import { PostgresUnreachableError } from './postgres-pool.ts';
import type { Schema } from './schema.ts';
import type { TextAndJson } from './text-and-json.ts';

/**
 * The store: one schema and one set of queries on SQLite and PostgreSQL. What differs between the two is in
 * `sqlite.ts` and `postgres.ts`; locking clauses (`forUpdate`, `skipLocked`) are written as for PostgreSQL and left
 * out on SQLite, whose transactions exclude each other anyway.
 */
export interface Database {
  readonly db: Kysely<Schema>;
  readonly dialect: 'sqlite' | 'postgres';
  /**
   * SQL expression: the store's clock in milliseconds at the start of the statement, the one clock that all processes
   * share. Leases are measured by it.
   */
  readonly now: RawBuilder<number>;
  /** Expressions that each dialect writes in its own way. */
  readonly textAndJson: TextAndJson;
  /**
   * Runs `fn` in one transaction: committed when its promise resolves, rolled back when it rejects.
   *
   * Inside, use only `tx`: on SQLite, a query through `db` would wait for this very transaction. Do not wait there for
   * anything but the store.
   */
  transaction<T>(fn: (tx: Transaction<Schema>) => Promise<T>): Promise<T>;
  /** Holds every other caller of this function back until `tx` ends. For migrations. */
  lockSchema(tx: Transaction<Schema>): Promise<void>;
  /** Holds every other caller with this trigger back until `tx` ends. */
  lockBindings(tx: Transaction<Schema>, triggerId: string): Promise<void>;
  /**
   * Tells the other processes on this store that there is something to look for. To be called after the commit that made
   * it, and not awaited. A signal can be lost: whoever waits for one also looks now and then. On the embedded store, none
   * is sent.
   */
  signal(channel: Signal): void;
  /**
   * Calls `listener` when another process gives this signal, and when one may have been missed.
   *
   * @returns what ends it.
   */
  onSignal(channel: Signal, listener: () => void): () => void;
  /** Connections of this process to PostgreSQL; null on the embedded store. */
  connections(): StoreConnections | null;
  /**
   * Takes what was deleted out of the files, as far as the dialect can: PostgreSQL keeps it until it is vacuumed and its
   * write-ahead log is recycled.
   *
   * @returns false when somebody reads just now: to be called again.
   */
  shred(): Promise<boolean>;
  close(): Promise<void>;
}

/** `waiting`: callers that want one while every one is in use. */
export interface StoreConnections {
  inUse: number;
  idle: number;
  waiting: number;
}

/** `registration-due`: a registration is to be handed to Temporal, and this process has no dispatcher. */
export type Signal = 'registration-due';

/** The database or a transaction on it: for functions that may take part in a caller's transaction. */
export type Queryable = Kysely<Schema>;

/** Reads the store's clock, in milliseconds since the epoch. */
export async function storeNow(database: Database, queryable: Queryable = database.db): Promise<number> {
  const { now } = await queryable.selectNoFrom(database.now.as('now')).executeTakeFirstOrThrow();
  return now;
}

/** The columns of the unique index that a write has run into. */
export interface UniqueViolation {
  table: string;
  columns: string[];
}

/** Says which unique index `error` is about; undefined when it is another error. */
export function uniqueViolation(error: unknown): UniqueViolation | undefined {
  const { code, errcode, message = '', table, detail = '' } = fieldsOf(error);
  if (code === '23505') {
    // `Key (connection_id, email)=(…) already exists.`; the words are translated, the form is not.
    const columns = /\(([^()]+)\)=\(/.exec(detail)?.[1] ?? '';
    return { table: table ?? '', columns: columns.split(', ') };
  }
  if (code !== 'ERR_SQLITE_ERROR' || (errcode !== SQLITE_CONSTRAINT_UNIQUE && errcode !== SQLITE_CONSTRAINT_PRIMARYKEY)) {
    return undefined;
  }
  // `UNIQUE constraint failed: user_account.connection_id, user_account.email`
  const qualified = message.slice(message.indexOf(': ') + 2).split(', ').map((name) => name.split('.'));
  return { table: qualified[0]?.[0] ?? '', columns: qualified.map((name) => name[1] ?? '') };
}

const SQLITE_CONSTRAINT_PRIMARYKEY = 1555;
const SQLITE_CONSTRAINT_UNIQUE = 2067;

/** Primary result codes (https://sqlite.org/rescode.html): busy, locked, read-only, I/O error, full, cannot open. */
const SQLITE_UNAVAILABLE = new Set([5, 6, 8, 10, 13, 14]);

/**
 * PostgreSQL's SQLSTATE classes and codes (its manual, appendix A): connection exceptions, insufficient resources (disk
 * full, too many connections), operator intervention (shutdown, crash, cancelled), read-only, deadlock, lock not available.
 */
const POSTGRES_UNAVAILABLE = /^(08...|53...|57P0.|57014|25006|25P03|40001|40P01|55P03)$/;

const NETWORK_CODES = new Set([
  'ECONNREFUSED', 'ECONNRESET', 'ECONNABORTED', 'EPIPE', 'ETIMEDOUT', 'ENOTFOUND', 'EAI_AGAIN', 'EHOSTUNREACH', 'ENETUNREACH',
  'EADDRNOTAVAIL',
]);

/** Errors of the `pg` package that carry no code. */
const PG_MESSAGES = /^(Connection terminated|Client has encountered a connection error|Query read timeout|Postgres connection has been discarded)/;

/**
 * True when the store cannot do its work just now (connection lost, busy, disk full, read-only), so that the same call
 * can succeed later. A commit whose connection broke may have happened all the same.
 */
export function isStoreUnavailable(error: unknown): boolean {
  if (error instanceof PostgresUnreachableError) return true;
  const { code, errcode, message = '' } = fieldsOf(error);
  // The low byte of an extended result code is the primary one.
  if (code === 'ERR_SQLITE_ERROR') return errcode !== undefined && SQLITE_UNAVAILABLE.has(errcode & 0xff);
  if (code !== undefined) return NETWORK_CODES.has(code) || POSTGRES_UNAVAILABLE.test(code);
  return PG_MESSAGES.test(message);
}

/** What the drivers' errors carry beyond `Error`. */
interface ErrorFields {
  code?: string;
  errcode?: number;
  message?: string;
  table?: string;
  detail?: string;
}

function fieldsOf(error: unknown): ErrorFields {
  return error instanceof Error ? error : {};
}
