import { hashPassword, isOutdated, isPasswordOf } from '../passwords.ts';
import type { Client } from '../store/clients.ts';
import type { Connection } from '../store/connections.ts';
import type { Database, Queryable } from '../store/database.ts';
import type { Keyring } from '../store/keyring.ts';
import { type LoginStore, type LoginUser, recordLogin } from '../store/logins.ts';
import { type LogType, writeLog } from '../store/logs.ts';
import type { AttackProtection } from './attack-protection.ts';
import { logItem } from './create-user.ts';
import type { RequestFacts } from './event.ts';
import type { LoginOutcome } from './passwordless-login.ts';

export interface PasswordLoginInput {
  client: Client;
  /** A database connection. */
  connection: Connection;
  /** E-mail address or username, in lower case. */
  username: string;
  password: string;
  request: RequestFacts;
}

export type PasswordLogin = (input: PasswordLoginInput) => Promise<LoginOutcome>;

export interface PasswordLoginDeps {
  database: Database;
  keyring: Keyring;
  logins: LoginStore;
  protection: AttackProtection;
}

/**
 * Logs in who has the password. Answer and work for an account that does not exist are those for a wrong password; only an
 * imported hash, which takes another time, can be told by it until its user has logged in once: then it becomes one of
 * ours.
 */
export function createPasswordLogin({ database, keyring, logins, protection }: PasswordLoginDeps): PasswordLogin {
  async function writeEntry(tx: Queryable, input: PasswordLoginInput, type: LogType, description: string, userId: string | null): Promise<void> {
    const { client, connection, username } = input;
    const item = { ...logItem({ ...input, email: null, phoneNumber: null, username }), description };
    await writeLog(tx, keyring, { type, date: Date.now(), userId, clientId: client.id, connectionId: connection.id, item });
  }

  async function record(input: PasswordLoginInput, found: LoginUser): Promise<LoginUser | null> {
    const before = found.password_hash;
    const passwordHash = before !== null && isOutdated(before) ? { before, after: await hashPassword(input.password) } : undefined;
    return await database.transaction(async (tx) => {
      const user = await recordLogin(tx, found.id, { ip: input.request.ip, ...(passwordHash === undefined ? {} : { passwordHash }) });
      if (user !== null) await writeEntry(tx, input, 's', 'Successful login', user.id);
      return user;
    });
  }

  return async (input) => {
    const { connection, username, password, request } = input;
    const attempt = { connection, account: username, ip: request.ip };
    if (await protection.isBlocked(attempt)) {
      await writeEntry(database.db, input, 'limit_wc', 'Blocked after too many failed logins', null);
      return { outcome: 'refused', refusal: { kind: 'too-many-attempts' } };
    }
    const found = await logins.find(connection.id, { emailOrUsername: username });
    const isRight = await isPasswordOf(found?.password_hash ?? null, password);
    if (found !== null && isRight) {
      await protection.succeeded(attempt);
      if (found.blocked === 1) {
        await writeEntry(database.db, input, 'f', 'user is blocked', found.id);
        return { outcome: 'refused', refusal: { kind: 'user-blocked' } };
      }
      const user = await record(input, found);
      if (user !== null) return { outcome: 'logged-in', user };
    }
    await protection.failed(attempt);
    await writeEntry(database.db, input, found === null ? 'fu' : 'fp', 'Wrong email or password.', found?.id ?? null);
    return { outcome: 'refused', refusal: { kind: 'wrong-credentials' } };
  };
}
