import type { Row } from './schema.ts';

/**
 * When an Action's receiver is taken to be down, who tries for all then, and when it is up again. Rules only: they read
 * a row of `flow` and say what changes in it.
 *
 * A failure counts here when it counts in its step and a retry may mend it, whatever it was: the receiver that refuses,
 * and the deployment that breaks everywhere, are both better tried by one than by thousands. What no retry can mend
 * (`retryable: false`, code that does not load) ends its own step and says nothing about the next one. However often a
 * step has failed since the last success, it is one failure: two or three registrations that an Action cannot digest are
 * no outage. Attempts that did not end by the Action's own doing (lost, cancelled) say nothing either.
 */

/** Steps that have failed since the last success after which a receiver is taken to be down. */
export const DOWN_AFTER_FAILURES = 10;
const FIRST_PROBE_MS = 30_000;
const MAX_PROBE_MS = 5 * 60_000;
/** After a probe that ended by no doing of the Action. */
const NEXT_PROBE_MS = 5_000;

type FlowRow = Row<'flow'>;
type Change = Partial<FlowRow>;

/** What a claim of `stepId` meets: nothing to wait for, `down`, or the turn to try for all. */
export function receiverSays(row: FlowRow, stepId: string, now: number): 'go' | 'down' | 'probe' {
  if (row.down_since === null) return 'go';
  if (row.probe_step_id === stepId) return 'probe';
  return isProbeDue(row, now) ? 'probe' : 'down';
}

/** Whether somebody is to try for all: nobody does, or whoever did has not been heard of in time. */
export function isProbeDue(row: FlowRow, now: number): boolean {
  if (row.down_since === null || (row.next_probe_at ?? 0) > now) return false;
  return row.probe_step_id === null || (row.probe_until ?? 0) <= now;
}

/** @param untilMs how long nobody else tries unless this probe ends. */
export function beginProbe(stepId: string, now: number, untilMs: number): Change {
  return { probe_step_id: stepId, probe_until: now + untilMs };
}

/** After an attempt that succeeded. Null when nothing changes, as nearly always. */
export function afterSuccess(row: FlowRow | undefined, now: number): Change | null {
  if (row === undefined) return null;
  if (row.down_since !== null) return recovering(now);
  return row.failures === 0 ? null : { failures: 0, failed_step_ids: null };
}

/** The receiver is up, or a person says so: what is held is let go. */
export function recovering(now: number): Change {
  return {
    failures: 0,
    failed_step_ids: null,
    down_since: null,
    probe_step_id: null,
    probe_until: null,
    next_probe_at: null,
    recovering_since: now,
    next_release_at: now,
  };
}

/** After a failure that counts and that a retry may mend. Null when nothing changes. */
export function afterFailureOf(stepId: string, row: FlowRow | undefined, now: number): Change | null {
  if (row === undefined) return { failures: 1, failed_step_ids: JSON.stringify([stepId]) };
  if (row.down_since !== null) {
    // Attempts that began before say nothing new.
    if (row.probe_step_id !== stepId) return null;
    const failures = row.failures + 1;
    const delayMs = Math.min(FIRST_PROBE_MS * 2 ** (failures - DOWN_AFTER_FAILURES), MAX_PROBE_MS);
    return { failures, probe_step_id: null, probe_until: null, next_probe_at: now + delayMs };
  }
  const failed = row.failed_step_ids === null ? [] : (JSON.parse(row.failed_step_ids) as string[]);
  if (failed.includes(stepId)) return null;
  const failures = row.failures + 1;
  const change: Change = { failures, failed_step_ids: JSON.stringify([...failed, stepId]) };
  if (failures < DOWN_AFTER_FAILURES) return change;
  return { ...change, down_since: now, next_probe_at: now + FIRST_PROBE_MS, recovering_since: null, next_release_at: null };
}

/** After an attempt that was lost or cancelled. Null when nothing changes. */
export function afterNothing(stepId: string, row: FlowRow | undefined, now: number): Change | null {
  if (row?.probe_step_id !== stepId) return null;
  return { probe_step_id: null, probe_until: null, next_probe_at: now + NEXT_PROBE_MS };
}
