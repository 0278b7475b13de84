import { managementError } from '../domain/api-error.ts';
import type { BulkKind, BulkResult, BulkState, BulkTask } from '../domain/bulk-operation.ts';
import { newId } from '../domain/ids.ts';
import { writeAudit } from './audit-log.ts';
import type { Database, Queryable } from './database.ts';
import type { ExecutionFilter } from './execution-filter.ts';
import type { Keyring } from './keyring.ts';
import type { Row } from './schema.ts';

/** Something asked of many registrations. Times in milliseconds since the epoch. */
export interface BulkOperation {
  id: string;
  task: BulkTask;
  filter: ExecutionFilter;
  state: BulkState;
  /** Everybody up to this id is done. */
  cursor: string;
  /** Registrations a second. */
  rate: number;
  /** How many matched when it was made. */
  total: number;
  done: number;
  changed: number;
  unchanged: number;
  failed: number;
  /** Id of the client. */
  createdBy: string;
  createdAt: number;
  updatedAt: number;
  endedAt: number | null;
}

/** What became of one registration, or of one user. */
export interface BulkItem {
  subjectId: string;
  /** That which was changed, or made for the user. */
  registrationId: string | null;
  result: BulkResult;
  reason: string | null;
  at: number;
}

/** Somebody has paused or cancelled it, or works on it in our place: nothing that we still do may be committed. */
export class OperationLostError extends Error {
  constructor(id: string) {
    super(`The bulk operation ${id} was paused or cancelled, or somebody else works on it now.`);
    this.name = 'OperationLostError';
  }
}

/** What one step of an operation has done. */
export interface BulkAdvance {
  /** Everybody up to this id is done now. */
  cursor: string;
  /** Left out where nobody matched. */
  item?: Omit<BulkItem, 'at'>;
  leaseMs: number;
}

/** Bulk operations with what became of each registration. */
export interface BulkOperationStore {
  /** Makes one that runs from now on. */
  create(operation: { task: BulkTask; filter: ExecutionFilter; rate: number; total: number; createdBy: string; createdAt: number }): Promise<BulkOperation>;
  /** @throws {ApiError} 404 */
  find(id: string): Promise<BulkOperation>;
  /** Newest first; `after`: those older than this one. */
  list(page: { state?: BulkState | undefined; kind?: BulkKind | undefined; after?: string | undefined; limit: number }): Promise<BulkOperation[]>;
  /** In the order in which they were done. */
  listItems(id: string, page: { result?: BulkResult | undefined; after?: string | undefined; limit: number }): Promise<BulkItem[]>;
  /**
   * From the commit on nothing more is changed by it until it goes on. One that is there already stays as it is.
   *
   * @param clientId - whose wish it is.
   * @throws {ApiError} 404; 409 when the operation has come to its end.
   */
  setState(id: string, state: 'running' | 'paused' | 'cancelled', clientId: string): Promise<BulkOperation>;
  /** Takes the running one that waits longest and that nobody works on; it is ours for `leaseMs`. */
  claim(leaseMs: number): Promise<BulkOperation | null>;
  /**
   * Moves a claimed one on and renews its lease, in the transaction that does what it moves past.
   *
   * @throws {OperationLostError} when it is not where we left it: then the transaction must not commit.
   */
  advance(tx: Queryable, operation: Pick<BulkOperation, 'id' | 'cursor'>, step: BulkAdvance): Promise<void>;
  /** Ends a claimed one that has nobody left. Does nothing when it is not where we left it. */
  finish(operation: Pick<BulkOperation, 'id' | 'cursor'>): Promise<void>;
  /** Gives a claimed one back, for the next who looks for one. */
  release(operation: Pick<BulkOperation, 'id' | 'cursor'>): Promise<void>;
}

