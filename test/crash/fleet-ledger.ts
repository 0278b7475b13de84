import { openPostgres } from '../../src/store/postgres.ts';
import { pidOfWorker, type SeenRegistration } from '../e2e/ledger-view.ts';

/** What the store says, read past all proxies. */
export interface FleetLedger {
  /** Oldest first. */
  registrations(): Promise<SeenRegistration[]>;
  countOpen(): Promise<number>;
  /** Of each worker that has made an attempt. */
  workerPids(): Promise<number[]>;
  /** Every user's e-mail. */
  emails(): Promise<string[]>;
  /** Of the master keys under which data keys are wrapped. */
  masterKeys(): Promise<string[]>;
  /** The time for which the sweep leaves each open registration alone has passed. */
  letChecksBeDue(): Promise<void>;
  close(): Promise<void>;
}

export function openFleetLedger(url: string): FleetLedger {
  const database = openPostgres(url);
  const { db } = database;
  return {
    async registrations() {
      const registrations = await db.selectFrom('registration')
        .innerJoin('user_account', 'user_account.id', 'registration.user_id')
        .select(['registration.id', 'registration.state', 'registration.outcome', 'registration.created_at', 'user_account.email'])
        .orderBy('registration.id')
        .execute();
      const stepsOf = Map.groupBy(await db.selectFrom('step').selectAll().orderBy('position').execute(), (row) => row.registration_id);
      const attemptsOf = Map.groupBy(await db.selectFrom('attempt').selectAll().orderBy('number').execute(), (row) => row.step_id);
      return registrations.map((row) => ({
        id: row.id,
        email: row.email ?? '',
        state: row.state,
        outcome: row.outcome,
        createdAt: row.created_at,
        steps: (stepsOf.get(row.id) ?? []).map((step) => ({
          action: step.action_name,
          state: step.state,
          run: step.run,
          versionNumber: step.version_number,
          attempts: (attemptsOf.get(step.id) ?? []).map((attempt) => ({
            number: attempt.number,
            workerPid: pidOfWorker(attempt.worker_id),
            startedAt: attempt.started_at,
            endedAt: attempt.ended_at,
            outcome: attempt.outcome,
            errorType: attempt.error_type,
          })),
        })),
      }));
    },
    async countOpen() {
      const { open } = await db.selectFrom('registration').select((eb) => eb.fn.countAll<number>().as('open')).where('state', '=', 'open').executeTakeFirstOrThrow();
      return open;
    },
    async workerPids() {
      return (await db.selectFrom('attempt').select('worker_id').distinct().execute()).map(({ worker_id }) => pidOfWorker(worker_id));
    },
    async emails() {
      return (await db.selectFrom('user_account').select('email').execute()).map(({ email }) => email ?? '');
    },
    async masterKeys() {
      return (await db.selectFrom('data_key').select('master_key_id').distinct().execute()).map(({ master_key_id }) => master_key_id);
    },
    async letChecksBeDue() {
      await db.updateTable('registration').set({ check_at: 1 }).where('state', '=', 'open').execute();
    },
    close: () => database.close(),
  };
}
