import { newUserId } from '../domain/ids.ts';
import { findWeakness, hashPassword, type WeakPassword } from '../passwords.ts';
import { writeCache } from '../store/cache.ts';
import type { Client, ClientStore } from '../store/clients.ts';
import type { Connection, ConnectionStore } from '../store/connections.ts';
import type { Database } from '../store/database.ts';
import { writeExecution } from '../store/executions.ts';
import type { Keyring } from '../store/keyring.ts';
import { failedActionItem, writeLog } from '../store/logs.ts';
import type { UserStore } from '../store/users.ts';
import { type Metadata, postUserRegistrationEvent, preUserRegistrationEvent, type Profile, type RequestFacts, withProfileDefaults } from './event.ts';
import type { Denial, PreUserRegistration, Verdict } from './pre-user-registration.ts';
import { type Register, UserExistsError } from './register.ts';

/** What a person gives to sign up, checked for form. */
export interface SignUpInput {
  /** Null: the first client. */
  clientId: string | null;
  /** Name of a database connection. */
  connection: string;
  /** In lower case, like the username. */
  email: string;
  username: string | null;
  phoneNumber: string | null;
  password: string;
  profile: Profile;
  userMetadata: Metadata;
  /** The whole body as it came, for `event.request.body`. */
  body: Record<string, unknown>;
  request: RequestFacts;
}

/** Why nobody was signed up. */
export type Refusal = { kind: 'unknown-client' } | { kind: 'unknown-connection' } | { kind: 'signup-disabled' } | LoggedRefusal;

/** What somebody got who came as far as a connection. */
type LoggedRefusal =
  | { kind: 'weak-password'; weakness: WeakPassword }
  | { kind: 'user-exists'; field: 'email' | 'username' }
  | Denial;

export type SignUpOutcome = { outcome: 'created'; userId: string } | { outcome: 'refused'; refusal: Refusal };

export interface SignUpDeps {
  database: Database;
  keyring: Keyring;
  clients: Pick<ClientStore, 'find' | 'first'>;
  connections: Pick<ConnectionStore, 'findByName'>;
  users: UserStore;
  preUserRegistration: PreUserRegistration;
  register: Register;
}

export type SignUp = (input: SignUpInput) => Promise<SignUpOutcome>;

/** A verdict where no Action was asked. */
const NOT_ASKED = { execution: null, failures: [], cacheChanges: [] } satisfies Partial<Verdict>;

/**
 * Signs a user up on a database connection: the fast refusals, the pre-user-registration Actions, then the password's
 * hash and one commit. Waits for nothing else, in particular not for Temporal or a post-user-registration Action.
 */
export function createSignUp(deps: SignUpDeps): SignUp {
  return async (input) => {
    const client = input.clientId === null ? await deps.clients.first() : await deps.clients.find(input.clientId);
    if (client === null) return refused({ kind: 'unknown-client' });
    const connection = await deps.connections.findByName(input.connection);
    if (connection === null || connection.strategy !== 'auth0') return refused({ kind: 'unknown-connection' });
    if (connection.options.disable_signup === true) return refused({ kind: 'signup-disabled' });

    const applicant: Applicant = { input, client, connection };
    const weakness = findWeakness(connection.options.passwordPolicy ?? 'good', input.password);
    if (weakness !== null) return await refuse(deps, applicant, { kind: 'weak-password', weakness }, NOT_ASKED);
    const taken = await deps.users.findTaken(connection.id, input);
    if (taken !== null) return await refuse(deps, applicant, { kind: 'user-exists', field: taken }, NOT_ASKED);

    const user = { ...input, profile: withProfileDefaults(input.profile, input.email), appMetadata: {} };
    const event = preUserRegistrationEvent({ client, connection, request: input.request, body: input.body, user });
    const verdict = await deps.preUserRegistration(event, { userMetadata: input.userMetadata, appMetadata: {} });
    if (verdict.denial !== null) return await refuse(deps, applicant, verdict.denial, verdict);

    return await create(deps, applicant, user.profile, verdict);
  };
}

/** Who asks to be signed up where. */
interface Applicant {
  input: SignUpInput;
  client: Client;
  connection: Connection;
}

