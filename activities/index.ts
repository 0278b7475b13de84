import type { Ledger } from '../src/store/ledger.ts';
import type { ActionActivities, LedgerActivities } from '../workflows/messages.ts';
import { createRunAction, type RunActionDeps } from './run-action.ts';

/** The activities of the task queue `registration`: the ledger, by the workflow's words. */
export function createLedgerActivities(ledger: Ledger): LedgerActivities {
  return {
    loadOpenSteps: ({ registrationId }) => ledger.loadOpenSteps(registrationId),
    settleAttempt: ({ settlement }) => ledger.settleUnrecorded(settlement),
    closeRegistration: ({ registrationId }) => ledger.closeRegistration(registrationId),
    cancelRegistration: ({ registrationId }) => ledger.cancelRegistration(registrationId),
  };
}

/** The activities of the task queue `actions`. */
export function createActionActivities(deps: RunActionDeps): ActionActivities {
  return { runAction: createRunAction(deps) };
}
