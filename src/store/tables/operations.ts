/** How the steps of an Action, or of a whole trigger, may run now: one row, which each claim reads. */
export interface FlowTable {
  /** `action/<id>` or `trigger/<id>`. */
  id: string;
  /** Since when it is paused, and by which client. */
  paused_at: number | null;
  paused_by: string | null;
  /** How many steps have failed since the last success. While it is down, its probes count too. */
  failures: number;
  /** JSON: which ones, until it is down. */
  failed_step_ids: string | null;
  /** Its receiver is taken to be down since then: one probe tries, the other steps are held. */
  down_since: number | null;
  /** The step that tries for all, and until when it is taken to be trying. */
  probe_step_id: string | null;
  probe_until: number | null;
  /** When the next probe may begin. */
  next_probe_at: number | null;
  /** Since then held steps are let go, oldest first, at a limited rate. */
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
  /** Everybody up to this id, of a registration or a user, is done; empty at the beginning. */
  cursor: string;
  /** Registrations a second. */
  rate: number;
  /** How many matched when it was made. */
  total: number;
  done: number;
  changed: number;
  failed: number;
  created_by: string;
  created_at: number;
  updated_at: number;
  ended_at: number | null;
  claimed_until: number | null;
}

/** What became of one registration in a bulk operation. */
export interface BulkItemTable {
  operation_id: string;
  /** Of the registration; of the user, where a backfill goes over users. */
  subject_id: string;
  /** That which was changed, or made for the user. */
  registration_id: string | null;
  result: 'changed' | 'unchanged' | 'failed';
  /** Why it was left as it was. */
  reason: string | null;
  at: number;
}
