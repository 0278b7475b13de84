/** What a bulk operation does with each registration. */
export type BulkTask =
  /** Runs steps again: those that failed, or all. */
  | { kind: 'redrive'; steps: 'failed' | 'all'; version: 'pinned' | 'deployed' }
  /** The same with the waiting and the failed steps of one Action, and what is blocked behind them. */
  | { kind: 'redrive'; steps: 'waiting-and-failed'; actionId: string; version: 'pinned' | 'deployed' }
  /** Makes waiting steps due now: those of one Action, or all. */
  | { kind: 'retry'; actionId?: string | undefined }
  | { kind: 'cancel' }
  /** Says that an Action is not to run where it has not run yet. */
  | { kind: 'skip'; actionId: string }
  /** Runs an Action for those that never had it: registrations, or users who have no registration. */
  | { kind: 'backfill'; actionId: string; of: 'registrations' | 'users' };

export type BulkKind = BulkTask['kind'];

export type BulkState = 'running' | 'paused' | 'cancelled' | 'done';

export type BulkResult = 'changed' | 'unchanged' | 'failed';

/** Registrations a second. */
export const BULK_RATE = { default: 50, max: 1000 };
