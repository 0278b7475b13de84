import {
  ApplicationFailure,
  CancellationScope,
  continueAsNew,
  isCancellation,
  setCurrentDetails,
  setHandler,
  sleep,
  workflowInfo,
} from '@temporalio/workflow';
import { actionAttempts, ledger } from './activity-options.ts';
import type { OpenStep, RegistrationResult, RunActionResult, SettledState, UserRegistrationInput } from './messages.ts';
import { lookSignal } from './messages.ts';

/** Between two looks at a step that is held for long. */
const MAX_HOLD_MS = 5 * 60_000;

/** How a phase of a step ended for the workflow: at an end of its own, or parked for its long retries. */
type PhaseEnd = Exclude<SettledState, { state: 'retry' }>;

/**
 * Runs the post-user-registration Actions of one registration.
 *
 * The first attempts go in binding order, each after the one before it has succeeded, failed for good or been parked.
 * Parked Actions retry independently of each other and of the Actions after them, unless their binding says that these
 * wait for its success. The ledger knows what is open and what became of it; a second or repeated workflow for the
 * same registration therefore does no harm.
 *
 * @returns what became of each Action, when all succeeded.
 * @throws {ActionsFailed} when at least one failed for good, so that the Web UI's list shows it.
 */
export async function userRegistration({ registrationId }: UserRegistrationInput): Promise<RegistrationResult> {
  let looks = 0;
  setHandler(lookSignal, () => void looks++);

  try {
    for (;;) {
      const seen = looks;
      await runSteps(registrationId, await ledger.loadOpenSteps({ registrationId }));
      const close = await ledger.closeRegistration({ registrationId });
      if (!close.closed || looks !== seen) {
        if (workflowInfo().continueAsNewSuggested) await lookAnew(registrationId);
        continue;
      }
      setCurrentDetails(close.result.steps.join('\n\n'));
      if (close.result.outcome !== 'failed') return close.result;
      throw actionsFailed(close.result);
    }
  } catch (error) {
    if (!isCancellation(error)) throw error;
    await CancellationScope.nonCancellable(() => ledger.cancelRegistration({ registrationId }));
    throw error;
  }
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

function lookAnew(registrationId: string): Promise<never> {
  return continueAsNew<typeof userRegistration>({ v: 1, registrationId });
}

/** Takes the open steps in order and returns when each of them is at an end or waits for one that failed for good. */
async function runSteps(registrationId: string, steps: OpenStep[]): Promise<void> {
  const parked: Promise<PhaseEnd>[] = [];
  for (const step of steps) {
    let end: PhaseEnd = step.phase === 'long'
      ? { state: 'parked', delayMs: step.delayMs }
      : await runPhase(registrationId, step);
    if (end.state === 'parked') {
      const retries = retryLong(registrationId, { ...step, phase: 'long' }, end.delayMs);
      if (step.onFailure === 'continue') {
        // Looked at below, however late; until then a cancellation must not count as unhandled.
        retries.catch(() => undefined);
        parked.push(retries);
        continue;
      }
      end = await retries;
    }
    // The ledger has marked the steps after it as blocked.
    if (end.state !== 'succeeded' && step.onFailure === 'wait') break;
  }
  await Promise.all(parked);
}

async function retryLong(registrationId: string, step: OpenStep, delayMs: number): Promise<PhaseEnd> {
  await sleep(delayMs);
  return await runPhase(registrationId, step);
}

/** One phase of a step: Temporal retries what the Action failed; here we only wait for what we could not do. */
async function runPhase(registrationId: string, step: OpenStep): Promise<PhaseEnd> {
  const actions = actionAttempts(step);
  for (let holds = 0; ; holds++) {
    const result: RunActionResult = await actions.runAction({ registrationId, stepId: step.stepId, phase: step.phase });
    if (result.state === 'held') {
      // The new run finds the same in the ledger; a hold of days must not fill the history.
      if (workflowInfo().continueAsNewSuggested) await lookAnew(registrationId);
      const lessOften = Math.min(result.delayMs * 2 ** holds, MAX_HOLD_MS, result.leaseEndsInMs ?? Infinity);
      await sleep(Math.max(result.delayMs, lessOften));
      continue;
    }
    if (result.state !== 'unrecorded') return result;
    const settled = await ledger.settleAttempt({ registrationId, settlement: result.settlement });
    if (settled.state !== 'retry') return settled;
    await sleep(settled.delayMs);
  }
}
