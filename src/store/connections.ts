import { randomBytes } from 'node:crypto';
import { newUserId } from '../domain/ids.ts';
import type { PasswordPolicy } from '../passwords.ts';
import type { Database, Queryable } from './database.ts';
import type { Row } from './schema.ts';

/** The connection that is there from the start. */
export const DEFAULT_CONNECTION = 'Username-Password-Authentication';

/** Options that have an effect here, by Auth0's names; the others are kept as they came. */
export interface ConnectionOptions {
  /** Database: @default good */
  passwordPolicy?: PasswordPolicy | null;
  /** Database: wins over the policy's own minimum. */
  password_complexity_options?: { min_length?: number } | null;
  /** Database: common passwords, and the words of this list, are refused. */
  password_dictionary?: { enable?: boolean; dictionary?: string[] } | null;
  /** Database: passwords that hold a part of the user's name or address are refused. */
  password_no_personal_info?: { enable?: boolean } | null;
  /** Database: a sign-up must give a username. */
  requires_username?: boolean;
  /** Database: lengths of a username, in characters. @default 1 and 15 */
  validation?: { username?: { min?: number; max?: number } | null } | null;
  /** Nobody can sign up by themselves. */
  disable_signup?: boolean;
  brute_force_protection?: boolean;
  /** Passwordless: digits of a code, and for how many seconds it is good. @default 6 and 180 */
  totp?: { length?: number; time_step?: number };
  [option: string]: unknown;
}

export interface Connection {
  id: string;
  name: string;
  /** `auth0`: a database; `email`, `sms`: passwordless; others do nothing here. */
  strategy: string;
  options: ConnectionOptions;
  metadata: Record<string, string>;
  /** Ids; null: every client may use it. */
  enabledClients: string[] | null;
}

export interface ConnectionStore {
  findByName(name: string): Promise<Connection | null>;
  /** Makes the connection that is there from the start, when the store has none of its name. */
  ensureDefault(): Promise<void>;
}

/** The connections of the installation, as sign-ups and logins name them; `connection-management.ts` changes them. */
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
          id: newConnectionId(),
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

/** Whether people may sign up to and log in with a connection through a client. */
export function isEnabledFor({ enabledClients }: Pick<Connection, 'enabledClients'>, clientId: string): boolean {
  return enabledClients === null || enabledClients.includes(clientId);
}

/** Puts another id into the lists of enabled clients, or with null takes it out. */
export async function replaceEnabledClient(tx: Queryable, clientId: string, by: string | null): Promise<void> {
  const rows = await tx.selectFrom('connection').select(['id', 'enabled_clients']).where('enabled_clients', 'is not', null).forUpdate().execute();
  for (const row of rows) {
    const enabled = JSON.parse(row.enabled_clients!) as string[];
    if (!enabled.includes(clientId)) continue;
    const changed = enabled.flatMap((id) => (id !== clientId ? [id] : by === null ? [] : [by]));
    await tx.updateTable('connection').set({ enabled_clients: JSON.stringify(changed) }).where('id', '=', row.id).execute();
  }
}

/** Sorts by its second. */
export function newConnectionId(): string {
  return `con_${newUserId().slice(0, 8)}${randomBytes(4).toString('hex')}`;
}

export function toConnection(row: Row<'connection'>): Connection {
  return {
    id: row.id,
    name: row.name,
    strategy: row.strategy,
    options: JSON.parse(row.options) as ConnectionOptions,
    metadata: JSON.parse(row.metadata) as Record<string, string>,
    enabledClients: row.enabled_clients === null ? null : (JSON.parse(row.enabled_clients) as string[]),
  };
}
