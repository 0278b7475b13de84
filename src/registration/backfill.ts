import { toConnection } from '../store/connections.ts';
import type { Database, Queryable } from '../store/database.ts';
import { lockDeployedAction } from '../store/deployed-action.ts';
import type { Keyring } from '../store/keyring.ts';
import { stops } from '../store/ledger-commands.ts';
import { lockRegistration } from '../store/ledger-rows.ts';
import { newStep } from '../store/new-step.ts';
import type { Outbox } from '../store/outbox.ts';
import type { Row } from '../store/schema.ts';
import { type Metadata, postUserRegistrationEvent, type Profile } from './event.ts';
import { commitRegistration } from './register.ts';

/** `registrationId`: that which runs it, or null. `reason`: why nothing was changed, or why it does not run yet. */
export interface Backfilled {
  changed: boolean;
  registrationId: string | null;
  reason: string | null;
}

/**
 * Runs an Action for those who never had it, in the caller's transaction; once, however often it is asked for: the
 * Action is locked, so that no two backfills of it look at the same user at the same moment.
 */
export interface Backfill {
  /** Adds it as the last step of a registration, and opens that again. @throws {UnknownIdError} */
  addStep(tx: Queryable, registrationId: string, actionId: string): Promise<Backfilled>;
  /** Makes a registration of a user who has none. */
  registerUser(tx: Queryable, userId: string, actionId: string): Promise<Backfilled>;
}

export function createBackfill(deps: { database: Database; keyring: Keyring; outbox: Pick<Outbox, 'makeDue'> }): Backfill {
  const { database } = deps;

  return {
    async addStep(tx, registrationId, actionId) {
      const { row, steps } = await lockRegistration(database, tx, registrationId);
      const action = await lockDeployedAction(tx, actionId);
      if (action === null) return { changed: false, registrationId, reason: NOT_DEPLOYED };
      if (await hasHad(tx, row.user_id, actionId)) return { changed: false, registrationId, reason: 'A registration of its user has had the Action.' };

      const waitsFor = steps.find(stops);
      const step = newStep(registrationId, (steps.at(-1)?.position ?? -1) + 1, action, 1);
      await tx.insertInto('step').values(waitsFor === undefined ? step : { ...step, state: 'blocked' }).execute();
      if (waitsFor !== undefined) return { changed: true, registrationId, reason: `It waits for the success of '${waitsFor.action_name}', which is ${waitsFor.state}: redrive or skip that.` };
      await tx.updateTable('registration').set({ state: 'open', outcome: null, closed_at: null }).where('id', '=', registrationId).execute();
      await deps.outbox.makeDue(registrationId, tx);
      return { changed: true, registrationId, reason: null };
    },

    async registerUser(tx, userId, actionId) {
      const user = await tx.selectFrom('user_account').selectAll().where('id', '=', userId).forUpdate().executeTakeFirst();
      if (user === undefined) return { changed: false, registrationId: null, reason: 'The user was deleted.' };
      const action = await lockDeployedAction(tx, actionId);
      if (action === null) return { changed: false, registrationId: null, reason: NOT_DEPLOYED };
      const before = await tx.selectFrom('registration').select('id').where('user_id', '=', userId).executeTakeFirst();
      if (before !== undefined) return { changed: false, registrationId: before.id, reason: 'The user has a registration by now.' };

      const connection = toConnection(await tx.selectFrom('connection').selectAll().where('id', '=', user.connection_id).executeTakeFirstOrThrow());
      const { registrationId } = await commitRegistration(deps, tx, {
        source: 'backfill',
        userId,
        connection: { id: connection.id, name: connection.name },
        clientId: null,
        event: postUserRegistrationEvent({ connection, request: null, user: factsOf(user) }),
        cacheChanges: { triggerId: 'post-user-registration', changes: [] },
        log: {
          type: 'ss',
          item: {
            description: 'Registered by a backfill',
            connection: connection.name,
            strategy: connection.strategy,
            user_name: user.email ?? user.phone_number ?? user.username ?? '',
            details: { usher: { source: 'backfill' } },
          },
        },
        backfill: action,
      });
      return { changed: true, registrationId, reason: null };
    },
  };
}

const NOT_DEPLOYED = 'The Action is gone, not deployed, or for another trigger: there is no version of it to run.';

async function hasHad(tx: Queryable, userId: string, actionId: string): Promise<boolean> {
  const had = await tx.selectFrom('registration')
    .select('registration.id')
    .where('registration.user_id', '=', userId)
    // Not a join, which SQLite would begin with every step of the Action.
    .where(({ exists, selectFrom }) =>
      exists(selectFrom('step').select('step.id').whereRef('step.registration_id', '=', 'registration.id').where('step.action_id', '=', actionId)))
    .executeTakeFirst();
  return had !== undefined;
}

function factsOf(user: Row<'user_account'>) {
  return {
    userId: user.id,
    email: user.email,
    username: user.username,
    phoneNumber: user.phone_number,
    emailVerified: user.email_verified === 1,
    phoneVerified: user.phone_verified === 1,
    profile: JSON.parse(user.profile) as Profile,
    userMetadata: JSON.parse(user.user_metadata) as Metadata,
    appMetadata: JSON.parse(user.app_metadata) as Metadata,
    createdAt: user.created_at,
  };
}
