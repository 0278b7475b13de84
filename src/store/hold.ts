import type { StepPolicy } from '../domain/policy.ts';
import type { Claim } from './ledger-claim.ts';
import type { Database, Queryable } from './database.ts';
import { changeFlow, flowIdOf, HOLD_MS, lockFlow, POST_USER_REGISTRATION_FLOW, readFlow } from './flow-rows.ts';
import { type LockedRegistration, postponeCheck } from './ledger-rows.ts';
import { KEPT_MS, roomLeft } from './let-go.ts';
import { beginProbe, receiverSays } from './receiver.ts';
import type { HeldReason, Row } from './schema.ts';

type StepRow = Row<'step'>;

/** As they stand in Temporal's histories. */
const IN_WORDS: Record<HeldReason, string> = {
  paused: 'it is paused',
  down: 'its receiver is taken to be down, and another attempt tries for all',
  concurrency: 'as many attempts at it run as its binding allows',
  busy: 'it has its share of this worker',
};
/** A probe that has not ended this long after its deadline is taken to be dead. */
const PROBE_GRACE_MS = 30_000;

/**
 * Says why no attempt at a step that is due may begin now; null when one may, and then the caller begins it in the same
 * transaction.
 *
 * Whether it is paused or down is read again under the lock of whoever ends that: a step is either seen by them and let
 * go, or sees that it may begin.
 *
 * @param claim.takeShare see `ClaimInput`; asked last.
 */
export async function reasonToHold(
  database: Database,
  tx: Queryable,
  claim: { step: StepRow; policy: StepPolicy; now: number; takeShare: ((actionId: string) => boolean) | undefined },
): Promise<HeldReason | null> {
  const { step, policy, now } = claim;
  const { trigger, action } = await readFlow(tx, step.action_id);
  if (trigger !== undefined && trigger.paused_at !== null) {
    if ((await lockFlow(database, tx, POST_USER_REGISTRATION_FLOW)).paused_at !== null) return 'paused';
  }
  const isRestricted = action !== undefined && (action.paused_at !== null || action.down_since !== null);
  let probes = false;
  if (isRestricted || policy.concurrency !== null) {
    const locked = await lockFlow(database, tx, flowIdOf(step.action_id));
    if (locked.paused_at !== null) return 'paused';
    const says = receiverSays(locked, step.id, now);
    if (says === 'down') return 'down';
    if (policy.concurrency !== null && !(await hasRoom(database, tx, step, policy.concurrency, now))) return 'concurrency';
    probes = says === 'probe';
  }
  if (claim.takeShare?.(step.action_id) === false) return 'busy';
  if (probes) await changeFlow(tx, flowIdOf(step.action_id), beginProbe(step.id, now, policy.timeoutMs + PROBE_GRACE_MS), now);
  return null;
}

/** Who was let go finds the room that was made for it; whoever comes new, what is left. */
async function hasRoom(database: Database, tx: Queryable, step: StepRow, limit: number, now: number): Promise<boolean> {
  const { free, kept } = await roomLeft(database, tx, step.action_id, limit);
  const isExpected = step.let_go_at !== null && step.let_go_at > now - KEPT_MS;
  return (isExpected ? free + kept : free) > 0;
}

/**
 * Writes down that a step is held, and says what its workflow does. One that meets a receiver that is down is parked at
 * once, so that the Actions after it go on, unless they wait for it, or it would have no long retries.
 */
export async function holdStep(tx: Queryable, registration: LockedRegistration, step: StepRow, policy: StepPolicy, reason: HeldReason): Promise<Claim> {
  const { now } = registration;
  const parks = reason === 'down' && step.state === 'pending' && policy.onFailure === 'continue' && policy.long.attempts > 0;
  const change: Partial<StepRow> = {
    held_reason: reason,
    // Its place in the queue, however often it comes in vain.
    held_at: step.held_at ?? now,
    let_go_at: null,
    ...(parks ? { state: 'parked', phase: 'long', counted: 0, phase_started_at: null, next_at: null } : {}),
  };
  await tx.updateTable('step').set(change).where('id', '=', step.id).execute();
  await postponeCheck(tx, { ...registration, steps: registration.steps.map((each) => (each.id === step.id ? { ...each, ...change } : each)) });
  const delayMs = HOLD_MS[reason];
  return parks ? { claim: 'recorded', state: { state: 'parked', delayMs } } : { claim: 'held', delayMs, reason: IN_WORDS[reason] };
}
