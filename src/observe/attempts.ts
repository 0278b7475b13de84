import { type InvocationResult, isFailedCall } from '../domain/invocation.ts';
import type { Logger } from '../logger.ts';
import type { ClaimedStep, LostAttempt } from '../store/ledger.ts';
import type { RunActionInput } from '../../workflows/messages.ts';
import type { Metrics } from './metrics.ts';
import { registrationTraceParent, traceIdField } from './trace-parent.ts';
import { recordCalls, type Tracing } from './tracing.ts';

/** How an attempt ended. `lost`, `cancelled`: stopped by us, and not counted. */
export type WatchedEnd =
  | { outcome: 'lost' | 'cancelled'; reason: string }
  | { result: Extract<InvocationResult, { outcome: 'succeeded' | 'failed' }>; state: string; nextInMs?: number };

/** One attempt that an eye is kept on. */
export interface WatchedAttempt {
  /** For its outgoing requests; null when traces are off. */
  traceParent: string | null;
  /** To be called once. */
  ended(end: WatchedEnd): void;
}

export type WatchAttempt = (step: ClaimedStep, phase: RunActionInput['phase']) => WatchedAttempt;

/** Told of attempts whose worker could not tell of them any more. */
export type WatchLost = (lost: LostAttempt[]) => void;

/** The same count and line for attempts that were lost with their worker; nobody knows how long they ran or what they did. */
export function createWatchLost({ metrics, logger, shownUserId }: { metrics: Metrics; logger: Logger; shownUserId(userId: string): string }): WatchLost {
  return (lost) => {
    for (const each of lost) {
      metrics.attempts.inc({ action: metrics.postAction(each.actionName), outcome: 'lost' });
      logger.warn({ ...idsOf(each, shownUserId), phase: each.attempt.phase, outcome: 'lost', reason: 'its worker was not heard of any more' }, 'attempt');
    }
  };
}

function idsOf(step: Omit<LostAttempt, 'attempt'> & { attempt: { id: string; number: number } }, shownUserId: (userId: string) => string) {
  return {
    registration_id: step.registrationId,
    user_id: shownUserId(step.userId),
    connection: step.connectionName,
    step_id: step.stepId,
    action_id: step.actionId,
    action: step.actionName,
    version: step.versionNumber,
    attempt_id: step.attempt.id,
    attempt: step.attempt.number,
  };
}

/** Counts and times attempts, writes one line of the log for each, and gives it a span with its outgoing requests. */
export function createWatchAttempt({ metrics, tracing, logger, shownUserId }: { metrics: Metrics; tracing: Tracing; logger: Logger; shownUserId(userId: string): string }): WatchAttempt {
  return (step, phase) => {
    const { attempt, actionName } = step;
    const parent = step.traceParent === null ? null : registrationTraceParent(step.traceParent);
    const self = tracing.begin(parent);
    const startedAt = Date.now();
    const start = performance.now();

    return {
      traceParent: self,

      ended(end) {
        const durationMs = Math.round(performance.now() - start);
        const result = 'result' in end ? end.result : undefined;
        const outcome = 'result' in end ? end.result.outcome : end.outcome;
        const errorType = result?.outcome === 'failed' ? result.error.type : undefined;
        const failedCalls = result?.calls.filter(isFailedCall).length ?? 0;

        const action = metrics.postAction(actionName);
        metrics.attempts.inc({ action, outcome });
        metrics.failedCalls.inc({ action }, failedCalls);
        if (result !== undefined) metrics.attemptSeconds.observe({ action }, result.durationMs / 1000);

        logger.info(
          {
            ...idsOf(step, shownUserId),
            phase,
            outcome,
            ...(errorType === undefined ? {} : { error_type: errorType }),
            ...('state' in end ? { state: end.state } : { reason: end.reason }),
            duration_ms: result?.durationMs ?? durationMs,
            calls: result?.calls.length ?? 0,
            failed_calls: failedCalls,
            ...('nextInMs' in end ? { next_in_ms: end.nextInMs } : {}),
            ...traceIdField(self),
          },
          'attempt',
        );

        tracing.record({
          self,
          parent,
          name: `Action ${actionName}`,
          kind: 'internal',
          startedAt,
          endedAt: startedAt + durationMs,
          attributes: {
            'usher.registration_id': step.registrationId,
            'usher.trigger': 'post-user-registration',
            'usher.action_id': step.actionId,
            'usher.action': actionName,
            'usher.version': step.versionNumber,
            'usher.attempt': attempt.number,
            'usher.phase': phase,
            'usher.outcome': outcome,
          },
          ...(outcome === 'succeeded' ? {} : { error: errorType ?? outcome }),
        });
        recordCalls(tracing, self, result?.calls ?? []);
      },
    };
  };
}
