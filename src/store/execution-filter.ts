import { type Expression, expressionBuilder, type SqlBool, sql } from 'kysely';
import { firstIdOf } from '../domain/ids.ts';
import type { RegistrationOutcome, RegistrationState, Schema, StepState } from './schema.ts';

/** Which registrations are meant, each with its post-user-registration execution; what is left out does not matter. */
export interface ExecutionFilter {
  /** With the provider: `auth0|…`. */
  userId?: string | undefined;
  /** Name of the connection. */
  connection?: string | undefined;
  source?: string | undefined;
  state?: RegistrationState | undefined;
  outcome?: RegistrationOutcome | undefined;
  /** Milliseconds since the epoch, both included. */
  createdFrom?: number | undefined;
  createdTo?: number | undefined;
  /** These five are about one and the same step: of this Action, */
  actionId?: string | undefined;
  /** in one of these states, */
  stepStates?: readonly StepState[] | undefined;
  /** held now for a reason of ours (true), or not (false), */
  held?: boolean | undefined;
  /** waiting for its next attempt, whether held or since one has failed (true), */
  waiting?: true | undefined;
  /** and whose last attempt ended with this type of error. */
  errorType?: string | undefined;
}

/** A condition on the table `registration`, for a query that has it under that name. */
export function executionCondition(filter: ExecutionFilter): Expression<SqlBool> {
  const eb = expressionBuilder<Schema, 'registration'>();
  const { userId, connection, source, state, outcome, createdFrom, createdTo } = filter;
  return eb.and([
    ...(userId === undefined ? [] : [eb('registration.user_id', '=', userId)]),
    ...(connection === undefined ? [] : [eb('registration.connection_name', '=', connection)]),
    ...(source === undefined ? [] : [eb('registration.source', '=', source)]),
    ...(state === undefined ? [] : [eb('registration.state', '=', state)]),
    ...(outcome === undefined ? [] : [eb('registration.outcome', '=', outcome)]),
    ...(createdFrom === undefined ? [] : [eb('registration.created_at', '>=', createdFrom)]),
    ...(createdTo === undefined ? [] : [eb('registration.created_at', '<=', createdTo)]),
    ...stepCondition(filter),
  ]);
}

/** True of a step that waits for its next attempt; the index `step_waiting` has these words. */
export const IS_WAITING = sql<SqlBool>`(next_at is not null or held_reason is not null)`;

/** A registration's id is made before its transaction begins, and clocks differ. */
const CLOCK_SLACK_MS = 60_000;

/** No registration that was created at this time or later has a smaller id. */
export function smallestIdAt(createdAt: number): string {
  return firstIdOf(createdAt - CLOCK_SLACK_MS);
}

/** No registration that was created at this time or before has a greater id. */
export function greatestIdAt(createdAt: number): string {
  return firstIdOf(createdAt + CLOCK_SLACK_MS);
}

function stepCondition({ actionId, stepStates, held, waiting, errorType }: ExecutionFilter): Expression<SqlBool>[] {
  if ([actionId, stepStates, held, waiting, errorType].every((each) => each === undefined)) return [];
  const eb = expressionBuilder<Schema, 'registration'>();
  let steps = eb.selectFrom('step').select('step.id').whereRef('step.registration_id', '=', 'registration.id');
  if (actionId !== undefined) steps = steps.where('step.action_id', '=', actionId);
  if (stepStates !== undefined) steps = steps.where('step.state', 'in', [...stepStates]);
  if (held !== undefined) steps = steps.where('step.held_reason', held ? 'is not' : 'is', null);
  if (waiting !== undefined) steps = steps.where(IS_WAITING);
  if (errorType !== undefined) {
    steps = steps
      .innerJoin('attempt', (join) => join.onRef('attempt.step_id', '=', 'step.id').onRef('attempt.number', '=', 'step.last_attempt'))
      .where('attempt.error_type', '=', errorType);
  }
  return [eb.exists(steps)];
}
