import { Kysely, PostgresDialect, sql } from 'kysely';
import { TypeOverrides } from 'pg';
import type { Database } from './database.ts';
import { createPostgresPool } from './postgres-pool.ts';
import { createPostgresSignals } from './postgres-signals.ts';
import type { Schema } from './schema.ts';
import { postgresTextAndJson } from './text-and-json.ts';

/** Type `int8` (times, counts) in PostgreSQL's catalogue. `pg` gives text for it; ours stay below 2^53. */
const INT8_OID = 20;

/** Any fixed numbers: they name our locks among the advisory locks of this database. */
const SCHEMA_LOCK = 4_703_221;
const BINDINGS_LOCK = 4_703_222;

const MIN_VERSION = 15;

/** The server is older than what Usher is tested with. */
export class PostgresTooOldError extends Error {
  constructor(version: string) {
    super(`PostgreSQL ${version} is too old for Usher: use ${MIN_VERSION} or newer; nothing was changed.`);
    this.name = 'PostgresTooOldError';
  }
}

/** @throws {PostgresTooOldError} */
export async function checkPostgresVersion({ db }: Database): Promise<void> {
  const { rows: [row] } = await sql<{ version: string }>`select current_setting('server_version') as version`.execute(db);
  const version = row?.version ?? '';
  if (Number.parseInt(version, 10) < MIN_VERSION) throw new PostgresTooOldError(version);
}

/**
 * Opens a PostgreSQL store at `url`. Connects on the first query.
 *
 * @param options.patient statements may take and wait as long as they need. For migrations.
 */
export function openPostgres(url: string, { patient = false }: { patient?: boolean } = {}): Database {
  const types = new TypeOverrides();
  types.setTypeParser(INT8_OID, Number);
  const config = { connectionString: url, application_name: 'usher', keepAlive: true, types };
  const pool = createPostgresPool(config, { patient });
  const db = new Kysely<Schema>({ dialect: new PostgresDialect({ pool }) });
  const signals = createPostgresSignals({
    config,
    notify: (channel, payload) => sql`select pg_notify(${channel}, ${payload})`.execute(db),
  });
  return {
    db,
    dialect: 'postgres',
    // Not `now()`, which stands still within a transaction, also while it waits for a lock; and not `clock_timestamp()`,
    // which no index can be used with.
    now: sql<number>`cast(extract(epoch from statement_timestamp()) * 1000 as bigint)`,
    textAndJson: postgresTextAndJson,
    transaction: (fn) => db.transaction().execute(fn),
    lockSchema: async (tx) => {
      await sql`select pg_advisory_xact_lock(${sql.lit(SCHEMA_LOCK)})`.execute(tx);
    },
    lockBindings: async (tx, triggerId) => {
      await sql`select pg_advisory_xact_lock(${sql.lit(BINDINGS_LOCK)}, hashtext(${triggerId}))`.execute(tx);
    },
    signal: signals.signal,
    onSignal: signals.onSignal,
    connections: pool.connections,
    shred: () => Promise.resolve(true),
    async close() {
      await signals.close();
      await db.destroy();
    },
  };
}
