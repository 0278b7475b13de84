import type { Logger } from '../logger.ts';
import { repeat } from '../repeat.ts';
import type { Ledger } from '../store/ledger.ts';
import type { Outbox } from '../store/outbox.ts';
import type { Histories } from '../temporal/histories.ts';
import type { RegistrationStarter } from '../temporal/registration-starter.ts';

const DEFAULT_INTERVAL_MS = 5_000;
/** Asked per round, one after the other: a lost cluster must not be met with a flood of questions. */
const BATCH = 50;
const CLAIM_LEASE_MS = 60_000;
/** A workflow that runs and is silent for good reasons (parked for an hour) is asked about this rarely. */
const RUNNING_CHECK_MS = 10 * 60_000;

/** Asks Temporal about open registrations that have not been heard of for too long. */
export interface Sweep {
  start(): void;
  stop(): Promise<void>;
}

export function createSweep(deps: {
  outbox: Outbox;
  ledger: Pick<Ledger, 'recordCancelledByOperator'>;
  starter: RegistrationStarter;
  histories: Pick<Histories, 'remove'>;
  /** After registrations were made due again. */
  wake(): void;
  logger: Logger;
  intervalMs?: number;
}): Sweep {
  const { outbox, starter, logger } = deps;
  let rounds: ReturnType<typeof repeat> | undefined;

  async function check(registrationId: string): Promise<void> {
    const { status, endedAt } = await starter.describe(registrationId);
    switch (status) {
      case 'running':
        return await outbox.postponeCheck(registrationId, RUNNING_CHECK_MS);
      case 'idle':
        return await handOverAgain('a workflow has slept through something that is due, as after a restore of Temporal: it is told to look', { registration_id: registrationId });
      case 'cancelled':
      case 'terminated':
        if (await deps.ledger.recordCancelledByOperator(registrationId, endedAt)) logger.info({ registration_id: registrationId, status }, 'a person has ended the workflow: the registration is cancelled');
        else deps.wake();
        return;
      case 'stuck':
        // After a restore into an empty store, whose keys are those of the backup, or one of Temporal under the workers' feet.
        await deps.histories.remove(registrationId);
        return await handOverAgain('the workflow of an open registration fails again and again, because a codec key is gone or Temporal was put back: it is deleted in Temporal, and started again', { registration_id: registrationId });
      default:
        return await handOverAgain('Temporal has no running workflow for an open registration: started again', { registration_id: registrationId, status });
    }
  }

  async function handOverAgain(why: string, facts: { registration_id: string; status?: string }): Promise<void> {
    await outbox.makeDue(facts.registration_id);
    deps.wake();
    logger.warn(facts, why);
  }

  async function round(): Promise<void> {
    try {
      for (const registrationId of await outbox.claimForCheck({ limit: BATCH, leaseMs: CLAIM_LEASE_MS })) {
        try {
          await check(registrationId);
        } catch (error) {
          if (starter.isUnreachable(error)) throw error;
          // Those after it have not to wait for it.
          logger.error({ err: error, registration_id: registrationId }, 'an open registration could not be asked about; trying again');
        }
      }
    } catch (error) {
      if (starter.isUnreachable(error)) logger.debug({ err: error }, 'the sweep waits for Temporal');
      else logger.error({ err: error }, 'the sweep failed; trying again');
    }
  }

  return {
    start() {
      rounds = repeat(round, deps.intervalMs ?? DEFAULT_INTERVAL_MS);
    },
    async stop() {
      await rounds?.stop();
    },
  };
}
