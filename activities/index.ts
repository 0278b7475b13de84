import type { Ledger } from '../src/store/ledger.ts';
import type { ActionActivities, LedgerActivities } from '../workflows/messages.ts';
import { endIfUnknown } from './failures.ts';
import { createRunAction, type RunActionDeps } from './run-action.ts';

/** The activities of the task queue `registration`: the ledger, by the workflow's words. */
export function createLedgerActivities(ledger: Ledger): LedgerActivities {
  const known = async <T>(work: Promise<T>): Promise<T> => await work.catch((error: unknown) => Promise.reject(endIfUnknown(error)));
  return {
    loadOpenSteps: ({ registrationId }) => ledger.loadOpenSteps(registrationId),
    settleAttempt: ({ settlement }) => known(ledger.settleUnrecorded(settlement)),
    closeRegistration: ({ registrationId }) => known(ledger.closeRegistration(registrationId)),
    cancelRegistration: ({ registrationId }) => known(ledger.cancelRegistration(registrationId)),
  };
}

/** The activities of the task queue `actions`. */
export function createActionActivities(deps: RunActionDeps): ActionActivities {
  return { runAction: createRunAction(deps) };
}
