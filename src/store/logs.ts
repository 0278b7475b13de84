import { type Expression, type SqlBool, sql } from 'kysely';
import { firstIdOf, newId } from '../domain/ids.ts';
import type { ActionError } from '../domain/invocation.ts';
import type { TriggerId } from '../domain/triggers.ts';
import { type Database, type Queryable, storeNow } from './database.ts';
import { INSTALLATION_KEY, type Keyring } from './keyring.ts';
import type { Row } from './schema.ts';

/**
 * The types that are written; source: Auth0's log event type codes. Sign-ups: `ss`, `fs`. Logins: `s`, `f`, `fp` (wrong
 * password), `fu` (no such user), `fepotpft` (wrong code), `limit_wc` (blocked after too many failures). Mails: `cs` (code
 * by SMS), `cls` (code by mail), `sv` (address verified), `scpr` (password change asked for), `scp` (password changed). `sapi`: somebody changed
 * something over the API (`audit-log.ts`).
 */
export type LogType = 'ss' | 'fs' | 'actions_execution_failed' | 's' | 'f' | 'fp' | 'fu' | 'fepotpft' | 'limit_wc' | 'cs' | 'cls' | 'sv' | 'scpr' | 'scp' | 'sapi';

/** One entry of the tenant log. */
export interface LogEntry {
  type: LogType;
  /** Milliseconds since the epoch. */
  date: number;
  userId?: string | null;
  connectionId?: string | null;
  clientId?: string | null;
  registrationId?: string | null;
  /** Everything else of Auth0's log item: `description`, `user_name`, `ip`, `details` … */
  item: Record<string, unknown>;
  /** The data key that seals `item`: the registration's, so that erasing it erases the entry. @default the installation's */
  keyId?: string;
}

/** Writes an entry to the tenant log. Inside a transaction it becomes part of it. */
export async function writeLog(db: Queryable, keyring: Keyring, entry: LogEntry): Promise<void> {
  const id = newId();
  const keyId = entry.keyId ?? INSTALLATION_KEY;
  await db
    .insertInto('log')
    .values({
      id,
      date: entry.date,
      type: entry.type,
      user_id: entry.userId ?? null,
      connection_id: entry.connectionId ?? null,
      client_id: entry.clientId ?? null,
      registration_id: entry.registrationId ?? null,
      item_sealed: await keyring.sealJson(keyId, logContext(id), entry.item, db),
      key_id: keyId,
    })
    .execute();
}

/** What an `actions_execution_failed` entry tells of an Action that failed. */
export interface FailedAction {
  triggerId: TriggerId;
  executionId: string;
  actionId: string;
  actionName: string;
  versionId: string;
  bindingId: string;
  /** Null when we failed, not the Action. */
  error: ActionError | null;
}

/** The item of an `actions_execution_failed` entry; form: Auth0's schema of that type (contract §4.7). */
export function failedActionItem(failed: FailedAction): Record<string, unknown> {
  const { error } = failed;
  return {
    description: `The Action "${failed.actionName}" failed`,
    details: {
      trigger_id: failed.triggerId,
      execution_id: failed.executionId,
      action_id: failed.actionId,
      action_name: failed.actionName,
      version_id: failed.versionId,
      binding_id: failed.bindingId,
      error_class: error === null ? 'platform_error' : error.type === 'ACTION_TIMED_OUT' ? 'action_timeout' : 'action_error',
      ...(error === null ? {} : { action_error: { name: error.name, message: error.message, code: error.type, stack: error.stack ?? '' } }),
    },
  };
}

/** One entry as `GET /api/v2/logs` gives it (contract §4.7). */
export interface LogItem extends Record<string, unknown> {
  _id: string;
  log_id: string;
  date: string;
  type: string;
}

export interface LogPage {
  limit: number;
  /** Entries to skip. */
  offset: number;
  order: 'asc' | 'desc';
  /** On the table `log`. @default all of them */
  condition?: LogCondition | undefined;
}

export type LogCondition = Expression<SqlBool>;

/** What concerns one user. */
export function logsOfUser(userId: string): LogCondition {
  return sql<SqlBool>`log.user_id = ${userId}`;
}

export interface LogStore {
  page(page: LogPage): Promise<LogItem[]>;
  count(condition?: LogCondition): Promise<number>;
  /**
   * Checkpoint reading, oldest first: up to `limit` entries after the one with the id `from`, or from the first one. Those
   * that are younger than `LOG_DELAY_MS` are left out: one that comes before them may still be on its way.
   */
  after(from: string | null, limit: number): Promise<LogItem[]>;
  find(id: string): Promise<LogItem | null>;
}

/**
 * An entry's id is made by the clock of the process that writes it, before its transaction commits: for so long after that
 * time, one with a smaller id can still appear, and whoever follows the log would have passed it. Usually it is milliseconds.
 * PostgreSQL ends a statement of ours after 8 s and a transaction whose process has stopped after 15 s (`postgres-pool.ts`);
 * the rest is for clocks that differ.
 */
const LOG_DELAY_MS = 30_000;

/** Reads the tenant log. */
export function createLogStore({ database, keyring, delayMs = LOG_DELAY_MS }: { database: Database; keyring: Keyring; delayMs?: number | undefined }): LogStore {
  const { db } = database;

  async function toItem(row: Row<'log'>): Promise<LogItem> {
    const item = await keyring.openJson<Record<string, unknown>>(row.key_id, logContext(row.id), row.item_sealed);
    return {
      _id: row.id,
      log_id: row.id,
      date: new Date(row.date).toISOString(),
      type: row.type,
      ...(row.client_id === null ? {} : { client_id: row.client_id }),
      ...(row.connection_id === null ? {} : { connection_id: row.connection_id }),
      ...(row.user_id === null ? {} : { user_id: row.user_id }),
      ...item,
    };
  }

  function matching(condition: LogCondition | undefined) {
    const all = db.selectFrom('log');
    return condition === undefined ? all : all.where(condition);
  }

  return {
    async page({ limit, offset, order, condition }) {
      const rows = await matching(condition).selectAll().orderBy('id', order).limit(limit).offset(offset).execute();
      return await Promise.all(rows.map(toItem));
    },

    async count(condition) {
      const { total } = await matching(condition).select((eb) => eb.fn.countAll<number>().as('total')).executeTakeFirstOrThrow();
      return total;
    },

    async after(from, limit) {
      const settled = firstIdOf((await storeNow(database)) - delayMs);
      let query = db.selectFrom('log').selectAll().where('id', '<', settled).orderBy('id').limit(limit);
      if (from !== null) query = query.where('id', '>', from);
      return await Promise.all((await query.execute()).map(toItem));
    },

    async find(id) {
      const row = await db.selectFrom('log').selectAll().where('id', '=', id).executeTakeFirst();
      return row === undefined ? null : await toItem(row);
    },
  };
}

/** Names what `item_sealed` holds, for sealing and opening. */
export function logContext(id: string): string {
  return `log/${id}/item`;
}
