import { workflowIdOf } from '../../../workflows/messages.ts';
import type { ExecutionSummary } from '../../store/execution-list.ts';
import type { RegistrationFacts, RegistrationRecord } from '../../store/ledger.ts';
import { iso, stepFactsOf, stepOf } from '../actions/execution-body.ts';
import type { DetailsAnswer, SummaryAnswer } from './executions-schema.ts';

/** @param webUi see `UsherExecutionsRoutesDeps` */
export function summaryAnswer(summary: ExecutionSummary, webUi: string | null): SummaryAnswer {
  return { ...registrationOf(summary, webUi), steps: summary.steps.map((step) => ({ ...stepFactsOf(step), last_error_type: step.errorType, last_failed_calls: step.failedCalls })) };
}

/** A registration with its attempts. */
export function detailsAnswer(registration: RegistrationRecord, webUi: string | null): DetailsAnswer {
  return { ...registrationOf(registration, webUi), steps: registration.steps.map(stepOf) };
}

function registrationOf(registration: RegistrationFacts, webUi: string | null): Omit<SummaryAnswer, 'steps'> {
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
