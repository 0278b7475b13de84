import { managementError } from '../domain/api-error.ts';
import { type Database, uniqueViolation } from '../store/database.ts';
import { findHandedIn, type HandedIn, type IdempotencyKey, writeHandedIn } from '../store/handed-in.ts';
import { type ActionEvent, TENANT } from './event.ts';
import type { Register } from './register.ts';

/** An event of post-user-registration (contract §1.3) that was made elsewhere: what it must have, and whatever else it has. */
export interface OutsideEvent extends Record<string, unknown> {
  connection: { id: string; name: string; strategy: string } & Record<string, unknown>;
  user: { user_id: string } & Record<string, unknown>;
  request?: Record<string, unknown> | undefined;
}

export interface HandIn {
  /** Who hands it in. */
  clientId: string;
  /** The same for each try to hand in the same registration. */
  idempotencyKey: string;
  event: OutsideEvent;
}

/** A registration that was handed in, now or before. */
export type Accepted = Pick<HandedIn, 'registrationId' | 'createdAt'>;

/**
 * Takes in a registration that happened elsewhere: commits it with the event that it brings and the Actions bound now.
 * Nobody asks pre-user-registration Actions: the user exists already. The same client's key leads to one registration,
 * however often and at however many places at once it is used, until the registration is removed by its age.
 *
 * @throws {ApiError} 409 when the key was used with another event.
 */
export type HandInRegistration = (input: HandIn) => Promise<Accepted>;

export function createHandIn({ database, register }: { database: Database; register: Register }): HandInRegistration {
  return async ({ clientId, idempotencyKey, event }) => {
    // They belong to where the event comes from; ours are added for each Action.
    const { secrets: _secrets, usher: _usher, ...content } = event;
    const key: IdempotencyKey = { clientId, key: idempotencyKey, content };
    const before = await findHandedIn(database.db, key);
    if (before !== null) return known(before);

    const createdAt = Date.now();
    try {
      const { registrationId } = await register({
        source: 'outside',
        userId: event.user.user_id,
        connection: event.connection,
        clientId,
        event: completed(content, createdAt),
        cacheChanges: { triggerId: 'post-user-registration', changes: [] },
        log: { type: 'ss', item: logItem(event) },
        alsoWrite: (tx, id) => writeHandedIn(tx, key, { id, createdAt }),
      });
      return { registrationId, createdAt };
    } catch (error) {
      if (uniqueViolation(error)?.table !== 'handed_in') throw error;
      const first = await findHandedIn(database.db, key);
      if (first === null) throw error;
      return known(first);
    }
  };
}

function known({ isSame, ...accepted }: HandedIn): Accepted {
  if (isSame) return accepted;
  throw managementError(409, 'This Idempotency-Key was used with another event before. Use one key for each registration.', 'idempotency_key_reused');
}

/** With what Actions rely on (the properties that contract §1.3 requires), where the event does not bring it. */
function completed(event: OutsideEvent, createdAt: number): ActionEvent {
  const date = new Date(createdAt).toISOString();
  return {
    configuration: {},
    tenant: TENANT,
    ...event,
    connection: { metadata: {}, ...event.connection },
    user: { app_metadata: {}, user_metadata: {}, email_verified: false, created_at: date, updated_at: date, ...event.user },
  };
}

function logItem({ connection, user, request = {} }: OutsideEvent): Record<string, unknown> {
  const [name = ''] = [user['email'], user['phone_number'], user['username']].filter((each) => typeof each === 'string');
  return {
    description: 'Registration handed in from outside',
    connection: connection.name,
    strategy: connection.strategy,
    user_name: name,
    ...Object.fromEntries(Object.entries(request).filter(([field, value]) => ['ip', 'hostname', 'user_agent'].includes(field) && typeof value === 'string')),
    details: { usher: { source: 'outside' } },
  };
}
