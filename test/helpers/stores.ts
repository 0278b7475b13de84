import { createHash } from 'node:crypto';
import { sql } from 'kysely';
import { newId, newUserId, nowIsoNanos } from '../../src/domain/ids.ts';
import { DEFAULT_STEP_POLICY, type StepPolicy } from '../../src/domain/policy.ts';
import { createRegister, type Register, type RegisterInput } from '../../src/registration/register.ts';
import { type Database, storeNow } from '../../src/store/database.ts';
import { createKeyring, type Keyring } from '../../src/store/keyring.ts';
import { createLedger, type Ledger } from '../../src/store/ledger.ts';
import { migrate } from '../../src/store/migrate.ts';
import { createOutbox, type Outbox } from '../../src/store/outbox.ts';
import type { NewRow } from '../../src/store/schema.ts';

/** A store with its tables and keys, as a role of Usher has it. */
export interface TestStore {
  database: Database;
  keyring: Keyring;
  ledger: Ledger;
  outbox: Outbox;
  register: Register;
  /** How often `register` has woken the dispatcher. */
  woken(): number;
}

/** The same in every process of a test. */
export const TEST_MASTER_KEY = createHash('sha256').update('a master key for tests').digest();

/**
 * Opens a store as often as so many calls at once need it. On PostgreSQL each database has ten connections, which are made
 * here: whoever waits for one is refused after a few seconds.
 */
export async function openFor(calls: number, open: () => Database): Promise<Database[]> {
  const databases = [open()];
  if (databases[0]!.dialect === 'postgres') while (databases.length * 10 < calls) databases.push(open());
  for (const database of databases) await Promise.all(Array.from({ length: 10 }, () => storeNow(database)));
  return databases;
}

/** Brings an empty store to its tables and keys, with one connection in it. Harmless to repeat on the same store. */
export async function prepareStore(database: Database): Promise<TestStore> {
  await migrate(database);
  const keyring = createKeyring(database, TEST_MASTER_KEY);
  await keyring.prepare();
  await database.db.insertInto('connection')
    .values({ id: CONNECTION.id, name: CONNECTION.name, strategy: 'auth0', options: '{}', metadata: '{}', created_at: Date.now() })
    .onConflict((conflict) => conflict.doNothing())
    .execute();
  let woken = 0;
  return {
    database,
    keyring,
    ledger: createLedger({ database, keyring }),
    outbox: createOutbox({ database }),
    register: createRegister({ database, keyring, onCommitted: () => void woken++ }),
    woken: () => woken,
  };
}

const CONNECTION = { id: 'con_0000000000000001', name: 'Username-Password-Authentication' };

/** Deploys and binds post-user-registration Actions in place of those bound before; retries default to Usher's own. */
export async function bindActions({ database: { db } }: TestStore, actions: { name: string; policy?: Partial<StepPolicy> }[]): Promise<void> {
  await db.deleteFrom('binding').execute();
  for (const [position, { name, policy }] of actions.entries()) {
    const ids = { action: newId(), version: newId(), binding: newId() };
    const stamp = nowIsoNanos();
    const shared = {
      trigger_id: 'post-user-registration',
      trigger_version: 'v2',
      code: '',
      runtime: 'node22',
      dependencies: '[]',
      secret_names: '[]',
      secrets_sealed: '',
      key_id: '',
      created_at: stamp,
      updated_at: stamp,
    };
    await db.insertInto('action')
      .values({ ...shared, id: ids.action, name, name_key: ids.action, build_status: 'built', build_errors: '[]', build_seq: 1, deployed_version_id: ids.version })
      .execute();
    await db.insertInto('action_version').values({ ...shared, id: ids.version, action_id: ids.action, action_name: name, number: 3 }).execute();
    const fixed: StepPolicy = { ...DEFAULT_STEP_POLICY, ...policy };
    await db.insertInto('binding')
      .values({ id: ids.binding, trigger_id: 'post-user-registration', action_id: ids.action, display_name: name, position, policy: JSON.stringify(fixed), on_error: 'deny', created_at: stamp, updated_at: stamp })
      .execute();
  }
}

/** A sign-up as the HTTP edge hands it to `register`. */
export function signUpOf(email: string, changes: Partial<RegisterInput> & { username?: string } = {}): RegisterInput & Required<Pick<RegisterInput, 'user'>> {
  const now = Date.now();
  const { username = null, ...rest } = changes;
  const user: NewRow<'user_account'> = {
    id: `auth0|${newUserId()}`,
    connection_id: CONNECTION.id,
    email,
    email_verified: 0,
    username,
    phone_verified: 0,
    profile: '{}',
    user_metadata: '{}',
    app_metadata: '{}',
    created_at: now,
    updated_at: now,
  };
  return {
    source: 'signup',
    userId: user.id,
    user,
    connection: CONNECTION,
    clientId: 'client1',
    event: { user: { email } },
    cacheChanges: { triggerId: 'pre-user-registration', changes: [] },
    log: { type: 'ss', item: { user_name: email, details: { prompts: [] } } },
    ...rest,
  };
}

/** The store with a clock that stands still: there, time passes by `letTimePass` alone, however slow the machine is. */
export function withStandingClock(database: Database): Database {
  const at = Date.now();
  return { ...database, now: sql<number>`cast(${at} as bigint)` };
}

/** Makes `ms` pass for leases, retries and the outbox, by moving what the store has written down into the past. */
export async function letTimePass({ database: { db } }: TestStore, ms: number): Promise<void> {
  await db.updateTable('attempt').set((eb) => ({ leased_until: eb('leased_until', '-', ms) })).execute();
  await db.updateTable('step')
    .set((eb) => ({
      next_at: eb('next_at', '-', ms),
      phase_started_at: eb('phase_started_at', '-', ms),
      held_at: eb('held_at', '-', ms),
      let_go_at: eb('let_go_at', '-', ms),
    }))
    .execute();
  await db.updateTable('flow')
    .set((eb) => ({
      down_since: eb('down_since', '-', ms),
      probe_until: eb('probe_until', '-', ms),
      next_probe_at: eb('next_probe_at', '-', ms),
      next_release_at: eb('next_release_at', '-', ms),
    }))
    .execute();
  await db.updateTable('registration')
    .set((eb) => ({ due_at: eb('due_at', '-', ms), claimed_until: eb('claimed_until', '-', ms), check_at: eb('check_at', '-', ms), handed_over_at: eb('handed_over_at', '-', ms) }))
    .execute();
}
