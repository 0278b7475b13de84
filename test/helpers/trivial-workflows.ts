import { ApplicationFailure, condition, setHandler, sleep } from '@temporalio/workflow';
import type { UserRegistrationInput } from '../../workflows/messages.ts';
import { lookSignal } from '../../workflows/messages.ts';

/** Stands in for the real workflow where only its end matters; which one, says the registration's id. */
export async function userRegistration({ registrationId }: UserRegistrationInput): Promise<void> {
  setHandler(lookSignal, () => undefined);
  if (registrationId === 'completes') return;
  // A mistake in the code fails the workflow's task, not the workflow.
  if (registrationId === 'broken') throw new Error('a mistake');
  if (registrationId === 'fails') throw ApplicationFailure.nonRetryable('all Actions failed', 'ActionsFailed');
  await condition(() => false);
}

/** Does nothing for a long time. */
export async function sleepFor(ms: number): Promise<string> {
  await sleep(ms);
  return 'woken';
}
