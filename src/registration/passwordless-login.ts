import type { Client } from '../store/clients.ts';
import type { CodeStore, MatchedCode } from '../store/codes.ts';
import type { Connection } from '../store/connections.ts';
import type { Database, Queryable } from '../store/database.ts';
import type { Keyring } from '../store/keyring.ts';
import { type LoginStore, type LoginUser, recordLogin } from '../store/logins.ts';
import { type LogType, writeLog } from '../store/logs.ts';
import type { AttackProtection } from './attack-protection.ts';
import { logItem, type NewUser, type UserCreation } from './create-user.ts';
import type { RequestFacts } from './event.ts';

export interface PasswordlessLoginInput {
  client: Client;
  /** Of strategy `email` or `sms`. */
  connection: Connection;
  /** E-mail address in lower case, or phone number. */
  recipient: string;
  code: string;
  /** The body without its code, for `event.request.body`. */
  body: Record<string, unknown>;
  request: RequestFacts;
}

/** Why nobody was logged in. `userMessage`: what an Action that denied has to say. */
export type LoginRefusal =
  | { kind: 'wrong-credentials' | 'user-blocked' | 'too-many-attempts' | 'signup-disabled' | 'action-failed' }
  | { kind: 'denied'; userMessage: string };

export type LoginOutcome = { outcome: 'logged-in'; user: LoginUser } | { outcome: 'refused'; refusal: LoginRefusal };

export type PasswordlessLogin = (input: PasswordlessLoginInput) => Promise<LoginOutcome>;

export interface PasswordlessLoginDeps {
  database: Database;
  keyring: Keyring;
  codes: CodeStore;
  logins: LoginStore;
  protection: AttackProtection;
  userCreation: UserCreation;
}

/** Somebody else has used the code up, or there is a newer one. */
class CodeSpentError extends Error {}

/**
 * Logs in who has the code. The first time it creates the user: a registration with both triggers, the code used up in the
 * transaction that commits it. A code that was right is spent whatever comes of the login.
 */
export function createPasswordlessLogin(deps: PasswordlessLoginDeps): PasswordlessLogin {
  const { database, keyring, codes, logins, protection, userCreation } = deps;

  async function writeEntry(tx: Queryable, input: PasswordlessLoginInput, type: LogType, description: string, userId: string | null = null): Promise<void> {
    const { client, connection } = input;
    const item = { ...logItem({ ...input, ...identifiers(input), username: null }), description };
    await writeLog(tx, keyring, { type, date: Date.now(), userId, clientId: client.id, connectionId: connection.id, item });
  }

  /** In the transaction of the login: what it throws undoes all of it. */
  async function record(tx: Queryable, input: PasswordlessLoginInput, code: MatchedCode, userId: string): Promise<LoginUser> {
    if (!(await codes.spend(tx, code))) throw new CodeSpentError('the code was used by another login');
    const user = await recordLogin(tx, userId, { ip: input.request.ip, verified: isMail(input) ? 'email' : 'phone' });
    if (user === null) throw new CodeSpentError('the user was deleted during the login');
    await writeEntry(tx, input, 's', 'Successful login', userId);
    return user;
  }

  async function refuse(input: PasswordlessLoginInput, code: MatchedCode, refusal: LoginRefusal, description: string, userId: string | null = null): Promise<LoginOutcome> {
    await database.transaction(async (tx) => {
      await codes.spend(tx, code);
      await writeEntry(tx, input, 'f', description, userId);
    });
    return { outcome: 'refused', refusal };
  }

  async function logIn(input: PasswordlessLoginInput, code: MatchedCode, found: LoginUser): Promise<LoginOutcome> {
    if (found.blocked === 1) return await refuse(input, code, { kind: 'user-blocked' }, 'user is blocked', found.id);
    const user = await database.transaction((tx) => record(tx, input, code, found.id));
    return { outcome: 'logged-in', user };
  }

  /** @returns null when somebody else has just become this user. */
  async function signUp(input: PasswordlessLoginInput, code: MatchedCode): Promise<LoginOutcome | null> {
    if (input.connection.options.disable_signup === true) return await refuse(input, code, { kind: 'signup-disabled' }, 'Public signup is disabled');
    let user: LoginUser | undefined;
    const result = await userCreation.create({
      ...newUser(input),
      alsoWrite: async (tx, { userId }) => {
        user = await record(tx, input, code, userId);
      },
    });
    if (user !== undefined && result.outcome === 'created') return { outcome: 'logged-in', user };
    if (result.outcome === 'created' || result.refusal.kind === 'user-exists') return null;
    const { refusal } = result;
    if (refusal.kind === 'denied') return await refuse(input, code, { kind: 'denied', userMessage: refusal.userMessage || refusal.reason }, refusal.reason);
    return await refuse(input, code, { kind: 'action-failed' }, 'A pre-user-registration Action failed');
  }

  async function enter(input: PasswordlessLoginInput, code: MatchedCode): Promise<LoginOutcome> {
    const find = async () => await logins.find(input.connection.id, nameOf(input));
    const found = await find();
    if (found !== null) return await logIn(input, code, found);
    const signedUp = await signUp(input, code);
    if (signedUp !== null) return signedUp;
    const other = await find();
    if (other === null) throw new CodeSpentError('the user that was there a moment ago is gone');
    return await logIn(input, code, other);
  }

  return async (input) => {
    const attempt = { connection: input.connection, account: input.recipient, ip: input.request.ip };
    if (await protection.isBlocked(attempt)) {
      await writeEntry(database.db, input, 'limit_wc', 'Blocked after too many failed logins');
      return { outcome: 'refused', refusal: { kind: 'too-many-attempts' } };
    }
    const code = await codes.match({ connectionId: input.connection.id, recipient: input.recipient, clientId: input.client.id }, input.code);
    try {
      if (code === null) throw new CodeSpentError('there is no such code');
      const outcome = await enter(input, code);
      await protection.succeeded(attempt);
      return outcome;
    } catch (error) {
      if (!(error instanceof CodeSpentError)) throw error;
      await protection.failed(attempt);
      await writeEntry(database.db, input, 'fepotpft', 'Wrong recipient or verification code');
      return { outcome: 'refused', refusal: { kind: 'wrong-credentials' } };
    }
  };
}

function isMail({ connection }: PasswordlessLoginInput): boolean {
  return connection.strategy === 'email';
}

function nameOf(input: PasswordlessLoginInput): { email: string } | { phoneNumber: string } {
  return isMail(input) ? { email: input.recipient } : { phoneNumber: input.recipient };
}

function identifiers(input: PasswordlessLoginInput): { email: string | null; phoneNumber: string | null } {
  return { email: isMail(input) ? input.recipient : null, phoneNumber: isMail(input) ? null : input.recipient };
}

function newUser(input: PasswordlessLoginInput): NewUser {
  const { client, connection, body, request } = input;
  return {
    source: isMail(input) ? 'passwordless-email' : 'passwordless-sms',
    client,
    connection,
    ...identifiers(input),
    username: null,
    emailVerified: isMail(input),
    phoneVerified: !isMail(input),
    profile: {},
    userMetadata: {},
    hashPassword: () => Promise.resolve(null),
    body,
    request,
  };
}
