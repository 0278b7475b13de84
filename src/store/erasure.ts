import { managementError } from '../domain/api-error.ts';
import { firstIdOf, newId } from '../domain/ids.ts';
import { writeAudit } from './audit-log.ts';
import type { Database, Queryable } from './database.ts';
import { type ErasedPerson, learn, type Scan, scanDenied, scanLogs, scanMessages } from './erasure-scan.ts';
import type { ExecutionFilter } from './execution-filter.ts';
import type { Keyring } from './keyring.ts';
import { sealedAs } from './ledger-rows.ts';
import { removeRegistrations } from './remove-registrations.ts';
import type { Row } from './schema.ts';
import { SealError } from './sealing.ts';

/** An erasure, as people are told of it. Times in milliseconds. */
export interface Erasure {
  id: string;
  /** `done`: nothing is left in the store, nor in Temporal. */
  status: 'running' | 'done';
  removed: Removed;
  /** Registrations whose histories are still to be deleted in Temporal. */
  historiesLeft: number;
  createdAt: number;
  endedAt: number | null;
}

/** How many of each were removed. */
export interface Removed {
  /** With the log entries that belong to them. */
  registrations: number;
  logs: number;
  executions: number;
  messages: number;
}

/** Erases all that the store has of a person, in small batches that survive a crash. */
export interface ErasureStore {
  /**
   * Takes the wish down and deletes the user. Who is erased cannot log in from here on, and none of his or her open
   * Actions gets another attempt once its registration is reached.
   *
   * @throws {ApiError} 404 when the store has no user, no registration and no log entry of this id.
   */
  begin(request: { userId: string; clientId: string }): Promise<Erasure>;
  /** @throws {ApiError} 404 */
  find(id: string): Promise<Erasure>;
  /** One batch of the oldest that can go on. @returns whether there may be more at once. */
  step(): Promise<boolean>;
}

type ErasureRow = Row<'erasure'>;

/** What a batch has done; `cursor` null: the stage is over. */
interface Batch {
  removed?: Partial<Removed>;
  cursor: string | null;
  person?: ErasedPerson;
}

type Stage = (tx: Queryable, erasure: ErasureRow, person: ErasedPerson) => Promise<Batch>;

const REGISTRATIONS = 10;
const ROWS = 200;
/** The last one, which runs outside of a transaction. */
const FILES = 'files';
/** What was under way when the user was deleted, a login or a sign-up, has ended by then, and what it has written is found. */
export const ERASURE_SETTLE_MS = 60_000;
/** The second look begins so long before the erasure: clocks differ, and an id is older than its row. */
const AGAIN_FROM_MS = 60 * 60_000;

