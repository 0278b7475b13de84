import { managementError } from '../../domain/api-error.ts';
import type { BulkTask } from '../../domain/bulk-operation.ts';
import type { BulkOperation } from '../../store/bulk-operations.ts';
import type { ExecutionFilter } from '../../store/execution-filter.ts';
import type { FilterBody, OperationAnswer, OperationBody } from './operations-schema.ts';

/** The filter of a request. */
export function readFilter(body: FilterBody): ExecutionFilter {
  const { user_id: userId, created_from: from, created_to: to, action_id: actionId, step_states: stepStates, error_type: errorType, ...rest } = body;
  return present({ ...rest, userId, createdFrom: timeOf(from), createdTo: timeOf(to), actionId, stepStates, errorType });
}

/** The task of a request. @throws {ApiError} 400 where its options and its filter do not go together. */
export function readTask(body: OperationBody): BulkTask {
  switch (body.kind) {
    case 'redrive': {
      const { steps, action_id: actionId, version } = body.options;
      if (steps !== 'waiting-and-failed') {
        if (actionId !== undefined) throw refused('`options.action_id` goes with `"steps": "waiting-and-failed"`. To choose registrations by an Action, use `filter.action_id`.');
        return { kind: 'redrive', steps, version };
      }
      if (actionId === undefined) throw refused('`"steps": "waiting-and-failed"` needs the Action whose steps are meant: `options.action_id`.');
      return { kind: 'redrive', steps, actionId, version };
    }
    case 'retry':
      return present({ kind: 'retry', actionId: body.options.action_id });
    case 'cancel':
      return { kind: 'cancel' };
    case 'skip':
      return { kind: 'skip', actionId: body.options.action_id };
    // A backfill.
    default: {
      const { action_id: actionId, of } = body.options;
      const { user_id: _user, connection: _connection, created_from: _from, created_to: _to, ...rest } = body.filter;
      const [other] = Object.keys(rest);
      if (of === 'users' && other !== undefined) throw refused(`Users who have no registration cannot be chosen by \`filter.${other}\`, only by user_id, connection, created_from and created_to.`);
      return { kind: 'backfill', actionId, of };
    }
  }
}

/** A bulk operation as the API shows it. */
export function operationAnswer(operation: BulkOperation): OperationAnswer {
  const { id, task, filter, state, rate, total, done, changed, unchanged, failed, createdBy, createdAt, updatedAt, endedAt } = operation;
  const { kind, actionId, ...options }: BulkTask & { actionId?: string | undefined } = task;
  const restMs = (Math.max(0, total - done) / rate) * 1000;
  return {
    id,
    kind,
    filter: filterAnswer(filter),
    options: { ...options, ...(actionId === undefined ? {} : { action_id: actionId }) },
    state,
    rate,
    total,
    done,
    changed,
    unchanged,
    failed,
    created_by: createdBy,
    created_at: iso(createdAt),
    updated_at: iso(updatedAt),
    ended_at: endedAt === null ? null : iso(endedAt),
    estimated_end_at: state === 'running' ? iso(Date.now() + restMs) : null,
  };
}

function filterAnswer({ userId, createdFrom, createdTo, actionId, stepStates, errorType, ...rest }: ExecutionFilter): FilterBody {
  return present({
    ...rest,
    user_id: userId,
    created_from: createdFrom === undefined ? undefined : iso(createdFrom),
    created_to: createdTo === undefined ? undefined : iso(createdTo),
    action_id: actionId,
    step_states: stepStates === undefined ? undefined : [...stepStates],
    error_type: errorType,
  });
}

/** An offset can lead out of the years that have four digits. */
const LAST_MS = Date.UTC(9999, 11, 31);

function timeOf(text: string | undefined): number | undefined {
  return text === undefined ? undefined : Math.min(Math.max(0, Date.parse(text)), LAST_MS);
}

function iso(ms: number): string {
  return new Date(ms).toISOString();
}

/** Without what is undefined. */
function present<T extends object>(value: T): T {
  return Object.fromEntries(Object.entries(value).filter(([, each]) => each !== undefined)) as T;
}

function refused(message: string) {
  return managementError(400, message, 'invalid_body');
}
