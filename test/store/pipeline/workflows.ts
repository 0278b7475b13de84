import type { AttemptOutcome } from '../../../src/store/schema.ts';
import type { AttemptEnd, Ledger } from '../../../src/store/ledger.ts';
import type { WorkflowStatus } from '../../../src/temporal/registration-starter.ts';
import type { OpenStep, SettledState } from '../../../workflows/messages.ts';
import { LEASE_MS, THREW } from '../steps.ts';
import { holdPauseMs } from '../../../workflows/hold-pause.ts';

/**
 * Plays the part of workflows and workers, one call of the ledger at a time, and goes by nothing but its words; see
 * workflows/user-registration.ts, workflows/lane.ts and activities/run-action.ts.
 */

interface Lane {
  step: OpenStep;
  phase: 'quick' | 'long';
  /** By the test's clock. */
  wakeAt: number;
  holds: number;
  attempt: { id: string; worker: string } | null;
  /** How it ended. */
  end: string | null;
  /** The ledger wishes something else, but its attempt still runs. */
  isOutdated: boolean;
}

export interface Workflow {
  registrationId: string;
  status: WorkflowStatus;
  looked: boolean;
  /** The steps as they were loaded; null: to be loaded. */
  order: string[] | null;
  lanes: Map<string, Lane>;
}

/** What happens at the next call. */
export interface Circumstances {
  worker: string;
  /** Which of the steps that could go on. */
  pick: number;
  /** The worker has a sandbox left for the Action. */
  hasRoom: boolean;
  outcome: (step: OpenStep) => 'succeeded' | 'failed' | 'failed for good' | 'lost';
  /** Its worker dies before or after the store has done the call. `unheard`: the store did it, and the answer got lost. */
  fate: 'goes on' | 'dies before' | 'dies after' | 'unheard';
  /** Timers fire early, as those of a restored Temporal would. */
  isHasty: boolean;
  now: number;
}

export function newWorkflow(registrationId: string): Workflow {
  return { registrationId, status: 'running', looked: false, order: null, lanes: new Map() };
}

/** The next call that this workflow would make. @returns false when it sleeps. */
export async function goOn(ledger: Ledger, workflow: Workflow, how: Circumstances): Promise<boolean> {
  if (workflow.order === null || workflow.looked) {
    await load(ledger, workflow, how);
    return true;
  }
  const begun = begunLanes(workflow, workflow.order);
  const awake = [...workflow.lanes.values()].filter((lane) => lane.attempt !== null || (begun.includes(lane) && lane.end === null && (how.isHasty || lane.wakeAt <= how.now)));
  const lane = awake[how.pick % awake.length];
  if (lane !== undefined) {
    if (lane.attempt === null) await claim(ledger, workflow, lane, how);
    else await settle(ledger, workflow, lane, how);
    return true;
  }
  if (begun.some(({ end }) => end === null)) return false;
  if (how.fate === 'dies before') return true;
  const { closed } = await ledger.closeRegistration(workflow.registrationId);
  if (how.fate !== 'goes on') return true;
  if (closed && !workflow.looked) workflow.status = 'completed';
  workflow.order = null;
  workflow.lanes.clear();
  return true;
}

/** Nothing of it is under way or waits for a worker. */
export function sleeps({ order, looked, lanes }: Workflow, now: number): boolean {
  return order !== null && !looked && [...lanes.values()].every((lane) => lane.attempt === null && (lane.end !== null || lane.wakeAt > now));
}

/** Each step begins after the one before it has ended or been parked, unless it waits for its success. */
function begunLanes({ lanes }: Workflow, order: string[]): Lane[] {
  const begun: Lane[] = [];
  for (const stepId of order) {
    const lane = lanes.get(stepId)!;
    begun.push(lane);
    const { onFailure } = lane.step;
    const letsGoOn = lane.end === null ? lane.phase === 'long' && onFailure === 'continue' : onFailure === 'continue' || lane.end === 'succeeded' || lane.end === 'skipped';
    if (!letsGoOn) break;
  }
  return begun;
}

