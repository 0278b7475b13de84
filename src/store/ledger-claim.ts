import { newId } from '../domain/ids.ts';
import type { StepPolicy } from '../domain/policy.ts';
import type { RunActionInput, SettledState } from '../../workflows/messages.ts';
import type { Database, Queryable } from './database.ts';
import { holdStep, reasonToHold } from './hold.ts';
import type { Keyring } from './keyring.ts';
import { idempotencyKeyOf, isOpen, lockRegistration, NOT_HELD, policyOf, postponeCheck, sealedAs, UnknownIdError } from './ledger-rows.ts';
import type { Row } from './schema.ts';

/** A timer of Temporal may fire this much before the moment that the ledger has named. */
const EARLY_MS = 1000;
/** An attempt can end long before its lease does: whoever waits for it asks again after this. */
const ASK_AGAIN_MS = 2000;

export interface ClaimInput extends RunActionInput {
  workerId: string;
  leaseMs: number;
  /**
   * Takes one of the worker's sandboxes for an attempt at this Action; false when it has its share of them. What was
   * taken is the caller's to give back, also when the claim fails. @default there is always room
   */
  takeShare?(actionId: string): boolean;
}

/** A step with a new attempt at it, which the caller alone may run while it keeps the lease. */
export interface ClaimedStep {
  registrationId: string;
  userId: string;
  connectionId: string;
  connectionName: string;
  clientId: string | null;
  /** Data key of everything about the registration. */
  keyId: string;
  stepId: string;
  actionId: string;
  actionName: string;
  bindingId: string;
  versionId: string;
  versionNumber: number;
  bindingSecretsId: string | null;
  policy: StepPolicy;
  /** W3C `traceparent` of the registration's commit; null when traces were off. */
  traceParent: string | null;
  /** Without `secrets` and `usher`. */
  event: Record<string, unknown>;
  attempt: {
    id: string;
    number: number;
    run: number;
    idempotencyKey: string;
    /** By the store's clock. */
    leasedUntil: number;
  };
}

/** An attempt that ended without a word: its worker is dead, or was cut off from the store for longer than a lease. */
export interface LostAttempt extends Pick<ClaimedStep, 'registrationId' | 'userId' | 'connectionName' | 'stepId' | 'actionId' | 'actionName' | 'versionNumber'> {
  attempt: { id: string; number: number; phase: 'quick' | 'long' };
}

/**
 * `recorded`: nothing to run, the ledger knows what became of the step. `held`: another attempt is alive, the next one is
 * not due, or a reason of ours is against it (`HeldReason`).
 */
export type Claim =
  | { claim: 'recorded'; state: Exclude<SettledState, { state: 'retry' }> }
  | { claim: 'held'; delayMs: number; leaseEndsInMs?: number; reason: string }
  | { claim: 'claimed'; step: ClaimedStep };

export interface ClaimLedger {
  /**
   * Begins an attempt at a step, unless the step is at its end, another attempt holds a lease, or the next attempt is
   * not due. Attempts whose lease has run out are ended as lost; they do not count.
   *
   * @returns also the attempts that were ended so, when there are any.
   * @throws {UnknownIdError}
   */
  claimStep(input: ClaimInput): Promise<Claim & { lost?: LostAttempt[] }>;
  /**
   * Renews the leases of attempts, at least one, that are still running. Those of attempts that nobody runs, because the
   * answer to their claim got lost, are not to be among them: they have to run out.
   *
   * @returns the ids of those it still holds. One that is missing may be running elsewhere already: kill it.
   */
  renewLeases(options: { attemptIds: string[]; leaseMs: number }): Promise<Set<string>>;
  /**
   * Ends every attempt that another worker has left without an end, whatever its lease says. Only for the embedded
   * store, where a lock proves that no other worker lives.
   *
   * @returns them.
   */
  endLostAttempts(options: { exceptWorkerId: string }): Promise<LostAttempt[]>;
}

