import type { CloseResult, RegistrationResult } from '../../workflows/messages.ts';
import type { Database, Queryable } from './database.ts';
import { isOpen, labelOf, type LockedRegistration, lockRegistration, NOT_HELD } from './ledger-rows.ts';
import { createOutbox } from './outbox.ts';
import type { RegistrationOutcome, Row, StepState } from './schema.ts';

export interface CloseLedger {
  /**
   * Closes a registration with no open step and says what became of it; `closed: false` when a step is open. Closing
   * again gives the recorded result.
   *
   * @throws {UnknownIdError}
   */
  closeRegistration(registrationId: string): Promise<CloseResult>;
  /**
   * Ends the open steps as cancelled and closes the registration. One that is closed already stays as it is.
   *
   * @throws {UnknownIdError}
   */
  cancelRegistration(registrationId: string): Promise<RegistrationResult>;
  /**
   * The same after Temporal has said that a person ended the workflow, unless the registration is due, or was handed over
   * long after that end, of which a restored Temporal knows nothing: that wish is newer, and the registration is due then.
   *
   * @param endedAt by Temporal's clock.
   * @returns false when it was left open for that reason.
   */
  recordCancelledByOperator(registrationId: string, endedAt: number | null): Promise<boolean>;
}

/** Between the store and Temporal, at most. */
const CLOCKS_DIFFER_MS = 60_000;

type StepRow = Row<'step'>;

/** The part of the ledger that ends registrations. */
export function createCloseLedger({ database }: { database: Database }): CloseLedger {
  const outbox = createOutbox({ database });

  return {
    async closeRegistration(registrationId) {
      return await database.transaction(async (tx): Promise<CloseResult> => {
        const { row, steps, now } = await lockRegistration(database, tx, registrationId);
        if (steps.some((step) => isOpen(step.state))) return { closed: false };
        const outcome = row.outcome ?? outcomeOf(steps);
        if (row.state === 'open') await close(tx, registrationId, outcome, now);
        return { closed: true, result: resultOf(outcome, steps) };
      });
    },

    async cancelRegistration(registrationId) {
      return await database.transaction(async (tx) => {
        const registration = await lockRegistration(database, tx, registrationId);
        if (registration.row.outcome !== null) return resultOf(registration.row.outcome, registration.steps);
        return await cancel(tx, registration);
      });
    },

    async recordCancelledByOperator(registrationId, endedAt) {
      return await database.transaction(async (tx) => {
        const registration = await lockRegistration(database, tx, registrationId);
        const { due_at: dueAt, handed_over_at: handedOverAt, outcome } = registration.row;
        if (dueAt !== null) return false;
        if (endedAt !== null && (handedOverAt ?? 0) - endedAt > CLOCKS_DIFFER_MS) {
          await outbox.makeDue(registrationId, tx);
          return false;
        }
        if (outcome === null) await cancel(tx, registration);
        return true;
      });
    },
  };
}

/** Ends the open steps as cancelled and closes the registration. */
export async function cancel(tx: Queryable, { row, steps, now }: LockedRegistration): Promise<RegistrationResult> {
  await tx.updateTable('step')
    .set((eb) => ({ state: 'cancelled', next_at: null, ended_at: now, ...NOT_HELD, wish: eb('wish', '+', 1) }))
    .where('registration_id', '=', row.id)
    .where('state', 'in', ['pending', 'parked'])
    .execute();
  const ended = steps.map((step): StepRow => (isOpen(step.state) ? { ...step, state: 'cancelled' } : step));
  const outcome = steps.some((step) => isOpen(step.state)) ? 'cancelled' : outcomeOf(steps);
  await close(tx, row.id, outcome, now);
  return resultOf(outcome, ended);
}

/**
 * Nothing is open, so whatever made the registration due is done. `due_seq` stays: a hand-over that began before must
 * not clear the wish of a later redrive.
 */
export async function close(tx: Queryable, registrationId: string, outcome: RegistrationOutcome, now: number): Promise<void> {
  await tx.updateTable('registration')
    .set({ state: 'closed', outcome, closed_at: now, due_at: null, claimed_until: null, check_at: null })
    .where('id', '=', registrationId)
    .execute();
}

/** What became of a registration with no open step. A step that somebody has skipped is missing to nobody. */
export function outcomeOf(steps: Pick<StepRow, 'state'>[]): RegistrationOutcome {
  const has = (...states: StepState[]) => steps.some((step) => states.includes(step.state));
  if (steps.length === 0) return 'nothing-bound';
  if (has('failed', 'blocked')) return 'failed';
  return has('cancelled') ? 'cancelled' : 'succeeded';
}

function resultOf(outcome: RegistrationOutcome, steps: StepRow[]): RegistrationResult {
  return { outcome, steps: steps.map((step) => `${labelOf(step)}: ${step.state}`) };
}
