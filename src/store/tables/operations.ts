/** How the steps of an Action, or of a whole trigger, may run now: one row, which each claim reads. */
export interface FlowTable {
  /** `action/<id>` or `trigger/<id>`. */
  id: string;
  /** Since when it is paused, and by which client. */
  paused_at: number | null;
  paused_by: string | null;
  /** Failures in a row that count, over all registrations. */
  failures: number;
  /** Its receiver is taken to be down since then: one probe tries, the other steps are held. */
  down_since: number | null;
  /** The step that tries for all, and until when it is taken to be trying. */
  probe_step_id: string | null;
  probe_until: number | null;
  /** When the next probe may begin. */
  next_probe_at: number | null;
  /** Held steps are let go, oldest first, at a limited rate since then. */
  recovering_since: number | null;
  /** When the next of them may be let go. */
  next_release_at: number | null;
  updated_at: number;
}

/** Something asked of many registrations: one row with its progress, worked on by whoever holds the lease. */
export interface BulkOperationTable {
  id: string;
  kind: 'redrive' | 'retry' | 'cancel' | 'skip' | 'backfill';
  /** JSON: which registrations. */
  filter: string;
  /** JSON: what to do with each. */
  options: string;
  state: 'running' | 'paused' | 'cancelled' | 'done';
  /** Id of the last registration (or user) that is done. */
  cursor: string | null;
  /** Registrations a second. */
  rate: number;
  /** How many matched when it was made. */
  total: number;
  done: number;
  changed: number;
  /** Why it is not going on, when it meets something that stops it. */
  error: string | null;
  created_by: string;
  created_at: number;
  updated_at: number;
  ended_at: number | null;
  claimed_until: number | null;
}

/** What became of one registration in a bulk operation. */
export interface BulkItemTable {
  operation_id: string;
  /** Of the registration; for a backfill of a user without one, that which was made. */
  registration_id: string;
  result: 'changed' | 'unchanged' | 'failed';
  /** Why it was left as it was. */
  reason: string | null;
  at: number;
}
