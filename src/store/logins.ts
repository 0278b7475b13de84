import type { Database, Queryable } from './database.ts';
import type { Row } from './schema.ts';
import { IS_SMS_USER } from './users.ts';

/** A user as a login needs it. */
export type LoginUser = Row<'user_account'>;

/** How a login names its user in a connection. */
export type LoginName = { email: string } | { phoneNumber: string } | { emailOrUsername: string };

/** What a login leaves with its user. */
export interface LoginFacts {
  ip: string;
  /** The address or number that the login has verified. */
  verified?: 'email' | 'phone';
  /** In the place of an outdated hash. */
  passwordHash?: { before: string; after: string };
}

/** Users as logins look them up and change them. */
export interface LoginStore {
  /** Null when the connection has no such user. */
  find(connectionId: string, name: LoginName): Promise<LoginUser | null>;
}

export function createLoginStore({ database }: { database: Database }): LoginStore {
  return {
    async find(connectionId, name) {
      const query = database.db.selectFrom('user_account').selectAll().where('connection_id', '=', connectionId);
      if ('email' in name) return (await query.where('email', '=', name.email).executeTakeFirst()) ?? null;
      if ('phoneNumber' in name) return (await query.where('phone_number', '=', name.phoneNumber).where(IS_SMS_USER).executeTakeFirst()) ?? null;
      const { emailOrUsername } = name;
      const found = await query.where((eb) => eb.or([eb('email', '=', emailOrUsername), eb('username', '=', emailOrUsername)])).execute();
      // A username may have the form of somebody else's address.
      return found.find(({ email }) => email === emailOrUsername) ?? found[0] ?? null;
    },
  };
}

/** Counts a login with its user. @returns the user after it, or null when it is gone. */
export async function recordLogin(tx: Queryable, userId: string, { ip, verified, passwordHash }: LoginFacts): Promise<LoginUser | null> {
  const now = Date.now();
  if (passwordHash !== undefined) {
    // Unless the password was changed since it was looked at.
    await tx.updateTable('user_account').set({ password_hash: passwordHash.after }).where('id', '=', userId).where('password_hash', '=', passwordHash.before).execute();
  }
  const row = await tx.updateTable('user_account')
    .set((eb) => ({
      last_login: now,
      last_ip: ip,
      logins_count: eb('logins_count', '+', 1),
      updated_at: now,
      ...(verified === 'email' ? { email_verified: 1 } : {}),
      ...(verified === 'phone' ? { phone_verified: 1 } : {}),
    }))
    .where('id', '=', userId)
    .returningAll()
    .executeTakeFirst();
  return row ?? null;
}