async function create(deps: SignUpDeps, applicant: Applicant, profile: Profile, verdict: Verdict): Promise<SignUpOutcome> {
  const { input, client, connection } = applicant;
  const { userMetadata, appMetadata } = verdict;
  const passwordHash = await hashPassword(input.password);
  const createdAt = Date.now();
  const id = newUserId();
  const userId = `auth0|${id}`;
  // What failed stays true whatever comes next, and register() writes only what belongs to a registration.
  if (verdict.failures.length > 0) await deps.database.transaction((tx) => writeFailures({ ...deps, tx }, applicant, verdict));
  try {
    await deps.register({
      source: 'signup',
      user: {
        id: userId,
        connection_id: connection.id,
        email: input.email,
        email_verified: 0,
        username: input.username,
        phone_number: input.phoneNumber,
        phone_verified: 0,
        profile: JSON.stringify(profile),
        user_metadata: JSON.stringify(userMetadata),
        app_metadata: JSON.stringify(appMetadata),
        password_hash: passwordHash,
        last_password_reset: null,
        created_at: createdAt,
        updated_at: createdAt,
      },
      connection: { id: connection.id, name: connection.name },
      clientId: client.id,
      event: postUserRegistrationEvent({ connection, request: input.request, user: { ...input, profile, userMetadata, appMetadata, userId, createdAt } }),
      ...(verdict.execution === null ? {} : { preExecution: verdict.execution }),
      cacheChanges: { triggerId: 'pre-user-registration', changes: verdict.cacheChanges },
      log: { type: 'ss', item: { ...logItem(applicant), description: 'Successful signup', details: {} } },
    });
  } catch (error) {
    if (!(error instanceof UserExistsError)) throw error;
    return await refuse(deps, applicant, { kind: 'user-exists', field: error.field }, { ...verdict, failures: [] });
  }
  return { outcome: 'created', userId: id };
}

/** Refuses somebody who came as far as a connection: with an `fs` entry, and all that the Actions left behind. */
async function refuse(
  deps: SignUpDeps,
  applicant: Applicant,
  refusal: LoggedRefusal,
  asked: Pick<Verdict, 'execution' | 'failures' | 'cacheChanges'>,
): Promise<SignUpOutcome> {
  const { keyring } = deps;
  const { execution } = asked;
  const now = Date.now();
  await deps.database.transaction(async (tx) => {
    if (execution !== null) await writeExecution(tx, keyring, execution, null);
    await writeFailures({ keyring, tx }, applicant, asked);
    await writeLog(tx, keyring, {
      ...logKeys(applicant),
      type: 'fs',
      date: now,
      item: {
        ...logItem(applicant),
        description: describeRefusal(refusal),
        details: execution === null ? {} : { usher: { executions: [execution.id] } },
      },
    });
    await writeCache(tx, keyring, 'pre-user-registration', asked.cacheChanges, now);
  });
  return refused(refusal);
}

async function writeFailures(
  { keyring, tx }: { keyring: Keyring; tx: Database['db'] },
  applicant: Applicant,
  { execution, failures }: Pick<Verdict, 'execution' | 'failures'>,
): Promise<void> {
  for (const { action, error } of failures) {
    const item = failedActionItem({ ...action, triggerId: 'pre-user-registration', executionId: execution?.id ?? '', error });
    await writeLog(tx, keyring, { ...logKeys(applicant), type: 'actions_execution_failed', date: Date.now(), item: { ...logItem(applicant), ...item } });
  }
}

function refused(refusal: Refusal): SignUpOutcome {
  return { outcome: 'refused', refusal };
}

/** The description of an `fs` entry: for who operates this, so it has the reason of a deny. */
function describeRefusal(refusal: LoggedRefusal): string {
  if (refusal.kind === 'denied') return refusal.reason;
  if (refusal.kind === 'failed') return 'A pre-user-registration Action failed';
  return refusal.kind === 'user-exists' ? 'The user already exists.' : 'Password is too weak';
}

function logKeys({ client, connection }: Applicant): { clientId: string; connectionId: string } {
  return { clientId: client.id, connectionId: connection.id };
}

function logItem({ input, client, connection }: Applicant): Record<string, unknown> {
  return {
    connection: connection.name,
    client_name: client.name,
    ip: input.request.ip,
    hostname: input.request.hostname,
    user_agent: input.request.userAgent ?? '',
    user_name: input.email,
    strategy: connection.strategy,
    strategy_type: 'database',
    isMobile: /\bMobi/.test(input.request.userAgent ?? ''),
  };
}
