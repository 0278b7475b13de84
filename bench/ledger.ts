import { setImmediate as turn } from 'node:timers/promises';
import type { OwnUsher } from '../examples/start-usher.ts';
import { newId, newUserId } from '../src/domain/ids.ts';
import { DEFAULT_STEP_POLICY } from '../src/domain/policy.ts';
import { openInstallation } from '../src/installation.ts';
import { commitRegistration, createRegister } from '../src/registration/register.ts';
import { createConnectionStore } from '../src/store/connections.ts';
import type { Queryable } from '../src/store/database.ts';
import { idempotencyKeyOf } from '../src/store/ledger-rows.ts';

export const CONNECTION = 'Username-Password-Authentication';
export const PASSWORD = 'Correct-Horse-7';

/** Seldom: each look is work for what is measured. */
const LOOK_EVERY_MS = 1_000;
/** Failed registrations that one transaction writes: nobody else writes meanwhile. */
const FAILED_AT_ONCE = 50;

/** Registrations that were committed one after the other; those of others in between are among them. */
export interface IdRange {
  first: string;
  last: string;
}

/** What became of registrations. */
export interface Tally {
  registrations: number;
  succeeded: number;
  steps: number;
  /** Steps of which exactly one attempt has succeeded. */
  succeededOnce: number;
}

/** The ledger of a running Usher, opened beside it. */
export interface BenchLedger {
  /**
   * Commits registrations through the one door of every way in, without the password hashes that are most of a
   * sign-up. Usher's dispatcher finds them within a second, or when it is woken by a sign-up.
   */
  register(count: number): Promise<IdRange>;
  /**
   * Writes registrations whose steps have all failed for good. The way there takes 130 attempts in five days; written
   * are the rows that it would have left, with the last attempt of each step only.
   */
  writeFailed(count: number): Promise<IdRange>;
  countOpen(): Promise<number>;
  /** Resolves when all registrations are handed over to Temporal. */
  allHandedOver(patienceMs: number): Promise<void>;
  /** Resolves when no registration is open, or none of those in the range, with the moment at which the last one was closed. */
  allClosed(patienceMs: number, range?: IdRange): Promise<number>;
  /** For each registration, the milliseconds from its commit to the success of its step at this position; null: not yet. */
  untilSuccess(range: IdRange, position: number): Promise<(number | null)[]>;
  tally(range: IdRange): Promise<Tally>;
  /** Of their steps, in the first run. */
  idempotencyKeys(range: IdRange): Promise<string[]>;
  close(): Promise<void>;
}

/** Everybody: ids are hexadecimal. */
const ALL: IdRange = { first: '', last: 'g' };

