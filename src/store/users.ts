import type { Database } from './database.ts';

/** What identifies a user in a connection, besides its id. */
export interface Identifiers {
  email: string;
  username: string | null;
}

export interface UserStore {
  /**
   * Which identifier a user of the connection already has, or null. Only for a fast answer: who signs up at the same
   * moment is stopped by the unique indexes when the registration commits.
   */
  findTaken(connectionId: string, identifiers: Identifiers): Promise<'email' | 'username' | null>;
}

/** The users of the installation. */
export function createUserStore({ database }: { database: Database }): UserStore {
  const { db } = database;
  return {
    async findTaken(connectionId, { email, username }) {
      const rows = await db
        .selectFrom('user_account')
        .select('email')
        .where('connection_id', '=', connectionId)
        .where((eb) => eb.or([eb('email', '=', email), ...(username === null ? [] : [eb('username', '=', username)])]))
        .execute();
      if (rows.length === 0) return null;
      return rows.some((row) => row.email === email) ? 'email' : 'username';
    },
  };
}
