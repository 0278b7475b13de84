import { workflowIdOf } from '../../../workflows/messages.ts';
import type { ExecutionSummary, StepSummary } from '../../store/execution-list.ts';
import type { RegistrationRecord } from '../../store/ledger.ts';
import { iso, stepOf } from '../actions/execution-body.ts';
import type { DetailsAnswer, SummaryAnswer } from './executions-schema.ts';

/** @param webUi see `UsherExecutionsRoutesDeps` */
export function summaryAnswer(summary: ExecutionSummary, webUi: string | null): SummaryAnswer {
  return { ...registrationOf(summary, webUi), steps: summary.steps.map(stepSummaryOf) };
}

/** A registration with its attempts. */
export function detailsAnswer(registration: RegistrationRecord, webUi: string | null): DetailsAnswer {
  return { ...registrationOf(registration, webUi), steps: registration.steps.map(stepOf) };
}

function registrationOf(registration: Omit<ExecutionSummary, 'steps'>, webUi: string | null): Omit<SummaryAnswer, 'steps'> {
  const workflowId = workflowIdOf(registration.id);
  return {
    id: registration.id,
    source: registration.source,
    user_id: registration.userId,
    connection: registration.connectionName,
    connection_id: registration.connectionId,
    client_id: registration.clientId,
    state: registration.state,
    outcome: registration.outcome,
    created_at: iso(registration.createdAt),
    closed_at: iso(registration.closedAt),
    due_at: iso(registration.dueAt),
    dispatch_error: registration.dispatchError,
    workflow_id: workflowId,
    workflow_url: webUi === null ? null : `${webUi}/workflows/${encodeURIComponent(workflowId)}`,
  };
}

function stepSummaryOf(step: StepSummary): SummaryAnswer['steps'][number] {
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
    attempts_begun: step.attempts,
    last_error_type: step.errorType,
    last_failed_calls: step.failedCalls,
  };
}
