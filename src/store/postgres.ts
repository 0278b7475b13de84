import { Kysely, PostgresDialect, sql } from 'kysely';
import { type Client, Pool, TypeOverrides } from 'pg';
import type { Database } from './database.ts';
import type { Schema } from './schema.ts';
import { postgresTextAndJson } from './text-and-json.ts';

const CONNECT_TIMEOUT_MS = 5000;
/** A server that does not answer (half-open connection) is noticed after this; no query of ours takes that long. */
const QUERY_TIMEOUT_MS = 10_000;
/** The server ends the transaction of a process that stopped in the middle of it, so that its row locks do not stay. */
const IDLE_IN_TRANSACTION_MS = 30_000;

/** Type `int8` (times, counts) in PostgreSQL's catalogue. `pg` gives text for it; ours stay below 2^53. */
const INT8_OID = 20;

/** Any fixed number: names our lock among the advisory locks of this database. */
const SCHEMA_LOCK = 4_703_221;

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

/** Opens a PostgreSQL store at `url`. Connects on the first query. */
export function openPostgres(url: string): Database {
  const types = new TypeOverrides();
  types.setTypeParser(INT8_OID, Number);
  const pool = new Pool({
    connectionString: url,
    application_name: 'usher',
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    query_timeout: QUERY_TIMEOUT_MS,
    keepAlive: true,
    types,
  });
  // A broken connection fails the query that it is working on, or else the next one on a new connection says what is
  // wrong. The event comes besides, on the pool while the connection is idle and on the connection while it is not, and
  // would end the process if nobody listened.
  pool.on('error', () => undefined);
  pool.on('connect', (client) => client.on('error', () => undefined));
  // Given back in the middle of a query, which has timed out: nothing more comes from its server, and the pool would
  // hand the connection out again.
  pool.on('release', (_error, client) => {
    if ((client as { readyForQuery?: boolean }).readyForQuery === false) void (client as unknown as Client).end();
  });
  const db = new Kysely<Schema>({
    dialect: new PostgresDialect({
      pool,
      onCreateConnection: async (connection) => {
        const query = sql`set idle_in_transaction_session_timeout = ${sql.lit(IDLE_IN_TRANSACTION_MS)}`;
        await connection.executeQuery(query.compile(db));
      },
    }),
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
    // kysely ends the pool only once it has run a query through it.
    close: async () => {
      await db.destroy();
      if (!pool.ended) await pool.end();
    },
  };
}
