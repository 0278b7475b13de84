import type { Database, Queryable } from './database.ts';
import { changeFlow, flowIdOf, type FlowRow, lockFlow, readFlow } from './flow-rows.ts';
import { policyOf } from './ledger-rows.ts';
import { letGo } from './let-go.ts';
import { afterFailureOf, afterNothing, afterSuccess } from './receiver.ts';
import type { AttemptOutcome, Row } from './schema.ts';

/** How an attempt ended, as far as it matters to the other steps of its Action. */
export interface AttemptOver {
  outcome: AttemptOutcome;
  /** It is a failure that counts. */
  counts: boolean;
  retryable: boolean;
  now: number;
}

/**
 * What the end of an attempt means for the other steps of its Action: whether its receiver is up or down, and that the
 * step that has waited longest for room is let go.
 *
 * @returns true when one was let go.
 */
export async function makeRoom(database: Database, tx: Queryable, step: Row<'step'>, over: AttemptOver): Promise<boolean> {
  const id = flowIdOf(step.action_id);
  const { action } = await readFlow(tx, step.action_id);
  // An Action that succeeds, as they do nearly always, locks nothing. Under a limit, a claim that counts this attempt as
  // alive has either been committed, and is let go here, or begins after this.
  const isLimited = policyOf(step).concurrency !== null;
  if (isLimited || changeBy(over, step.id, action) !== null) {
    const locked = await lockFlow(database, tx, id);
    const change = changeBy(over, step.id, locked);
    if (change !== null) await changeFlow(tx, id, change, over.now);
  }
  return (await letGo(database, tx, { actionId: step.action_id, reasons: isLimited ? ['concurrency', 'busy'] : ['busy'] }, 1)).length > 0;
}

/** Null when nothing changes. */
function changeBy({ outcome, counts, retryable, now }: AttemptOver, stepId: string, row: FlowRow | undefined): Partial<FlowRow> | null {
  if (outcome === 'succeeded') return afterSuccess(row, now);
  if (counts && retryable) return afterFailureOf(stepId, row, now);
  return afterNothing(stepId, row, now);
}
