import { parsePolicy, type StepPolicy } from '../domain/policy.ts';
import { type Database, type Queryable, storeNow } from './database.ts';
import { HOLD_MS } from './flow-rows.ts';
import type { Row, StepState } from './schema.ts';

/** What the parts of the ledger share: rows under lock, names of sealed columns, labels. */

/** An id that the store does not know: it was restored from an older backup, or Temporal serves another installation. */
export class UnknownIdError extends Error {
  constructor(what: 'registration' | 'step' | 'attempt', id: string) {
    super(
      `The store has no ${what} ${id}. Either the store was restored from an older backup, or this Temporal namespace ` +
        'is used by another Usher: give each its own namespace.',
    );
    this.name = 'UnknownIdError';
  }
}

/** Contexts of the ledger's sealed columns. */
export const sealedAs = {
  event: (registrationId: string) => `registration/${registrationId}/event`,
  error: (attemptId: string) => `attempt/${attemptId}/error`,
  calls: (attemptId: string) => `attempt/${attemptId}/calls`,
  logs: (attemptId: string) => `attempt/${attemptId}/logs`,
};

export interface LockedRegistration {
  row: Row<'registration'>;
  /** All steps, in binding order. */
  steps: Row<'step'>[];
  /** The store's clock, read under the lock. */
  now: number;
}

/**
 * Reads a registration with its steps and holds every other write about it back until `tx` ends. Each write of the
 * ledger begins with this, so that two of them never see the same state.
 *
 * @throws {UnknownIdError}
 */
export async function lockRegistration(database: Database, tx: Queryable, registrationId: string): Promise<LockedRegistration> {
  const row = await tx.selectFrom('registration').selectAll().where('id', '=', registrationId).forUpdate().executeTakeFirst();
  if (row === undefined) throw new UnknownIdError('registration', registrationId);
  // With the clock: a statement less, and every claim and settlement begins with this.
  const read = await stepsOf(tx, registrationId).select(database.now.as('now')).execute();
  const steps = read.map((each) => {
    const { now: _now, ...step } = each;
    return step;
  });
  return { row, steps, now: read[0]?.now ?? (await storeNow(database, tx)) };
}

/** All steps of a registration, in binding order. */
export async function readSteps(db: Queryable, registrationId: string): Promise<Row<'step'>[]> {
  return await stepsOf(db, registrationId).execute();
}

function stepsOf(db: Queryable, registrationId: string) {
  return db.selectFrom('step').selectAll().where('registration_id', '=', registrationId).orderBy('position');
}

/** True for a step that still has attempts before it. */
export function isOpen(state: StepState): state is 'pending' | 'parked' {
  return state === 'pending' || state === 'parked';
}

/** A step that ends, or that somebody wants to run now, waits in no queue of its Action. */
export const NOT_HELD = { held_reason: null, held_at: null, let_go_at: null } as const;

/** Reads the policy that was fixed in the step. */
export function policyOf(step: Pick<Row<'step'>, 'policy'>): StepPolicy {
  return parsePolicy(step.policy);
}

/** The key that a receiver sees: the same for all attempts and redrives of a step until it has succeeded. */
export function idempotencyKeyOf(registrationId: string, stepId: string, run: number): string {
  return `${registrationId}.${stepId}.${run}`;
}

/** Silence beyond the next due attempt after which the sweep asks Temporal. */
const CHECK_AFTER_MS = 2 * 60_000;

/**
 * Moves the sweep's question about an open registration to two minutes after its next sign of life is due.
 *
 * @param registration as it is now, under the caller's lock.
 * @param quietMs for how long there may be none though something is due: an attempt is running.
 */
export async function postponeCheck(tx: Queryable, { row, steps, now }: LockedRegistration, quietMs = 0): Promise<void> {
  await tx.updateTable('registration')
    .set({ check_at: Math.max(now + quietMs, nextDue(steps, now)) + CHECK_AFTER_MS })
    .where('id', '=', row.id)
    .where('state', '=', 'open')
    .execute();
}

/** When the workflow takes the next attempt; 0 when it is due already. */
function nextDue(steps: Row<'step'>[], now: number): number {
  let due = Infinity;
  for (const step of steps) {
    if (!isOpen(step.state)) continue;
    due = Math.min(due, step.held_reason === null ? (step.next_at ?? 0) : now + HOLD_MS[step.held_reason]);
    // The steps after this one are not taken before it has ended or been parked.
    if (step.state === 'pending' || policyOf(step).onFailure === 'wait') break;
  }
  return due === Infinity ? 0 : due;
}

/** Temporal copies an activity's summary into the history with each schedule. */
const MAX_LABEL_BYTES = 100;

/** Names a step for people: `Notify Slack v3`, on one line, at most 100 bytes; a longer name is cut between characters. */
export function labelOf(step: Pick<Row<'step'>, 'action_name' | 'version_number'>): string {
  const suffix = ` v${step.version_number}`;
  const name = step.action_name.replaceAll(/[\s\p{Cc}]+/gu, ' ').trim();
  const room = MAX_LABEL_BYTES - suffix.length;
  if (Buffer.byteLength(name) <= room) return name + suffix;
  let cut = '';
  for (const character of name) {
    if (Buffer.byteLength(cut + character) > room - Buffer.byteLength('…')) break;
    cut += character;
  }
  return `${cut}…${suffix}`;
}
