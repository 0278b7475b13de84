import { workflowIdOf } from '../../../workflows/messages.ts';
import { type ActionError, isFailedCall, type LogLine, type OutgoingCall } from '../../domain/invocation.ts';
import type { ActionResult, StoredExecution } from '../../store/executions.ts';
import type { AttemptAnswer, CallAnswer, ExecutionAnswer, ExecutionResult, FailureAnswer, LogLineAnswer, PreActionAnswer, StepAnswer } from './execution-schema.ts';
import type { AttemptRecord, RegistrationRecord, StepFacts, StepRecord } from '../../store/ledger.ts';

/*
 * An execution as `GET /api/v2/actions/executions/{id}` gives it: Auth0's fields (contract §6), and under `usher` all
 * that we know beyond them.
 */

/** An execution of pre-user-registration. `partial`: an Action failed, or could not be run. */
export function preExecutionBody(execution: StoredExecution): ExecutionAnswer {
  return {
    id: execution.id,
    trigger_id: 'pre-user-registration',
    status: execution.status,
    results: execution.results.map((result) => ({
      action_name: result.actionName,
      ...errorOf(result.bindingId, result.error?.message ?? result.reason),
      started_at: iso(result.startedAt),
      ended_at: iso(result.endedAt),
    })),
    created_at: iso(execution.createdAt),
    updated_at: iso(execution.updatedAt),
    usher: { registration_id: execution.registrationId, actions: execution.results.map(actionOf) },
  };
}

const STATUS_OF = { succeeded: 'final', 'nothing-bound': 'final', failed: 'partial', cancelled: 'canceled' } as const;

/** The execution of post-user-registration, which is the registration itself; `results` has the Actions that have begun. */
export function registrationBody(registration: RegistrationRecord): ExecutionAnswer {
  const { steps } = registration;
  const lastSign = Math.max(registration.createdAt, ...steps.flatMap(({ attempts }) => attempts.map((a) => a.endedAt ?? a.startedAt)));
  return {
    id: registration.id,
    trigger_id: 'post-user-registration',
    status: registration.outcome === null ? 'pending' : STATUS_OF[registration.outcome],
    results: steps.flatMap((step) => resultOf(step) ?? []),
    created_at: iso(registration.createdAt),
    updated_at: iso(registration.closedAt ?? lastSign),
    usher: {
      registration_id: registration.id,
      source: registration.source,
      user_id: registration.userId,
      connection_id: registration.connectionId,
      client_id: registration.clientId,
      state: registration.state,
      outcome: registration.outcome,
      due_at: iso(registration.dueAt),
      dispatch_error: registration.dispatchError,
      workflow_id: workflowIdOf(registration.id),
      steps: steps.map(stepOf),
    },
  };
}

function resultOf(step: StepRecord): ExecutionResult | null {
  const first = step.attempts[0];
  const last = step.attempts.at(-1);
  if (first === undefined || last === undefined) return null;
  const failed = step.state === 'succeeded' ? undefined : step.attempts.findLast((attempt) => attempt.error !== null);
  const endedAt = step.endedAt ?? last.endedAt;
  return {
    action_name: step.actionName,
    ...errorOf(failed?.id ?? '', failed?.error?.message),
    started_at: iso(first.startedAt),
    ...(endedAt === null ? {} : { ended_at: iso(endedAt) }),
  };
}

/** Auth0's ActionError; it has no documented use for `url`. */
function errorOf(id: string, message: string | undefined): Pick<ExecutionResult, 'error'> {
  return message === undefined ? {} : { error: { id, msg: message, url: '' } };
}

function actionOf(result: ActionResult): PreActionAnswer {
  return {
    action_id: result.actionId,
    action_name: result.actionName,
    binding_id: result.bindingId,
    version_id: result.versionId,
    version_number: result.versionNumber,
    outcome: result.outcome,
    error: failureOf(result.error ?? null),
    reason: result.reason ?? null,
    calls: result.calls.map(callOf),
    logs: result.logs.map(logOf),
    logs_truncated: result.logsTruncated,
  };
}

/** A step as the API shows it, with its attempts. */
export function stepOf(step: StepRecord): StepAnswer {
  return { ...stepFactsOf(step), attempts: step.attempts.map(attemptOf) };
}

/** A step as the API shows it wherever it does. */
export function stepFactsOf(step: StepFacts): Omit<StepAnswer, 'attempts'> {
  return {
    id: step.id,
    action_id: step.actionId,
    action_name: step.actionName,
    binding_id: step.bindingId,
    version_id: step.versionId,
    version_number: step.versionNumber,
    state: step.state,
    phase: step.phase,
    run: step.run,
    redrives: step.redrives,
    next_attempt_at: iso(step.nextAt),
    held_reason: step.heldReason,
    ended_at: iso(step.endedAt),
    attempts_begun: step.attemptsBegun,
  };
}

/** An attempt as the API shows it. */
export function attemptOf(attempt: AttemptRecord): AttemptAnswer {
  return {
    id: attempt.id,
    number: attempt.number,
    run: attempt.run,
    phase: attempt.phase,
    outcome: attempt.outcome ?? 'running',
    counted: attempt.counted,
    failed_calls: attempt.calls.filter(isFailedCall).length,
    idempotency_key: attempt.idempotencyKey,
    started_at: iso(attempt.startedAt),
    ended_at: iso(attempt.endedAt),
    error: failureOf(attempt.error),
    calls: attempt.calls.map(callOf),
    logs: attempt.logs.map(logOf),
    logs_truncated: attempt.logsTruncated,
  };
}

function failureOf(error: ActionError | null): FailureAnswer | null {
  if (error === null) return null;
  const { type, name, message, stack, retryable } = error;
  return { type, name, message, stack: stack ?? null, retryable };
}

/** A call as the API shows it. */
export function callOf(call: OutgoingCall): CallAnswer {
  return {
    method: call.method,
    host: call.host,
    status: call.status ?? null,
    error: call.error ?? null,
    started_at: iso(call.startedAt),
    duration_ms: Math.round(call.durationMs),
    retry_after_ms: call.retryAfterMs ?? null,
  };
}

/** A line of a log as the API shows it. */
export function logOf({ at, level, text }: LogLine): LogLineAnswer {
  return { at: iso(at), level, text };
}

/** A time as the API shows it. */
export function iso(ms: number): string;
export function iso(ms: number | null): string | null;
export function iso(ms: number | null): string | null {
  return ms === null ? null : new Date(ms).toISOString();
}
