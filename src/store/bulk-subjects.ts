import { setImmediate as turn } from 'node:timers/promises';
import { type Expression, expressionBuilder, type SelectQueryBuilder, type SqlBool, sql } from 'kysely';
import type { BulkTask } from '../domain/bulk-operation.ts';
import type { Database, Queryable } from './database.ts';
import { type ExecutionFilter, executionCondition, greatestIdAt, smallestIdAt } from './execution-filter.ts';
import type { Schema } from './schema.ts';

/** Rows that one statement looks at: a few milliseconds, during which no sign-up is served on the embedded store. */
const WINDOW = 1000;
const SAMPLE = 10;

/** Whom an operation is about: who matches and was there when it was made. */
export interface BulkSet {
  task: BulkTask;
  filter: ExecutionFilter;
  createdAt: number;
}

interface Part {
  ids: string[];
  /** Up to which id was looked. */
  end: string;
}

/**
 * Goes through those whom a bulk operation is about, in the order of their ids: registrations, or users for a backfill
 * of users. Each statement looks at a bounded number of rows, however many there are and however few match.
 */
export interface BulkSubjects {
  /** Those who come next after `cursor`; null when there is nobody left. */
  next(set: BulkSet & { cursor: string }): Promise<Part | null>;
  /** Whether one of them is still meant; if so, nobody else changes it until `tx` ends. */
  lockIfMeant(tx: Queryable, set: BulkSet, id: string): Promise<boolean>;
  /** How many there are, with the first few. */
  count(set: BulkSet): Promise<{ total: number; sample: string[] }>;
}

export function createBulkSubjects({ database: { db } }: { database: Database }): BulkSubjects {
  async function next({ cursor, ...set }: BulkSet & { cursor: string }): Promise<Part | null> {
    return isOfUsers(set) ? await nextUsers(set, cursor) : await nextRegistrations(set, cursor);
  }

  async function nextRegistrations(set: BulkSet, cursor: string): Promise<Part | null> {
    const { userId, createdFrom, createdTo } = filterOf(set);
    const from = createdFrom === undefined ? '' : smallestIdAt(createdFrom);
    const after = cursor > from ? cursor : from;
    if (after > greatestIdAt(createdTo)) return null;
    const candidates = db.selectFrom('registration').where('id', '>', after).$if(userId !== undefined, (query) => query.where('user_id', '=', userId!));
    const end = await endOf(candidates.select('id'));
    if (end === null) return null;
    const matching = await candidates.select('id').where('id', '<=', end).where(registrationCondition(set)).orderBy('id').execute();
    return { ids: matching.map(({ id }) => id), end };
  }

  async function nextUsers(set: BulkSet, cursor: string): Promise<Part | null> {
    const candidates = db.selectFrom('user_account').where('id', '>', cursor);
    const end = await endOf(candidates.select('id'));
    if (end === null) return null;
    const matching = await candidates.select('id').where('id', '<=', end).where(userCondition(filterOf(set))).orderBy('id').execute();
    return { ids: matching.map(({ id }) => id), end };
  }

  /** The last of the next `WINDOW` ids. */
  async function endOf<T extends 'registration' | 'user_account'>(candidates: SelectQueryBuilder<Schema, T, { id: string }>): Promise<string | null> {
    const { end } = await db
      .selectFrom(candidates.orderBy(sql.ref('id')).limit(WINDOW).as('window'))
      .select((eb) => eb.fn.max<string | null>('window.id').as('end'))
      .executeTakeFirstOrThrow();
    return end;
  }

  return {
    next,
    async lockIfMeant(tx, set, id) {
      const query = isOfUsers(set)
        ? tx.selectFrom('user_account').select('id').where('id', '=', id).where(userCondition(filterOf(set))).forUpdate()
        : tx.selectFrom('registration').select('id').where('id', '=', id).where(registrationCondition(set)).forUpdate();
      return (await query.executeTakeFirst()) !== undefined;
    },
    async count(set) {
      let total = 0;
      const sample: string[] = [];
      for (let part, cursor = ''; (part = await next({ ...set, cursor })) !== null; cursor = part.end) {
        total += part.ids.length;
        sample.push(...part.ids.slice(0, SAMPLE - sample.length));
        await turn();
      }
      return { total, sample };
    },
  };
}

function isOfUsers({ task }: BulkSet): boolean {
  return task.kind === 'backfill' && task.of === 'users';
}

function filterOf({ filter, createdAt }: BulkSet): ExecutionFilter & { createdTo: number } {
  return { ...filter, createdTo: Math.min(filter.createdTo ?? createdAt, createdAt) };
}

function registrationCondition(set: BulkSet): Expression<SqlBool> {
  return expressionBuilder<Schema, 'registration'>().and([executionCondition(filterOf(set)), taskCondition(set.task)]);
}

/** What must be true of a registration for the task to have something to do with it. */
function taskCondition(task: BulkTask): Expression<SqlBool> {
  switch (task.kind) {
    case 'cancel':
      return executionCondition({ state: 'open' });
    case 'retry':
      return executionCondition({ actionId: task.actionId, stepStates: ['pending', 'parked'] });
    case 'skip':
      return executionCondition({ actionId: task.actionId, stepStates: ['pending', 'parked', 'blocked', 'failed'] });
    case 'redrive':
      if (task.steps === 'waiting-and-failed') return executionCondition({ actionId: task.actionId, stepStates: ['pending', 'parked', 'failed'] });
      return executionCondition(task.steps === 'failed' ? { stepStates: ['failed', 'blocked', 'cancelled'] } : {});
    // A backfill.
    default:
      return neverHad(task.actionId);
  }
}

/** No registration of its user has a step of the Action. */
function neverHad(actionId: string): Expression<SqlBool> {
  const eb = expressionBuilder<Schema, 'registration'>();
  const had = eb.selectFrom('registration as own')
    .select('own.id')
    .whereRef('own.user_id', '=', 'registration.user_id')
    // Not a join, which SQLite would begin with every step of the Action, once for each user.
    .where(({ exists, selectFrom }) =>
      exists(selectFrom('step').select('step.id').whereRef('step.registration_id', '=', 'own.id').where('step.action_id', '=', actionId)));
  return eb.not(eb.exists(had));
}

/** Users who have no registration at all; of a filter, what can be said of them. */
function userCondition({ userId, connection, createdFrom, createdTo }: ExecutionFilter): Expression<SqlBool> {
  const eb = expressionBuilder<Schema, 'user_account'>();
  return eb.and([
    ...(userId === undefined ? [] : [eb('user_account.id', '=', userId)]),
    ...(connection === undefined ? [] : [eb('user_account.connection_id', 'in', eb.selectFrom('connection').select('connection.id').where('connection.name', '=', connection))]),
    ...(createdFrom === undefined ? [] : [eb('user_account.created_at', '>=', createdFrom)]),
    ...(createdTo === undefined ? [] : [eb('user_account.created_at', '<=', createdTo)]),
    eb.not(eb.exists(eb.selectFrom('registration').select('registration.id').whereRef('registration.user_id', '=', 'user_account.id'))),
  ]);
}