export async function openBenchLedger(usher: Pick<OwnUsher, 'dataDir'>): Promise<BenchLedger> {
  const { database, keyring, close } = await openInstallation({ dataDir: usher.dataDir, databaseUrl: null, masterKey: null });
  const { db } = database;
  const connection = await createConnectionStore({ database }).findByName(CONNECTION);
  if (connection === null) throw new Error(`The Usher under test has no connection ${CONNECTION}.`);
  const { id, name } = connection;
  // The dispatcher is in another process.
  const register = createRegister({ database, keyring, onCommitted: () => undefined });

  const registrations = ({ first, last }: IdRange) => db.selectFrom('registration').where('registration.id', '>=', first).where('registration.id', '<=', last);
  const steps = ({ first, last }: IdRange) => db.selectFrom('step').where('registration_id', '>=', first).where('registration_id', '<=', last);

  async function countOpen(range: IdRange = ALL): Promise<number> {
    // By the index on outcomes: asked for often, and what is closed grows.
    const { open } = await registrations(range).select((eb) => eb.fn.countAll<number>().as('open')).where('outcome', 'is', null).executeTakeFirstOrThrow();
    return open;
  }

  async function writeOneFailed(tx: Queryable): Promise<void> {
    const { registrationId } = await commitRegistration({ database, keyring }, tx, { ...newRegistration(), connection: { id, name } });
    const at = Date.now();
    await tx.updateTable('registration').set({ state: 'closed', outcome: 'failed', closed_at: at, due_at: null }).where('id', '=', registrationId).execute();
    const failed = await tx.updateTable('step')
      .set({ state: 'failed', phase: 'long', counted: DEFAULT_STEP_POLICY.long.attempts, last_attempt: 1, phase_started_at: at, ended_at: at })
      .where('registration_id', '=', registrationId)
      .returning(['id', 'action_id'])
      .execute();
    const attempt = { registration_id: registrationId, run: 1, number: 1, phase: 'long', worker_id: 'bench', started_at: at, leased_until: at, ended_at: at, outcome: 'failed', counted: 1, error_type: 'ACTION_THREW' } as const;
    await tx.insertInto('attempt').values(failed.map((step) => ({ ...attempt, id: newId(), step_id: step.id, action_id: step.action_id }))).execute();
  }

  return {
    async register(count) {
      const first = newId();
      for (let i = 0; i < count; i++) {
        // SQLite answers without a turn of the event loop, on which sign-ups are timed.
        await turn();
        await register({ ...newRegistration(), connection: { id, name } });
      }
      return { first, last: newId() };
    },
    async writeFailed(count) {
      const first = newId();
      for (let written = 0; written < count; written += FAILED_AT_ONCE) {
        await turn();
        await database.transaction(async (tx) => {
          for (let i = written; i < Math.min(written + FAILED_AT_ONCE, count); i++) await writeOneFailed(tx);
        });
      }
      return { first, last: newId() };
    },
    countOpen: () => countOpen(),
    async allHandedOver(patienceMs) {
      await until(patienceMs, 'not all registrations were handed over to Temporal', async () => {
        const { due } = await db.selectFrom('registration').select((eb) => eb.fn.count<number>('due_at').as('due')).executeTakeFirstOrThrow();
        return due === 0;
      });
    },
    async allClosed(patienceMs, range = ALL) {
      await until(patienceMs, 'not all registrations were closed', async () => (await countOpen(range)) === 0);
      const { last } = await registrations(range).select((eb) => eb.fn.max('closed_at').as('last')).executeTakeFirstOrThrow();
      return last ?? Number.NaN;
    },
    async untilSuccess(range, position) {
      const rows = await registrations(range)
        .innerJoin('step', 'step.registration_id', 'registration.id')
        .where('step.position', '=', position)
        .select(['registration.created_at', 'step.state', 'step.ended_at'])
        .orderBy('registration.id')
        .execute();
      return rows.map((row) => (row.state === 'succeeded' ? (row.ended_at ?? Number.NaN) - row.created_at : null));
    },
    async tally(range) {
      const { fn } = db;
      const outcomes = await registrations(range).select(['outcome', fn.countAll<number>().as('n')]).groupBy('outcome').execute();
      const perStep = await steps(range)
        .select((eb) => eb.selectFrom('attempt').select(eb.fn.countAll<number>().as('n')).whereRef('attempt.step_id', '=', 'step.id').where('outcome', '=', 'succeeded').as('successes'))
        .execute();
      return {
        registrations: outcomes.reduce((sum, { n }) => sum + n, 0),
        succeeded: outcomes.find(({ outcome }) => outcome === 'succeeded')?.n ?? 0,
        steps: perStep.length,
        succeededOnce: perStep.filter(({ successes }) => successes === 1).length,
      };
    },
    async idempotencyKeys(range) {
      const rows = await steps(range).select(['id', 'registration_id']).execute();
      return rows.map((step) => idempotencyKeyOf(step.registration_id, step.id, 1));
    },
    close,
  };

  function newRegistration() {
    const now = Date.now();
    const userId = newUserId();
    const email = `${userId}@example.com`;
    return {
      source: 'signup' as const,
      userId: `auth0|${userId}`,
      user: {
        id: `auth0|${userId}`,
        connection_id: id,
        email,
        email_verified: 0 as const,
        username: null,
        phone_number: null,
        phone_verified: 0 as const,
        profile: '{}',
        user_metadata: '{}',
        app_metadata: '{}',
        password_hash: null,
        last_password_reset: null,
        created_at: now,
        updated_at: now,
      },
      clientId: null,
      event: { user: { email, user_id: `auth0|${userId}` } },
      cacheChanges: { triggerId: 'pre-user-registration' as const, changes: [] },
      log: { type: 'ss' as const, item: { user_name: email } },
    };
  }
}

/** Asks until the answer is yes. @throws after `patienceMs`, with `complaint`. */
export async function until(patienceMs: number, complaint: string, condition: () => Promise<boolean>): Promise<void> {
  const giveUpAt = performance.now() + patienceMs;
  while (!(await condition())) {
    if (performance.now() > giveUpAt) throw new Error(`${complaint} within ${patienceMs / 1000} s.`);
    await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY_MS));
  }
}
