import { newUserId } from '../domain/ids.ts';
import { writeCache } from '../store/cache.ts';
import type { Client } from '../store/clients.ts';
import type { Connection } from '../store/connections.ts';
import type { Database, Queryable } from '../store/database.ts';
import { writeExecution } from '../store/executions.ts';
import type { Keyring } from '../store/keyring.ts';
import { failedActionItem, writeLog } from '../store/logs.ts';
import type { Metadata, Profile, RequestFacts } from './event.ts';
import { postUserRegistrationEvent, preUserRegistrationEvent, withProfileDefaults } from './event.ts';
import type { Denial, PreUserRegistration, Verdict } from './pre-user-registration.ts';
import { type Register, type RegistrationSource, UserExistsError } from './register.ts';
import { userRow } from './user-row.ts';

/** Somebody who is to become a user, checked for form. */
export interface NewUser {
  /** The way in. */
  source: RegistrationSource;
  /** Null where no application stands behind it. */
  client: Client | null;
  connection: Connection;
  /** In lower case, like the username. */
  email: string | null;
  username: string | null;
  phoneNumber: string | null;
  /** @default false */
  emailVerified?: boolean;
  /** @default false */
  phoneVerified?: boolean;
  /** @default false */
  blocked?: boolean;
  profile: Profile;
  userMetadata: Metadata;
  /** @default {} */
  appMetadata?: Metadata;
  /** The part after the provider, when it is given. @default a new one */
  id?: string;
  /** Asked for only once the Actions have agreed: a hash is expensive. Null: no password. */
  hashPassword: () => Promise<string | null>;
  /** The whole body as it came, for `event.request.body`. */
  body: Record<string, unknown>;
  request: RequestFacts;
  /**
   * Written in the transaction that commits the user: a code that is used up, a mail that is to be sent. What it throws
   * undoes the registration and reaches the caller.
   */
  alsoWrite?: (tx: Queryable, user: CreatedUser) => Promise<void>;
}

/** Somebody whose request is logged. */
export type LoggedPerson = Pick<NewUser, 'email' | 'username' | 'phoneNumber' | 'request' | 'client' | 'connection'>;

/** A user that has just been committed, or is about to be. */
export interface CreatedUser {
  /** With the provider: `auth0|…`. */
  userId: string;
  profile: Profile;
  userMetadata: Metadata;
  appMetadata: Metadata;
  createdAt: number;
}

/** Why nobody was created. */
export type CreateRefusal = { kind: 'user-exists'; field: 'email' | 'username' | 'phone_number' | 'user_id' } | Denial;

export type CreateOutcome = { outcome: 'created'; user: CreatedUser } | { outcome: 'refused'; refusal: CreateRefusal };

export interface CreateUserDeps {
  database: Database;
  keyring: Keyring;
  preUserRegistration: PreUserRegistration;
  register: Register;
}

/** The way by which every user comes to be on a database or passwordless connection. */
export interface UserCreation {
  /**
   * Asks the pre-user-registration Actions, then commits the user with its registration. Waits for nothing else, in
   * particular not for Temporal or a post-user-registration Action.
   */
  create(input: NewUser): Promise<CreateOutcome>;
  /** Writes the `fs` entry of somebody who is refused before the Actions are asked. */
  logRefusal(input: NewUser, description: string): Promise<void>;
}

