import { newId } from '../domain/ids.ts';
import type { CacheChange } from '../domain/invocation.ts';
import type { TriggerId } from '../domain/triggers.ts';
import { type BoundAction, loadBoundActions } from '../store/bindings.ts';
import { writeCache } from '../store/cache.ts';
import { type Database, type Queryable, uniqueViolation } from '../store/database.ts';
import { type PreExecution, writeExecution } from '../store/executions.ts';
import type { Keyring } from '../store/keyring.ts';
import { sealedAs } from '../store/ledger-rows.ts';
import { writeLog } from '../store/logs.ts';
import { newStep } from '../store/new-step.ts';
import type { NewRow } from '../store/schema.ts';

/** The ways in; docs/registrations.md has the table. */
export type RegistrationSource = 'signup' | 'passwordless-email' | 'passwordless-sms' | 'management-api' | 'import' | 'outside' | 'backfill';

export type IdentifyingField = 'email' | 'username' | 'phone_number' | 'user_id';

/** A user of the connection has one of the identifiers already. */
export class UserExistsError extends Error {
  readonly field: IdentifyingField;

  constructor(field: IdentifyingField) {
    super(`A user of this connection has this ${field} already.`);
    this.name = 'UserExistsError';
    this.field = field;
  }
}

/** A sign-up that nobody has denied. */
export interface RegisterInput {
  source: RegistrationSource;
  /** With the provider: `auth0|…`. */
  userId: string;
  /** Left out for a user who lives elsewhere. */
  user?: NewRow<'user_account'>;
  connection: { id: string; name: string };
  clientId: string | null;
  /** What the post-user-registration Actions get, without `secrets` and `usher`. */
  event: Record<string, unknown>;
  /** The execution of pre-user-registration, when something was bound. */
  preExecution?: PreExecution;
  /** What its Actions changed in `api.cache`. */
  cacheChanges: { triggerId: TriggerId; changes: CacheChange[] };
  /** The tenant log's entry; the ids of the executions are added to `details.actions.executions`. */
  log: { type: 'ss'; item: Record<string, unknown> };
  /** Runs this Action in place of what is bound now, after the first attempts of others. */
  backfill?: BoundAction;
  /** W3C `traceparent` of the span that commits it; null when traces are off. @default null */
  traceParent?: string | null;
  /** What else belongs to the transaction; what it throws undoes everything. */
  alsoWrite?: (tx: Queryable, registrationId: string) => Promise<void>;
}

export interface Registered {
  /** Also the id of its post-user-registration execution. */
  registrationId: string;
  /** `nothing-bound`: it was closed in its own transaction. */
  outcome: 'open' | 'nothing-bound';
}

/**
 * Commits a sign-up: user, registration with its event, and one step for each post-user-registration Action bound at
 * this moment, all of them or nothing. What is bound, deployed, renamed or deleted later changes nothing for it.
 *
 * @throws {UserExistsError} when the e-mail address or the username is taken, also by one that signs up at the same moment.
 */
export type Register = (input: RegisterInput) => Promise<Registered>;

/** Makes the one door through which every way in creates a user. @param deps.onCommitted wakes the dispatcher; must not throw. */
export function createRegister(deps: { database: Database; keyring: Keyring; onCommitted(): void }): Register {
  return async (input) => {
    let registered: Registered;
    try {
      registered = await deps.database.transaction((tx) => commitRegistration(deps, tx, input));
    } catch (error) {
      throw asUserExists(error) ?? error;
    }
    if (registered.outcome === 'open') deps.onCommitted();
    return registered;
  };
}

/** The same as part of the caller's transaction, who wakes the dispatcher afterwards. */
export async function commitRegistration({ database, keyring }: { database: Database; keyring: Keyring }, tx: Queryable, input: RegisterInput): Promise<Registered> {
  const { userId, user, connection, clientId, preExecution, cacheChanges, backfill } = input;
  const registrationId = newId();
  const now = Date.now();
  // First, so that a duplicate ends here.
  if (user !== undefined) await tx.insertInto('user_account').values(user).execute();
  const toRun = backfill === undefined ? await loadBoundActions('post-user-registration', tx) : [backfill];
  const keyId = await keyring.newDataKey(tx);
  await tx.insertInto('registration').values({
    id: registrationId,
    source: input.source,
    user_id: userId,
    connection_id: connection.id,
    connection_name: connection.name,
    client_id: clientId,
    event_sealed: await keyring.sealJson(keyId, sealedAs.event(registrationId), input.event, tx),
    key_id: keyId,
    dispatch_failures: 0,
    created_at: now,
    trace_parent: input.traceParent ?? null,
    ...(toRun.length > 0
      ? { state: 'open', due_at: database.now, due_seq: 1 }
      : { state: 'closed', outcome: 'nothing-bound', due_seq: 0, closed_at: now }),
  }).execute();

  const steps = toRun.map((action, position) => newStep(registrationId, position, action, backfill === undefined ? 0 : 1));
  if (steps.length > 0) await tx.insertInto('step').values(steps).execute();
  if (preExecution !== undefined) await writeExecution(tx, keyring, preExecution, { id: registrationId, keyId });

  const executions = [...(preExecution === undefined ? [] : [preExecution.id]), ...(steps.length === 0 ? [] : [registrationId])];
  await writeLog(tx, keyring, {
    type: input.log.type,
    date: now,
    userId,
    connectionId: connection.id,
    clientId,
    registrationId,
    item: executions.length === 0 ? input.log.item : withExecutions(input.log.item, executions),
    keyId,
  });

  await writeCache(tx, keyring, cacheChanges.triggerId, cacheChanges.changes, now);
  await input.alsoWrite?.(tx, registrationId);
  return { registrationId, outcome: steps.length === 0 ? 'nothing-bound' : 'open' };
}

/** Auth0's place for them in a log item: `details.actions.executions` (contract §4.7). */
function withExecutions(item: Record<string, unknown>, executions: string[]): Record<string, unknown> {
  const details = (item['details'] ?? {}) as Record<string, unknown>;
  const actions = (details['actions'] ?? {}) as Record<string, unknown>;
  return { ...item, details: { ...details, actions: { ...actions, executions } } };
}

function asUserExists(error: unknown): UserExistsError | undefined {
  const violation = uniqueViolation(error);
  if (violation?.table !== 'user_account') return undefined;
  const field = (['email', 'username', 'phone_number'] as const).find((column) => violation.columns.includes(column));
  return new UserExistsError(field ?? 'user_id');
}
