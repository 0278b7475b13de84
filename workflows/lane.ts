import { CancellationScope, continueAsNew, sleep, workflowInfo } from '@temporalio/workflow';
import { actionAttempts, ledger } from './activity-options.ts';
import { holdPauseMs } from './hold-pause.ts';
import type { OpenStep, RunActionResult, SettledState } from './messages.ts';
import type { userRegistration } from './user-registration.ts';

/** How a step ended for the workflow, for now or for good. */
export type PhaseEnd = Exclude<SettledState, { state: 'retry' }>;

/** One open step under way, from its first attempt to its end, through parking and long retries. */
export interface Lane {
  step: OpenStep;
  /** `long`: it is parked and retries beside the others. */
  phase: 'quick' | 'long';
  /** How it ended, when it did so by itself. */
  end: PhaseEnd | null;
  /** What keeps the whole workflow from going on. */
  error: unknown;
  /** It has ended, or was stopped. */
  isOver: boolean;
  scope: CancellationScope;
  done: Promise<void>;
}

/** Begins with a step. What becomes of it stands in the lane; the promise `done` never rejects. */
export function beginLane(registrationId: string, step: OpenStep): Lane {
  const scope = new CancellationScope();
  const lane: Lane = { step, phase: step.phase, end: null, error: undefined, isOver: false, scope, done: Promise.resolve() };
  lane.done = keep(lane, scope.run(() => runLane(registrationId, lane)));
  return lane;
}

async function keep(lane: Lane, work: Promise<PhaseEnd>): Promise<void> {
  try {
    lane.end = await work;
  } catch (error) {
    // Of a stopped lane the ledger knows more: its attempt may have failed while it was being stopped.
    if (!lane.scope.consideredCancelled) lane.error = error;
  }
  lane.isOver = true;
}

/**
 * Ends a lane. A retry that is waited for is given up; an attempt that runs ends by itself, unless the ledger says that
 * its step is not wanted any more.
 */
export async function stopLane(lane: Lane): Promise<void> {
  lane.scope.cancel();
  await lane.done;
}

async function runLane(registrationId: string, lane: Lane): Promise<PhaseEnd> {
  const { step } = lane;
  const quick: PhaseEnd = step.phase === 'long' ? { state: 'parked', delayMs: step.delayMs } : await runPhase(registrationId, step);
  if (quick.state !== 'parked') return quick;
  lane.phase = 'long';
  await sleep(quick.delayMs);
  return await runPhase(registrationId, { ...step, phase: 'long' });
}

/** One phase of a step: Temporal retries what the Action failed; here we only wait for what we could not do. */
async function runPhase(registrationId: string, step: OpenStep): Promise<PhaseEnd> {
  const actions = actionAttempts(step);
  for (let holds = 0; ; holds++) {
    const result: RunActionResult = await actions.runAction({ registrationId, stepId: step.stepId, phase: step.phase });
    if (result.state === 'held') {
      // The new run finds the same in the ledger; a hold of days must not fill the history.
      if (workflowInfo().continueAsNewSuggested) await lookAnew(registrationId);
      await sleep(holdPauseMs(result, holds));
      continue;
    }
    if (result.state !== 'unrecorded') return result;
    const settled = await ledger.settleAttempt({ registrationId, settlement: result.settlement });
    if (settled.state !== 'retry') return settled;
    await sleep(settled.delayMs);
  }
}

/** Goes on in a new run with an empty history, which finds what is open in the ledger. */
export function lookAnew(registrationId: string): Promise<never> {
  return continueAsNew<typeof userRegistration>({ v: 1, registrationId });
}