export function createBulkOperationStore({ database, keyring }: { database: Database; keyring: Keyring }): BulkOperationStore {
  const { db, now } = database;

  return {
    async create({ task, filter, createdAt, createdBy, ...counts }) {
      const { kind, ...options } = task;
      return await database.transaction(async (tx) => {
        const row = await tx.insertInto('bulk_operation')
          .values({
            id: newId(),
            kind,
            filter: JSON.stringify(filter),
            options: JSON.stringify(options),
            state: 'running',
            cursor: '',
            done: 0,
            changed: 0,
            failed: 0,
            created_by: createdBy,
            created_at: createdAt,
            updated_at: createdAt,
            ...counts,
          })
          .returningAll()
          .executeTakeFirstOrThrow();
        await writeAudit(tx, keyring, { clientId: createdBy, description: 'Start a bulk operation', details: { operation_id: row.id, kind, filter: withoutUser(filter), options, ...counts } });
        return toOperation(row);
      });
    },

    async find(id) {
      return toOperation(await read(db, id));
    },

    async list({ state, kind, after, limit }) {
      let query = db.selectFrom('bulk_operation').selectAll().orderBy('id', 'desc').limit(limit);
      if (state !== undefined) query = query.where('state', '=', state);
      if (kind !== undefined) query = query.where('kind', '=', kind);
      if (after !== undefined) query = query.where('id', '<', after);
      return (await query.execute()).map(toOperation);
    },

    async listItems(id, { result, after = '', limit }) {
      await read(db, id);
      let query = db.selectFrom('bulk_item').selectAll().where('operation_id', '=', id).where('subject_id', '>', after).orderBy('subject_id').limit(limit);
      if (result !== undefined) query = query.where('result', '=', result);
      return (await query.execute()).map(toItem);
    },

    async setState(id, state, clientId) {
      return await database.transaction(async (tx) => {
        const before = await read(tx, id);
        if (before.state === state) return toOperation(before);
        if (before.state === 'done' || before.state === 'cancelled') throw managementError(409, `The operation is ${before.state} already.`);
        const at = Date.now();
        const after = await tx.updateTable('bulk_operation')
          .set({ state, claimed_until: null, updated_at: at, ended_at: state === 'cancelled' ? at : null })
          .where('id', '=', id)
          .returningAll()
          .executeTakeFirstOrThrow();
        await writeAudit(tx, keyring, { clientId, description: WISHES[state], details: { operation_id: id, done: before.done } });
        return toOperation(after);
      });
    },

    async claim(leaseMs) {
      const waiting = (from: Pick<Queryable, 'selectFrom'>) =>
        from.selectFrom('bulk_operation')
          .select('id')
          .where('state', '=', 'running')
          .where((eb) => eb.or([eb('claimed_until', 'is', null), eb('claimed_until', '<=', now)]))
          .orderBy('updated_at')
          .limit(1);
      // A look first: on SQLite an update takes the write lock, also when there is nothing to do.
      if ((await waiting(db).executeTakeFirst()) === undefined) return null;
      const claimed = await db
        .with('chosen', (qb) => waiting(qb).forUpdate().skipLocked())
        .updateTable('bulk_operation')
        .set((eb) => ({ claimed_until: eb(now, '+', leaseMs), updated_at: Date.now() }))
        .where('id', 'in', (eb) => eb.selectFrom('chosen').select('id'))
        .returningAll()
        .executeTakeFirst();
      return claimed === undefined ? null : toOperation(claimed);
    },

    async advance(tx, operation, { cursor, item, leaseMs }) {
      const at = Date.now();
      const { numUpdatedRows } = await tx.updateTable('bulk_operation')
        .set((eb) => ({
          cursor,
          claimed_until: eb(now, '+', leaseMs),
          updated_at: at,
          ...(item === undefined ? {} : { done: eb('done', '+', 1) }),
          ...(item?.result === 'changed' ? { changed: eb('changed', '+', 1) } : {}),
          ...(item?.result === 'failed' ? { failed: eb('failed', '+', 1) } : {}),
        }))
        .where('id', '=', operation.id)
        .where('cursor', '=', operation.cursor)
        .where('state', '=', 'running')
        .executeTakeFirst();
      if (numUpdatedRows !== 1n) throw new OperationLostError(operation.id);
      if (item === undefined) return;
      await tx.insertInto('bulk_item')
        .values({ operation_id: operation.id, subject_id: item.subjectId, registration_id: item.registrationId, result: item.result, reason: item.reason, at })
        .execute();
    },

    async finish({ id, cursor }) {
      const at = Date.now();
      await db.updateTable('bulk_operation')
        .set({ state: 'done', claimed_until: null, updated_at: at, ended_at: at })
        .where('id', '=', id)
        .where('cursor', '=', cursor)
        .where('state', '=', 'running')
        .execute();
    },

    async release({ id, cursor }) {
      await db.updateTable('bulk_operation').set({ claimed_until: null }).where('id', '=', id).where('cursor', '=', cursor).where('state', '=', 'running').execute();
    },
  };
}

const WISHES = { running: 'Resume a bulk operation', paused: 'Pause a bulk operation', cancelled: 'Cancel a bulk operation' };

/** In a transaction, nobody else can change it until that ends. */
async function read(queryable: Queryable, id: string): Promise<Row<'bulk_operation'>> {
  let query = queryable.selectFrom('bulk_operation').selectAll().where('id', '=', id);
  if (queryable.isTransaction) query = query.forUpdate();
  const row = await query.executeTakeFirst();
  if (row === undefined) throw managementError(404, 'That operation does not exist.');
  return row;
}

/** The entry outlives the user. */
function withoutUser({ userId, ...filter }: ExecutionFilter): object {
  return { ...filter, ...(userId === undefined ? {} : { userId: '(one user)' }) };
}

function toOperation(row: Row<'bulk_operation'>): BulkOperation {
  return {
    id: row.id,
    task: { kind: row.kind, ...(JSON.parse(row.options) as object) } as BulkTask,
    filter: JSON.parse(row.filter) as ExecutionFilter,
    state: row.state,
    cursor: row.cursor,
    rate: row.rate,
    total: row.total,
    done: row.done,
    changed: row.changed,
    unchanged: row.done - row.changed - row.failed,
    failed: row.failed,
    createdBy: row.created_by,
    createdAt: row.created_at,
    updatedAt: row.updated_at,
    endedAt: row.ended_at,
  };
}

function toItem(row: Row<'bulk_item'>): BulkItem {
  return { subjectId: row.subject_id, registrationId: row.registration_id, result: row.result, reason: row.reason, at: row.at };
}
