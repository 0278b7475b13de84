import {
  ApplicationFailure,
  CancellationScope,
  condition,
  isCancellation,
  patched,
  setCurrentDetails,
  setHandler,
  workflowInfo,
} from '@temporalio/workflow';
import { ledger } from './activity-options.ts';
import { beginLane, type Lane, lookAnew, type PhaseEnd, stopLane } from './lane.ts';
import type { OpenStep, RegistrationResult, UserRegistrationInput } from './messages.ts';
import { lookSignal } from './messages.ts';

/** Since 0.2.0 a look is taken up while steps wait for their retries; before, only when all were at an end. */
const LOOK_AT_ONCE = 'look-at-once';
/** Since 0.2.0 a look that comes while a cancelled workflow waits for its attempts to end is taken up by a new run. */
const LOOK_AFTER_CANCEL = 'look-after-cancel';

/** What the workflow knows of the wishes that reach it. */
interface Looks {
  /** So many looks have been asked for. */
  count: number;
  /** Steps are under way, and a look since then wants them to be compared with the ledger. */
  interrupted: boolean;
  underWay: boolean;
}

/**
 * Runs the post-user-registration Actions of one registration.
 *
 * The first attempts go in binding order, each after the one before it has succeeded, failed for good or been parked.
 * Parked Actions retry independently of each other and of the Actions after them, unless their binding says that these
 * wait for its success. The ledger knows what is open and what became of it; a second or repeated workflow for the
 * same registration therefore does no harm.
 *
 * Whoever changes the ledger (cancel, skip, retry now, redrive, let go what was held) sends a look: the workflow loads
 * what is open again, leaves what did not change as it is, and takes up the rest anew.
 *
 * @returns what became of each Action, when none failed for good.
 * @throws {ActionsFailed} when at least one failed for good, so that the Web UI's list shows it.
 */
export async function userRegistration({ registrationId }: UserRegistrationInput): Promise<RegistrationResult> {
  const looks: Looks = { count: 0, interrupted: false, underWay: false };
  setHandler(lookSignal, () => {
    looks.count++;
    if (looks.underWay && patched(LOOK_AT_ONCE)) looks.interrupted = true;
  });

  const whole = CancellationScope.current();
  // A person's cancellation goes to the ledger first: whoever runs an attempt asks it whether the attempt is to end.
  return await CancellationScope.nonCancellable(async () => {
    const work = new CancellationScope();
    const lanes = new Map<string, Lane>();
    const result = work.run(() => runToTheEnd(registrationId, lanes, looks));
    try {
      return await Promise.race([result, whole.cancelRequested]);
    } catch (error) {
      if (!isCancellation(error) || !whole.consideredCancelled) throw error;
      const isLedgerFirst = patched(LOOK_AT_ONCE);
      const seen = looks.count;
      if (isLedgerFirst) await ledger.cancelRegistration({ registrationId });
      work.cancel();
      await result.catch(() => undefined);
      // It is cancelled once no attempt is alive.
      await Promise.all([...lanes.values()].map(({ done }) => done));
      if (!isLedgerFirst) await ledger.cancelRegistration({ registrationId });
      // Somebody has redriven it since.
      if (looks.count !== seen && patched(LOOK_AFTER_CANCEL)) await lookAnew(registrationId);
      throw error;
    }
  });
}

async function runToTheEnd(registrationId: string, lanes: Map<string, Lane>, looks: Looks): Promise<RegistrationResult> {
  for (;;) {
    const seen = looks.count;
    const steps = await ledger.loadOpenSteps({ registrationId });
    // What was loaded may be older than the wish that came meanwhile.
    if (looks.count !== seen && patched(LOOK_AT_ONCE)) continue;
    await runSteps({ registrationId, steps, lanes, looks });
    if (looks.interrupted) {
      if (workflowInfo().continueAsNewSuggested) await lookAnew(registrationId);
      continue;
    }
    lanes.clear();
    const close = await ledger.closeRegistration({ registrationId });
    if (!close.closed || looks.count !== seen) {
      if (workflowInfo().continueAsNewSuggested) await lookAnew(registrationId);
      continue;
    }
    setCurrentDetails(close.result.steps.join('\n\n'));
    if (close.result.outcome !== 'failed') return close.result;
    throw actionsFailed(close.result);
  }
}

/** Returns when every step is at an end of its own, parked ones included, or when a look interrupts it. */
async function runSteps({ registrationId, steps, lanes, looks }: {
  registrationId: string;
  steps: OpenStep[];
  /** Of the steps under way; those that are interrupted are still in it for the next time. */
  lanes: Map<string, Lane>;
  looks: Looks;
}): Promise<void> {
  looks.interrupted = false;
  looks.underWay = true;
  try {
    await stopOutdated(lanes, steps);
    for (const step of steps) {
      if (looks.interrupted) return;
      const lane = lanes.get(step.stepId) ?? beginLane(registrationId, step);
      lanes.set(step.stepId, lane);
      await until([lane], () => lane.isOver || (lane.phase === 'long' && step.onFailure === 'continue'), looks);
      // The ledger has marked the steps after it as blocked.
      if (step.onFailure === 'wait' && lane.end !== null && !letsGoOn(lane.end)) break;
    }
    const all = [...lanes.values()];
    await until(all, () => all.every((lane) => lane.isOver), looks);
  } finally {
    looks.underWay = false;
  }
}

/** Whether the Actions that wait for this one may run. */
function letsGoOn({ state }: PhaseEnd): boolean {
  return state === 'succeeded' || state === 'skipped';
}

/** @throws what has made one of the lanes fail. */
async function until(lanes: Lane[], isReached: () => boolean, looks: Looks): Promise<void> {
  await condition(() => looks.interrupted || isReached() || lanes.some((lane) => lane.error !== undefined));
  for (const { error } of lanes) if (error !== undefined) throw error;
}

/** Ends the lanes of steps that are not open any more, or that somebody has wished something else for. */
async function stopOutdated(lanes: Map<string, Lane>, steps: OpenStep[]): Promise<void> {
  const outdated = [...lanes.values()].filter((lane) => {
    const step = steps.find(({ stepId }) => stepId === lane.step.stepId);
    return lane.isOver || step === undefined || step.wish !== lane.step.wish;
  });
  await Promise.all(outdated.map(stopLane));
  for (const { step } of outdated) lanes.delete(step.stepId);
}

function actionsFailed(result: RegistrationResult): ApplicationFailure {
  const failure = ApplicationFailure.create({
    type: 'ActionsFailed',
    message: result.steps.join('; '),
    nonRetryable: true,
    details: [result],
  });
  // An outcome, not a fault of this code: a stack would send the reader of the Web UI the wrong way.
  failure.stack = '';
  return failure;
}
