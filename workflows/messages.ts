import { defineSignal } from '@temporalio/workflow';

/**
 * The wire contract between API, worker and workflow: names and shapes that stand in histories. Once released they
 * only grow. They carry ids and outcomes, never events, secrets, code or logs.
 */

/** Task queue of workflow tasks and store activities. */
export const REGISTRATION_TASK_QUEUE = 'registration';
/** Task queue of Action attempts: its slots are sandbox processes. */
export const ACTIONS_TASK_QUEUE = 'actions';

export const WORKFLOW_TYPE = 'userRegistration';

/** The workflow of a registration, so that a second start finds the first. */
export function workflowIdOf(registrationId: string): string {
  return `user-registration/${registrationId}`;
}

/** Says that the ledger has changed: look at it again. Carries nothing. */
export const lookSignal = defineSignal('look');

export interface UserRegistrationInput {
  v: 1;
  registrationId: string;
}

/** What the workflow ends with; the ledger has the whole. */
export interface RegistrationResult {
  outcome: 'succeeded' | 'failed' | 'cancelled' | 'nothing-bound';
  /** One line per step in binding order, e.g. `Notify Slack v3: succeeded`. */
  steps: string[];
}

/** A step that is not at its end, as the workflow needs it. */
export interface OpenStep {
  stepId: string;
  /** Bounded, one line: it is copied into the history as the activity's summary. */
  label: string;
  actionId: string;
  phase: 'quick' | 'long';
  /** Until the next attempt is due; 0 when it is due now. */
  delayMs: number;
  onFailure: 'continue' | 'wait';
  /** The attempt is killed after this by the sandbox; Temporal's own limit lies above it. */
  timeoutMs: number;
  /** Since 0.2.0. Another one than before: somebody wishes it to be taken up anew. */
  wish?: number;
  /** Since 0.2.0. It runs again on somebody's wish: after first attempts. */
  redriven?: boolean;
}

export interface RegistrationRef {
  registrationId: string;
}

export interface RunActionInput extends RegistrationRef {
  stepId: string;
  phase: 'quick' | 'long';
}

/** The end of an attempt that could not be written to the ledger; ids and outcome only. */
export interface Settlement {
  attemptId: string;
  outcome: 'succeeded' | 'failed';
  endedAt: number;
  errorType?: string;
  retryable?: boolean;
  retryAfterMs?: number;
}

/**
 * What became of a step. `held`: not tried now for a reason of ours, ask again after `delayMs`, and later less often, but
 * when the lease of an attempt that may be alive ends. `unrecorded`: the Action ran, and only the record of it is missing.
 */
export type RunActionResult =
  | { state: 'succeeded' | 'failed' | 'blocked' | 'cancelled' | 'skipped' }
  | { state: 'parked'; delayMs: number }
  | { state: 'held'; delayMs: number; leaseEndsInMs?: number; reason: string }
  | { state: 'unrecorded'; settlement: Settlement };

/** What a step's record says after its attempt was settled; `retry` asks for another attempt of the same phase. */
export type SettledState =
  | { state: 'succeeded' | 'failed' | 'blocked' | 'cancelled' | 'skipped' }
  | { state: 'parked'; delayMs: number }
  | { state: 'retry'; delayMs: number };

export type CloseResult = { closed: false } | { closed: true; result: RegistrationResult };

/** Activities on the task queue `registration`. */
export interface LedgerActivities {
  loadOpenSteps(ref: RegistrationRef): Promise<OpenStep[]>;
  settleAttempt(input: RegistrationRef & { settlement: Settlement }): Promise<SettledState>;
  closeRegistration(ref: RegistrationRef): Promise<CloseResult>;
  cancelRegistration(ref: RegistrationRef): Promise<RegistrationResult>;
}

/** Activities on the task queue `actions`. */
export interface ActionActivities {
  /**
   * One attempt at a step. Throws only for a failure of the Action that the same phase retries; its
   * `nextRetryDelay` comes from the ledger.
   */
  runAction(input: RunActionInput): Promise<RunActionResult>;
}