export function createUserCreation(deps: CreateUserDeps): UserCreation {
  const { database, keyring } = deps;

  async function create(input: NewUser, profile: Profile, verdict: Verdict): Promise<CreateOutcome> {
    const { client, connection } = input;
    const { userMetadata, appMetadata } = verdict;
    const passwordHash = await input.hashPassword();
    const createdAt = Date.now();
    const user: CreatedUser = { userId: `${connection.strategy}|${input.id ?? newUserId()}`, profile, userMetadata, appMetadata, createdAt };
    // What failed stays true whatever comes next, and register() writes only what belongs to a registration.
    if (verdict.failures.length > 0) await database.transaction((tx) => writeFailures(tx, input, verdict));
    try {
      await deps.register({
        source: input.source,
        userId: user.userId,
        user: userRow({ ...input, ...user, connectionId: connection.id, passwordHash }),
        connection: { id: connection.id, name: connection.name },
        clientId: client?.id ?? null,
        event: postUserRegistrationEvent({ connection, request: input.request, user: { ...input, ...user } }),
        ...(verdict.execution === null ? {} : { preExecution: verdict.execution }),
        cacheChanges: { triggerId: 'pre-user-registration', changes: verdict.cacheChanges },
        log: { type: 'ss', item: { ...logItem(input), description: 'Successful signup', details: {} } },
        alsoWrite: (tx) => input.alsoWrite?.(tx, user) ?? Promise.resolve(),
      });
    } catch (error) {
      if (!(error instanceof UserExistsError)) throw error;
      return await refuse(input, { kind: 'user-exists', field: error.field }, { ...verdict, failures: [] });
    }
    return { outcome: 'created', user };
  }

  /** Refuses with an `fs` entry, and keeps all that the Actions left behind. */
  async function refuse(input: NewUser, refusal: CreateRefusal, asked: Pick<Verdict, 'execution' | 'failures' | 'cacheChanges'>): Promise<CreateOutcome> {
    const { execution } = asked;
    await database.transaction(async (tx) => {
      if (execution !== null) await writeExecution(tx, keyring, execution, null);
      await writeFailures(tx, input, asked);
      await writeRefusal(tx, input, describeRefusal(refusal), execution === null ? {} : { usher: { executions: [execution.id] } });
      await writeCache(tx, keyring, 'pre-user-registration', asked.cacheChanges, Date.now());
    });
    return { outcome: 'refused', refusal };
  }

  async function writeRefusal(tx: Queryable, input: NewUser, description: string, details: Record<string, unknown>): Promise<void> {
    await writeLog(tx, keyring, { ...logKeys(input), type: 'fs', date: Date.now(), item: { ...logItem(input), description, details } });
  }

  async function writeFailures(tx: Queryable, input: NewUser, { execution, failures }: Pick<Verdict, 'execution' | 'failures'>): Promise<void> {
    for (const { action, error } of failures) {
      const item = failedActionItem({ ...action, triggerId: 'pre-user-registration', executionId: execution?.id ?? '', error });
      await writeLog(tx, keyring, { ...logKeys(input), type: 'actions_execution_failed', date: Date.now(), item: { ...logItem(input), ...item } });
    }
  }

  return {
    async create(input) {
      const { client, connection, request, body, userMetadata, appMetadata = {} } = input;
      const profile = withProfileDefaults(input.profile, input);
      const event = preUserRegistrationEvent({ client, connection, request, body, user: { ...input, profile, appMetadata } });
      const verdict = await deps.preUserRegistration(event, { userMetadata, appMetadata });
      if (verdict.denial !== null) return await refuse(input, verdict.denial, verdict);
      return await create(input, profile, verdict);
    },

    async logRefusal(input, description) {
      await writeRefusal(database.db, input, description, {});
    },
  };
}

/** The description of an `fs` entry: for who operates this, so it has the reason of a deny. */
function describeRefusal(refusal: CreateRefusal): string {
  if (refusal.kind === 'denied') return refusal.reason;
  return refusal.kind === 'failed' ? 'A pre-user-registration Action failed' : 'The user already exists.';
}

function logKeys({ client, connection }: NewUser): { clientId: string | null; connectionId: string } {
  return { clientId: client?.id ?? null, connectionId: connection.id };
}

/** What a log entry tells of the request of a person. */
export function logItem({ email, username, phoneNumber, request, client, connection }: LoggedPerson): Record<string, unknown> {
  return {
    connection: connection.name,
    ...(client === null ? {} : { client_name: client.name }),
    ip: request.ip,
    hostname: request.hostname,
    user_agent: request.userAgent ?? '',
    user_name: email ?? phoneNumber ?? username ?? '',
    strategy: connection.strategy,
    strategy_type: connection.strategy === 'auth0' ? 'database' : 'passwordless',
    isMobile: /\bMobi/.test(request.userAgent ?? ''),
  };
}