/** The part of the ledger that begins attempts and keeps them. */
export function createClaimLedger({ database, keyring }: { database: Database; keyring: Keyring }): ClaimLedger {
  return {
    async claimStep({ registrationId, stepId, phase, workerId, leaseMs, takeShare }) {
      let lost: LostAttempt[] = [];
      const claim = await database.transaction(async (tx): Promise<Claim> => {
        const registration = await lockRegistration(database, tx, registrationId);
        const { row, steps, now } = registration;
        const step = steps.find((each) => each.id === stepId);
        if (step === undefined) throw new UnknownIdError('step', stepId);
        const dueInMs = Math.max(0, (step.next_at ?? 0) - now);
        if (!isOpen(step.state)) return { claim: 'recorded', state: { state: step.state } };
        if (step.state === 'parked' && phase === 'quick') {
          return { claim: 'recorded', state: { state: 'parked', delayMs: dueInMs } };
        }

        lost = await endLost(tx, row, step, now);
        const alive = await attemptWithoutEnd(tx, stepId);
        if (alive !== undefined) {
          const leaseEndsInMs = alive.leased_until - now;
          return { claim: 'held', delayMs: Math.min(leaseEndsInMs, ASK_AGAIN_MS), leaseEndsInMs, reason: `attempt ${alive.number} may still be running` };
        }
        if (dueInMs > EARLY_MS) return { claim: 'held', delayMs: dueInMs, reason: 'the next attempt is not due' };
        const policy = policyOf(step);
        const reason = await reasonToHold(database, tx, { step, policy, now, takeShare });
        if (reason !== null) return await holdStep(tx, registration, step, policy, reason);

        const attempt = {
          id: newId(),
          number: step.last_attempt + 1,
          run: step.run,
          idempotencyKey: idempotencyKeyOf(registrationId, stepId, step.run),
          leasedUntil: now + leaseMs,
        };
        await tx.insertInto('attempt').values({
          id: attempt.id,
          step_id: stepId,
          registration_id: registrationId,
          action_id: step.action_id,
          run: attempt.run,
          number: attempt.number,
          phase: step.phase,
          worker_id: workerId,
          started_at: now,
          leased_until: attempt.leasedUntil,
          counted: 0,
        }).execute();
        await tx.updateTable('step')
          .set({ last_attempt: attempt.number, phase_started_at: step.phase_started_at ?? now, next_at: null, ...NOT_HELD })
          .where('id', '=', stepId)
          .execute();
        // Whatever else of the registration is due, this attempt is heard of before it.
        await postponeCheck(tx, { row, steps: [], now }, policy.timeoutMs);
        return {
          claim: 'claimed',
          step: {
            registrationId,
            userId: row.user_id,
            connectionId: row.connection_id,
            connectionName: row.connection_name,
            traceParent: row.trace_parent,
            clientId: row.client_id,
            keyId: row.key_id,
            stepId,
            actionId: step.action_id,
            actionName: step.action_name,
            bindingId: step.binding_id,
            versionId: step.version_id,
            versionNumber: step.version_number,
            bindingSecretsId: step.binding_secrets_id,
            policy,
            event: await keyring.openJson(row.key_id, sealedAs.event(registrationId), row.event_sealed, tx),
            attempt,
          },
        };
      });
      return lost.length === 0 ? claim : { ...claim, lost };
    },

    async renewLeases({ attemptIds, leaseMs }) {
      const renewed = await database.db.updateTable('attempt')
        .set((eb) => ({ leased_until: eb(database.now, '+', leaseMs) }))
        .where('id', 'in', attemptIds)
        .where('ended_at', 'is', null)
        .where('leased_until', '>', database.now)
        .returning('id')
        .execute();
      return new Set(renewed.map((row) => row.id));
    },

    async endLostAttempts({ exceptWorkerId }) {
      return await database.transaction(async (tx) => {
        const left = await tx.selectFrom('attempt')
          .innerJoin('step', 'step.id', 'attempt.step_id')
          .innerJoin('registration', 'registration.id', 'attempt.registration_id')
          .select(['attempt.id', 'attempt.number', 'attempt.phase', 'attempt.step_id', 'attempt.registration_id', 'registration.user_id', 'registration.connection_name', 'step.action_id', 'step.action_name', 'step.version_number'])
          .where('attempt.worker_id', '<>', exceptWorkerId)
          .where('attempt.ended_at', 'is', null)
          .execute();
        await tx.updateTable('attempt')
          .set({ ended_at: database.now, outcome: 'lost' })
          .where('worker_id', '<>', exceptWorkerId)
          .where('ended_at', 'is', null)
          .execute();
        return left.map((each) => lostAttempt(each, each, each));
      });
    },
  };
}

async function attemptWithoutEnd(tx: Queryable, stepId: string): Promise<Pick<Row<'attempt'>, 'number' | 'leased_until'> | undefined> {
  return await tx.selectFrom('attempt').select(['number', 'leased_until']).where('step_id', '=', stepId).where('ended_at', 'is', null).executeTakeFirst();
}

/** Ends the attempts at a step whose lease has run out as lost. Before the look for one that is alive: a renewal that commits in between is seen by both. */
async function endLost(tx: Queryable, registration: Row<'registration'>, step: Row<'step'>, now: number): Promise<LostAttempt[]> {
  if ((await attemptWithoutEnd(tx, step.id)) === undefined) return [];
  const ended = await tx.updateTable('attempt')
    .set({ ended_at: now, outcome: 'lost' })
    .where('step_id', '=', step.id)
    .where('ended_at', 'is', null)
    .where('leased_until', '<=', now)
    .returning(['id', 'number', 'phase', 'step_id', 'registration_id'])
    .execute();
  return ended.map((attempt) => lostAttempt(attempt, step, registration));
}

function lostAttempt(
  { id, number, phase, step_id: stepId, registration_id: registrationId }: Pick<Row<'attempt'>, 'id' | 'number' | 'phase' | 'step_id' | 'registration_id'>,
  step: Pick<Row<'step'>, 'action_id' | 'action_name' | 'version_number'>,
  registration: Pick<Row<'registration'>, 'user_id' | 'connection_name'>,
): LostAttempt {
  return {
    registrationId,
    userId: registration.user_id,
    connectionName: registration.connection_name,
    stepId,
    actionId: step.action_id,
    actionName: step.action_name,
    versionNumber: step.version_number,
    attempt: { id, number, phase },
  };
}