export function createErasureStore({ database, keyring, settleMs = ERASURE_SETTLE_MS }: { database: Database; keyring: Keyring; settleMs?: number }): ErasureStore {
  const { db } = database;
  /** Id of the one that cannot go on just now: those behind it have their turn first. */
  let after = '';

  const scan = (what: keyof Removed, rows: Scan): Stage => async (tx, { cursor }, person) => {
    const { removed, cursor: next } = await rows(tx, keyring, person, cursor);
    return { removed: { [what]: removed }, cursor: next };
  };

  /** First of all: the events of the registrations tell more names of the person. */
  const registrations: Record<string, Stage> = {
    registrations: async (tx, erasure, person) => {
      const rows = await tx.selectFrom('registration').select(['id', 'key_id', 'event_sealed']).where('user_id', '=', person.userId).limit(REGISTRATIONS).forUpdate().execute();
      let known = person;
      for (const row of rows) known = learn(known, await userOf(row, tx));
      await removeRegistrations(tx, rows.map(({ id }) => id));
      if (rows.length > 0) {
        await tx.insertInto('history_removal').values(rows.map(({ id }) => ({ registration_id: id, erasure_id: erasure.id, created_at: Date.now() }))).execute();
      }
      return { removed: { registrations: rows.length }, cursor: rows.length < REGISTRATIONS ? null : '', person: known };
    },
  };

  /** Done twice: at once, and of what is written by whatever was under way just then. */
  const traces: Record<string, Stage> = {
    'log entries': async (tx, _erasure, { userId }) => {
      const rows = await tx.selectFrom('log').select('id').where('user_id', '=', userId).limit(ROWS).execute();
      if (rows.length > 0) await tx.deleteFrom('log').where('id', 'in', rows.map(({ id }) => id)).execute();
      return { removed: { logs: rows.length }, cursor: rows.length < ROWS ? null : '' };
    },

    'codes and operations': async (tx, _erasure, { userId, addresses }) => {
      if (addresses.length > 0) await tx.deleteFrom('passwordless_code').where('recipient', 'in', addresses).execute();
      const operations = await tx.selectFrom('bulk_operation').select(['id', 'filter']).execute();
      for (const { id, filter: json } of operations) {
        const filter = JSON.parse(json) as ExecutionFilter;
        if (filter.userId !== userId) continue;
        // Not without it: a wish about one person must not become one about everybody.
        await tx.updateTable('bulk_operation').set({ filter: JSON.stringify({ ...filter, userId: 'erased' }) }).where('id', '=', id).execute();
      }
      if (operations.length > 0) await tx.deleteFrom('bulk_item').where('operation_id', 'in', operations.map(({ id }) => id)).where('subject_id', '=', userId).execute();
      return { cursor: null };
    },

    'log entries of nobody': scan('logs', scanLogs),
    'denied sign-ups': scan('executions', scanDenied),
    messages: scan('messages', scanMessages),
  };
  const again = Object.fromEntries(
    Object.entries(traces).map(([name, stage]): [string, Stage] => [
      `${name}, again`,
      (tx, erasure, person) => stage(tx, { ...erasure, cursor: erasure.cursor || firstIdOf(erasure.created_at - AGAIN_FROM_MS) }, person),
    ]),
  );
  const stages: Record<string, Stage> = { ...registrations, ...traces, ...again };
  const order = [...Object.keys(stages), FILES];
  const afterSettling = Object.keys(again)[0]!;

  /** The `user` of a registration's event; nothing when its key is gone. */
  async function userOf(row: Pick<Row<'registration'>, 'id' | 'key_id' | 'event_sealed'>, tx: Queryable): Promise<Record<string, unknown>> {
    try {
      const { user } = await keyring.openJson<{ user?: Record<string, unknown> }>(row.key_id, sealedAs.event(row.id), row.event_sealed, tx);
      return user ?? {};
    } catch (error) {
      if (error instanceof SealError) return {};
      throw error;
    }
  }

  async function toErasure(row: ErasureRow, queryable: Queryable): Promise<Erasure> {
    const { left } = await queryable.selectFrom('history_removal').select((eb) => eb.fn.countAll<number>().as('left')).where('erasure_id', '=', row.id).executeTakeFirstOrThrow();
    return {
      id: row.id,
      status: row.state === 'done' && left === 0 ? 'done' : 'running',
      removed: JSON.parse(row.removed) as Removed,
      historiesLeft: left,
      createdAt: row.created_at,
      endedAt: row.ended_at,
    };
  }

  /** @returns the row as it was before; undefined when another process is at it. */
  async function runStage(id: string): Promise<ErasureRow | undefined> {
    return await database.transaction(async (tx) => {
      const row = await tx.selectFrom('erasure').selectAll().where('id', '=', id).where('state', '=', 'running').forUpdate().skipLocked().executeTakeFirst();
      if (row === undefined || row.stage === FILES) return row;
      const person = await keyring.openJson<ErasedPerson>(row.key_id!, subjectContext(row.id), row.subject_sealed!, tx);
      const { removed = {}, cursor, person: known } = await stages[row.stage]!(tx, row, person);
      const stage = cursor === null ? order[order.indexOf(row.stage) + 1]! : row.stage;
      await tx.updateTable('erasure')
        .set({
          stage,
          cursor: cursor ?? '',
          removed: JSON.stringify(added(JSON.parse(row.removed) as Removed, removed)),
          ...(known === undefined ? {} : { subject_sealed: await keyring.sealJson(row.key_id!, subjectContext(row.id), known, tx) }),
        })
        .where('id', '=', row.id)
        .execute();
      return row;
    });
  }

  /** A look, without a transaction: on SQLite that takes the write lock. */
  async function next(): Promise<string | undefined> {
    const row = await db.selectFrom('erasure')
      .select('id')
      .where('state', '=', 'running')
      .where('id', '>', after)
      .where((eb) => eb.or([eb('stage', '<>', afterSettling), eb('created_at', '<=', Date.now() - settleMs)]))
      .orderBy('id')
      .limit(1)
      .executeTakeFirst();
    return row?.id;
  }

  /** @returns false when another process is at it, or somebody still reads the file as it was. */
  async function runBatch(id: string): Promise<boolean> {
    const row = await runStage(id);
    if (row === undefined) return false;
    if (row.stage !== FILES) return true;
    if (!(await database.shred())) return false;
    await database.transaction(async (tx) => {
      await tx.updateTable('erasure').set({ state: 'done', subject_sealed: null, key_id: null, ended_at: Date.now() }).where('id', '=', row.id).execute();
      await tx.deleteFrom('data_key').where('id', '=', row.key_id).execute();
    });
    return true;
  }

  return {
    async begin({ userId, clientId }) {
      return await database.transaction(async (tx) => {
        const user = await tx.selectFrom('user_account').select(['email', 'phone_number', 'username']).where('id', '=', userId).forUpdate().executeTakeFirst();
        if (user === undefined && !(await isKnown(tx, userId))) {
          throw managementError(404, 'There is no user, no registration and no log entry with this user_id.', 'inexistent_user');
        }
        await tx.deleteFrom('user_account').where('id', '=', userId).execute();
        const [id, keyId] = [newId(), await keyring.newDataKey(tx)];
        const person = learn({ userId, addresses: [], usernames: [] }, user ?? {});
        const row = await tx.insertInto('erasure')
          .values({
            id,
            state: 'running',
            subject_sealed: await keyring.sealJson(keyId, subjectContext(id), person, tx),
            key_id: keyId,
            stage: order[0]!,
            cursor: '',
            removed: JSON.stringify({ registrations: 0, logs: 0, executions: 0, messages: 0 } satisfies Removed),
            created_by: clientId,
            created_at: Date.now(),
          })
          .returningAll()
          .executeTakeFirstOrThrow();
        await writeAudit(tx, keyring, { clientId, description: 'Erase a user', details: { erasure_id: id } });
        return await toErasure(row, tx);
      });
    },

    async find(id) {
      const row = await db.selectFrom('erasure').selectAll().where('id', '=', id).executeTakeFirst();
      if (row === undefined) throw managementError(404, 'There is no erasure of this id.', 'inexistent_erasure');
      return await toErasure(row, db);
    },

    async step() {
      const id = await next();
      if (id === undefined) {
        after = '';
        return false;
      }
      const before = after;
      after = id;
      if (await runBatch(id)) after = before;
      return true;
    },
  };
}

async function isKnown(tx: Queryable, userId: string): Promise<boolean> {
  for (const table of ['registration', 'log'] as const) {
    if ((await tx.selectFrom(table).select('id').where('user_id', '=', userId).limit(1).executeTakeFirst()) !== undefined) return true;
  }
  return false;
}

function added(before: Removed, more: Partial<Removed>): Removed {
  const sum = { ...before };
  for (const name of Object.keys(sum) as (keyof Removed)[]) sum[name] += more[name] ?? 0;
  return sum;
}

function subjectContext(id: string): string {
  return `erasure/${id}/subject`;
}
