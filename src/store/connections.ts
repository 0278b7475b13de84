import { newUserId } from '../domain/ids.ts';
import type { PasswordPolicy } from '../passwords.ts';
import type { Database } from './database.ts';
import type { Row } from './schema.ts';

/** The connection that is there from the start. */
export const DEFAULT_CONNECTION = 'Username-Password-Authentication';

/** Options of a database connection, by Auth0's names. */
export interface ConnectionOptions {
  passwordPolicy?: PasswordPolicy;
  /** Nobody can sign up by themselves. */
  disable_signup?: boolean;
}

export interface Connection {
  id: string;
  name: string;
  strategy: string;
  options: ConnectionOptions;
  metadata: Record<string, string>;
}

export interface ConnectionStore {
  findByName(name: string): Promise<Connection | null>;
  /** Makes the connection that is there from the start, when the store has none of its name. */
  ensureDefault(): Promise<void>;
}

/** The connections of the installation. */
export function createConnectionStore({ database }: { database: Database }): ConnectionStore {
  return {
    async findByName(name) {
      const row = await database.db.selectFrom('connection').selectAll().where('name', '=', name).executeTakeFirst();
      return row === undefined ? null : toConnection(row);
    },

    async ensureDefault() {
      const options: ConnectionOptions = { passwordPolicy: 'good', disable_signup: false };
      await database.db
        .insertInto('connection')
        .values({
          id: `con_${newUserId().slice(0, 16)}`,
          name: DEFAULT_CONNECTION,
          strategy: 'auth0',
          options: JSON.stringify(options),
          metadata: '{}',
          created_at: Date.now(),
        })
        .onConflict((conflict) => conflict.column('name').doNothing())
        .execute();
    },
  };
}

function toConnection(row: Row<'connection'>): Connection {
  return {
    id: row.id,
    name: row.name,
    strategy: row.strategy,
    options: JSON.parse(row.options) as ConnectionOptions,
    metadata: JSON.parse(row.metadata) as Record<string, string>,
  };
}