async function load(ledger: Ledger, workflow: Workflow, { now, fate }: Circumstances): Promise<void> {
  workflow.looked = false;
  const steps = await ledger.loadOpenSteps(workflow.registrationId);
  // What was loaded may be older than the wish that came meanwhile.
  if (workflow.looked || fate !== 'goes on') {
    workflow.looked = true;
    return;
  }
  for (const [stepId, lane] of workflow.lanes) {
    const step = steps.find((each) => each.stepId === stepId);
    if (lane.end === null && step !== undefined && step.wish === lane.step.wish) continue;
    if (lane.attempt !== null && (await ledger.isStepOpen(stepId))) {
      lane.isOutdated = true;
      lane.step = step ?? lane.step;
      continue;
    }
    if (lane.attempt !== null) await ledger.settleAttempt(endOf(lane.attempt.id, 'cancelled'));
    workflow.lanes.delete(stepId);
  }
  for (const step of steps) if (!workflow.lanes.has(step.stepId)) workflow.lanes.set(step.stepId, newLane(step, now));
  workflow.order = steps.map((step) => step.stepId);
}

function newLane(step: OpenStep, now: number): Lane {
  return { step, phase: step.phase, wakeAt: step.phase === 'long' ? now + step.delayMs : now, holds: 0, attempt: null, end: null, isOutdated: false };
}

async function claim(ledger: Ledger, { registrationId }: Workflow, lane: Lane, how: Circumstances): Promise<void> {
  // Its timer has fired: should the worker die, Temporal repeats the activity.
  lane.wakeAt = how.now;
  if (how.fate === 'dies before') return;
  const { stepId } = lane.step;
  const answer = await ledger.claimStep({ registrationId, stepId, phase: lane.phase, workerId: how.worker, leaseMs: LEASE_MS, takeShare: () => how.hasRoom });
  // An attempt of which nobody knows: its lease has to run out.
  if (how.fate !== 'goes on') return;
  if (answer.claim === 'claimed') {
    lane.attempt = { id: answer.step.attempt.id, worker: how.worker };
    lane.holds = 0;
  } else if (answer.claim === 'recorded') {
    take(lane, answer.state, how.now);
  } else {
    lane.wakeAt = how.now + holdPauseMs(answer, lane.holds++);
  }
}

async function settle(ledger: Ledger, { lanes, order }: Workflow, lane: Lane, how: Circumstances): Promise<void> {
  const attemptId = lane.attempt!.id;
  lane.attempt = null;
  if (how.fate === 'dies before') return;
  const outcome = how.outcome(lane.step);
  const end = endOf(attemptId, outcome === 'failed for good' ? 'failed' : outcome, outcome !== 'failed for good');
  let settled = await ledger.settleAttempt(end);
  if (how.fate === 'dies after') return;
  if (how.fate === 'unheard' && end.outcome !== 'lost' && end.outcome !== 'cancelled') {
    const { outcome: repeated, endedAt } = end;
    settled = await ledger.settleUnrecorded({ attemptId, outcome: repeated, endedAt, retryable: outcome === 'failed' });
  }
  if (!lane.isOutdated) {
    take(lane, settled, how.now);
  } else if (order!.includes(lane.step.stepId)) {
    lanes.set(lane.step.stepId, newLane(lane.step, how.now));
  } else {
    lanes.delete(lane.step.stepId);
  }
}

function take(lane: Lane, said: SettledState, now: number): void {
  if (said.state === 'parked') lane.phase = 'long';
  else if (said.state !== 'retry') lane.end = said.state;
  if ('delayMs' in said) lane.wakeAt = now + said.delayMs;
}

export function endOf(attemptId: string, outcome: AttemptOutcome, retryable = true): AttemptEnd {
  const error = outcome === 'failed' ? { error: { ...THREW, retryable } } : {};
  return { attemptId, outcome, endedAt: Date.now(), ...error, retryAfterMs: 0, logs: [], logsTruncated: false, calls: [], cacheChanges: [] };
}
