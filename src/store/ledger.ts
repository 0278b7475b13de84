import type { Database } from './database.ts';
import type { Keyring } from './keyring.ts';
import { type ClaimLedger, createClaimLedger } from './ledger-claim.ts';
import { type CloseLedger, createCloseLedger } from './ledger-close.ts';
import { createReadLedger, type ReadLedger } from './ledger-read.ts';
import { createSettleLedger, type SettleLedger } from './ledger-settle.ts';

export type { Claim, ClaimedStep, ClaimInput, LostAttempt } from './ledger-claim.ts';
export type { AttemptRecord, RegistrationFacts, RegistrationRecord, StepFacts, StepRecord } from './ledger-read.ts';
export { UnknownIdError } from './ledger-rows.ts';
export type { AttemptEnd } from './ledger-settle.ts';

/**
 * Registrations, steps and attempts in the store: the truth about every step, whatever Temporal remembers.
 *
 * Each write is one transaction that begins by locking the registration. Claims and settlements that are repeated,
 * doubled or late therefore find what the others did, and do no harm.
 */
export interface Ledger extends ClaimLedger, SettleLedger, CloseLedger, ReadLedger {}

/** Opens the ledger of an installation. */
export function createLedger(deps: { database: Database; keyring: Keyring }): Ledger {
  return { ...createClaimLedger(deps), ...createSettleLedger(deps), ...createCloseLedger(deps), ...createReadLedger(deps) };
}
