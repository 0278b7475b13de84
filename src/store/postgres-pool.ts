import type { PostgresPool, PostgresPoolClient, PostgresQueryResult } from 'kysely';
import { type ClientBase, Pool, type PoolClient, type PoolConfig } from 'pg';
import type { StoreConnections } from './database.ts';

/** Also how long a caller waits when every connection is in use. */
const CONNECT_TIMEOUT_MS = 5000;
/** The server ends a statement after this, and gives its locks back; none of ours takes that long. */
const STATEMENT_TIMEOUT_MS = 8000;
/** A server that does not answer at all (half-open connection) is noticed after this. */
const QUERY_TIMEOUT_MS = 10_000;
/** The server ends the transaction of a process that stopped in the middle of it, so that its row locks do not stay. */
const IDLE_IN_TRANSACTION_MS = 15_000;
/** A connection that has gone silent would never say goodbye. */
const CLOSE_PATIENCE_MS = 2000;

/** No connection could be had, whatever the reason: the network, TLS, the password, the database's name, its limits. */
export class PostgresUnreachableError extends Error {
  constructor(cause: unknown) {
    super(`No connection to PostgreSQL: ${cause instanceof Error ? cause.message : String(cause)}`, { cause });
    this.name = 'PostgresUnreachableError';
  }
}

/**
 * The pool as kysely uses it: at most ten connections, made when they are needed, ended when they have been idle for 10 s.
 *
 * @param options.patient statements may take and wait as long as they need. For migrations.
 */
export function createPostgresPool(config: PoolConfig, { patient }: { patient: boolean }): PostgresPool & { connections(): StoreConnections } {
  // By a statement: poolers in front of PostgreSQL refuse settings that come with the connection.
  async function setUp(client: ClientBase): Promise<void> {
    const statementTimeoutMs = patient ? 0 : STATEMENT_TIMEOUT_MS;
    await client.query(`set statement_timeout = ${statementTimeoutMs}; set idle_in_transaction_session_timeout = ${IDLE_IN_TRANSACTION_MS}`);
  }

  const pool = new Pool({
    ...config,
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    ...(patient ? {} : { query_timeout: QUERY_TIMEOUT_MS }),
    // Awaited, and its failure is that of the connection; its type does not say so.
    onConnect: (client) => setUp(client) as unknown as void,
  });
  // A broken connection fails the query that it is working on, or else the next one on a new connection says what is
  // wrong. The event comes besides, on the pool while the connection is idle and on the connection while it is not, and
  // would end the process if nobody listened.
  pool.on('error', () => undefined);
  pool.on('connect', (client) => client.on('error', () => undefined));
  return {
    options: pool.options,
    async connect() {
      const client = await pool.connect().catch((error: unknown) => {
        throw new PostgresUnreachableError(error);
      });
      return discardWhenUseless(client);
    },
    connections: () => ({ inUse: pool.totalCount - pool.idleCount, idle: pool.idleCount, waiting: pool.waitingCount }),
    async end() {
      let timer: NodeJS.Timeout | undefined;
      await Promise.race([pool.end(), new Promise((resolve) => (timer = setTimeout(resolve, CLOSE_PATIENCE_MS)))]);
      clearTimeout(timer);
    },
  };
}

/** The connection as it is lent: what has turned out to be of no use is not asked again, and not given back to the pool. */
function discardWhenUseless(client: PoolClient): PostgresPoolClient {
  let useless: unknown = null;
  return {
    async query<R>(text: unknown, values?: readonly unknown[]) {
      // What follows in its transaction, and the rollback.
      if (useless !== null) throw useless;
      try {
        return (await client.query(text as string, values as unknown[])) as unknown as PostgresQueryResult<R>;
      } catch (error) {
        if (isOfNoUse(error)) useless = error;
        throw error;
      }
    },
    release: (destroy) => client.release(destroy === true || useless !== null),
  } as PostgresPoolClient;
}

/**
 * Connections that `pg` takes for good ones: the server has gone silent, or has become a replica, so that a new
 * connection may lead to the one that takes writes now (SQLSTATE 25006, `read_only_sql_transaction`).
 */
function isOfNoUse(error: unknown): boolean {
  return error instanceof Error && (error.message === 'Query read timeout' || ('code' in error && error.code === '25006'));
}
