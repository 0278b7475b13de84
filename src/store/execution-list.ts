import { type Expression, type ExpressionBuilder, expressionBuilder, type SqlBool } from 'kysely';
import type { Database, Queryable } from './database.ts';
import { type ExecutionFilter, executionCondition, greatestIdAt, IS_WAITING, smallestIdAt } from './execution-filter.ts';
import type { RegistrationFacts, StepFacts } from './ledger-read.ts';
import type { Schema } from './schema.ts';

/** A registration as a list shows it. */
export interface ExecutionSummary extends RegistrationFacts {
  /** In binding order. */
  steps: StepSummary[];
}

export interface StepSummary extends StepFacts {
  /** Of the last attempt. */
  errorType: string | null;
  /** Calls of the last attempt that were refused or not answered. */
  failedCalls: number;
}

/**
 * Up to `limit` registrations that match, newest first: those with a smaller id than `before`, or from the newest on.
 * Of what is said about a step, `stepStates`, `held` and `errorType` need an `actionId`.
 *
 * Each page is a few statements that read little more than the page, however many registrations there are, except where
 * a filter by connection, source or user matches few of very many.
 */
export type ListExecutions = (filter: ExecutionFilter, page: { before: string | null; limit: number }) => Promise<ExecutionSummary[]>;

const OUTCOMES = [null, 'succeeded', 'failed', 'cancelled', 'nothing-bound'] as const;
const STEP_STATES = ['pending', 'parked', 'succeeded', 'failed', 'blocked', 'cancelled', 'skipped'] as const;

interface Page {
  before: string | null;
  limit: number;
}

export function createListExecutions({ database: { db } }: { database: Database }): ListExecutions {
  return async (filter, page) => {
    const found = await Promise.all(matchingIds(db, filter, page).map((query) => query.execute()));
    const ids = found.flat().map(({ id }) => id).toSorted((a, b) => (a < b ? 1 : -1)).slice(0, page.limit);
    return ids.length === 0 ? [] : await readSummaries(db, ids);
  };
}

/** Each query reads one range of an index, in the index's order, until it has enough; together they have the page. */
function matchingIds(db: Queryable, filter: ExecutionFilter, page: Page) {
  const { actionId, userId, waiting } = filter;
  if (userId !== undefined) return [idsOf(db, executionCondition(filter), filter, page)];
  const { stepStates = waiting === undefined ? STEP_STATES : (['pending', 'parked'] as const) } = filter;
  if (actionId !== undefined) return stepStates.map((state) => idsOfSteps(db, (eb) => eb.and({ action_id: actionId, state }), filter, page));
  if (waiting !== undefined) return [idsOfSteps(db, () => IS_WAITING, filter, page)];
  const { state, outcome, ...rest } = filter;
  const eb = expressionBuilder<Schema, 'registration'>();
  return OUTCOMES
    .filter((each) => (outcome === undefined || each === outcome) && (state === undefined || (each === null) === (state === 'open')))
    .map((each) => idsOf(db, eb.and([eb('registration.outcome', each === null ? 'is' : '=', each), executionCondition(rest)]), filter, page));
}

function idsOf(db: Queryable, condition: Expression<SqlBool>, filter: ExecutionFilter, { before, limit }: Page) {
  return db.selectFrom('registration').select('registration.id as id')
    .where(condition)
    .where(isBetween('registration.id', filter, before))
    .orderBy('registration.id', 'desc')
    .limit(limit);
}

function idsOfSteps(db: Queryable, condition: (eb: ExpressionBuilder<Schema, 'step'>) => Expression<SqlBool>, filter: ExecutionFilter, { before, limit }: Page) {
  const { actionId: _action, stepStates: _states, ...rest } = filter;
  const saysMore = Object.values(rest).some((each) => each !== undefined);
  return db.selectFrom('step').select('step.registration_id as id')
    .where(condition)
    .where(isBetween('step.registration_id', filter, before))
    .$if(saysMore, (query) =>
      query.where((eb) => eb.exists(eb.selectFrom('registration').select('registration.id').whereRef('registration.id', '=', 'step.registration_id').where(executionCondition(filter)))))
    .groupBy('step.registration_id')
    .orderBy('step.registration_id', 'desc')
    .limit(limit);
}

/** Ids grow with time: so what is newer or older than wanted is not read. */
function isBetween(column: 'registration.id' | 'step.registration_id', { createdFrom, createdTo }: ExecutionFilter, before: string | null): Expression<SqlBool> {
  const eb = expressionBuilder<Schema, 'registration' | 'step'>();
  return eb.and([
    ...(before === null ? [] : [eb(column, '<', before)]),
    ...(createdTo === undefined ? [] : [eb(column, '<', greatestIdAt(createdTo))]),
    ...(createdFrom === undefined ? [] : [eb(column, '>=', smallestIdAt(createdFrom))]),
  ]);
}

/** Two statements for all of them. @returns in the order of `ids`, without those that are gone. */
export async function readSummaries(db: Queryable, ids: string[]): Promise<ExecutionSummary[]> {
  const registrations = await db.selectFrom('registration')
    .select([
      'id', 'source', 'state', 'outcome', 'user_id as userId', 'connection_id as connectionId', 'connection_name as connectionName', 'client_id as clientId',
      'created_at as createdAt', 'closed_at as closedAt', 'due_at as dueAt', 'dispatch_error as dispatchError',
    ])
    .where('id', 'in', ids)
    .execute();
  const steps = await db.selectFrom('step')
    .leftJoin('attempt', (join) => join.onRef('attempt.step_id', '=', 'step.id').onRef('attempt.number', '=', 'step.last_attempt'))
    .select([
      'step.registration_id as registrationId', 'step.id', 'step.action_id as actionId', 'step.action_name as actionName', 'step.binding_id as bindingId', 'step.version_id as versionId',
      'step.version_number as versionNumber', 'step.state', 'step.phase', 'step.run', 'step.last_attempt as attemptsBegun', 'step.redrives', 'step.next_at as nextAt',
      'step.held_reason as heldReason', 'step.ended_at as endedAt', 'attempt.error_type as errorType', 'attempt.failed_calls as failedCalls',
    ])
    .where('step.registration_id', 'in', ids)
    .orderBy('step.position')
    .execute();
  return ids.flatMap((id) => {
    const registration = registrations.find((each) => each.id === id);
    if (registration === undefined) return [];
    const own = steps.filter((step) => step.registrationId === id);
    return [{
      ...registration,
      steps: own.map((step) => {
        const { registrationId: _id, failedCalls, ...rest } = step;
        return { ...rest, failedCalls: failedCalls ?? 0 };
      }),
    }];
  });
}
