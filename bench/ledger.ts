import type { OwnUsher } from '../examples/start-usher.ts';
import { newUserId } from '../src/domain/ids.ts';
import { openInstallation } from '../src/installation.ts';
import { createRegister } from '../src/registration/register.ts';
import { createConnectionStore } from '../src/store/connections.ts';

export const CONNECTION = 'Username-Password-Authentication';
export const PASSWORD = 'Correct-Horse-7';

const LOOK_EVERY_MS = 100;

/** The ledger of a running Usher, opened beside it. */
export interface BenchLedger {
  /**
   * Commits registrations through the one door of every way in, without the password hashes that are most of a
   * sign-up. Usher's dispatcher finds them within a second, or when it is woken by a sign-up.
   */
  register(count: number): Promise<void>;
  countOpen(): Promise<number>;
  /** Resolves when all registrations are handed over to Temporal. */
  allHandedOver(patienceMs: number): Promise<void>;
  /** Resolves when no registration is open, with the moment at which the last one was closed. */
  allClosed(patienceMs: number): Promise<number>;
  close(): Promise<void>;
}

export async function openBenchLedger(usher: Pick<OwnUsher, 'dataDir'>): Promise<BenchLedger> {
  const { database, keyring, close } = await openInstallation({ dataDir: usher.dataDir, databaseUrl: null, masterKey: null });
  const { db } = database;
  const connection = await createConnectionStore({ database }).findByName(CONNECTION);
  if (connection === null) throw new Error(`The Usher under test has no connection ${CONNECTION}.`);
  const { id, name } = connection;
  // The dispatcher is in another process.
  const register = createRegister({ database, keyring, onCommitted: () => undefined });

  async function countOpen(): Promise<number> {
    const { open } = await db.selectFrom('registration').select((eb) => eb.fn.countAll<number>().as('open')).where('state', '=', 'open').executeTakeFirstOrThrow();
    return open;
  }

  return {
    async register(count) {
      for (let i = 0; i < count; i++) await register({ ...newRegistration(), connection: { id, name } });
    },
    countOpen,
    async allHandedOver(patienceMs) {
      await until(patienceMs, 'not all registrations were handed over to Temporal', async () => {
        const { due } = await db.selectFrom('registration').select((eb) => eb.fn.count<number>('due_at').as('due')).executeTakeFirstOrThrow();
        return due === 0;
      });
    },
    async allClosed(patienceMs) {
      await until(patienceMs, 'not all registrations were closed', async () => (await countOpen()) === 0);
      const { last } = await db.selectFrom('registration').select((eb) => eb.fn.max('closed_at').as('last')).executeTakeFirstOrThrow();
      return last ?? Number.NaN;
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
