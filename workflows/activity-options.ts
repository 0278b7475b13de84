import { ActivityCancellationType, proxyActivities } from '@temporalio/workflow';
import type { ActionActivities, LedgerActivities, OpenStep } from './messages.ts';
import { ACTIONS_TASK_QUEUE } from './messages.ts';

/** Reads and writes of the ledger: short, harmless to repeat, and tried until the store is back. */
export const ledger = proxyActivities<LedgerActivities>({
  startToCloseTimeout: '15 seconds',
  retry: { initialInterval: '1 second', backoffCoefficient: 2, maximumInterval: '30 seconds' },
});

/**
 * One phase of a step. How often and when to retry is the ledger's to say (`nextRetryDelay` on each failure), so there
 * is no maximum here, and the retry policy speaks only where no failure did: a worker that died. No
 * schedule-to-close limit: a worker that was off over a weekend must not have used up a receiver's chances.
 */
export function actionAttempts(step: OpenStep): ActionActivities {
  return proxyActivities<ActionActivities>({
    taskQueue: ACTIONS_TASK_QUEUE,
    summary: step.phase === 'long' ? `${step.label} (long retries)` : step.label,
    // Above the sandbox's own deadline by what loading the version, spawning and settling may take.
    startToCloseTimeout: step.timeoutMs + 60_000,
    // A worker that was killed is noticed after this; it beats every 2 s.
    heartbeatTimeout: '10 seconds',
    retry: { initialInterval: '1 second', backoffCoefficient: 1 },
    // A cancelled step is over only when its sandbox is dead.
    cancellationType: ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
    // First attempts go before long retries and what is run again; of one kind, no Action crowds out the others.
    priority: { priorityKey: step.phase === 'quick' && step.redriven !== true ? 2 : 4, fairnessKey: step.actionId },
  });
}
