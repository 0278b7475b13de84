import { newId } from '../../src/domain/ids.ts';
import { searchLogs } from '../../src/search/search-logs.ts';
import { searchUsers, sortUsers } from '../../src/search/search-users.ts';
import type { Database } from '../../src/store/database.ts';
import { migrate } from '../../src/store/migrate.ts';
import type { NewRow } from '../../src/store/schema.ts';

/** A user as the tests write it down; what is left out is not there. */
export interface TestUser {
  user_id: string;
  connection?: string;
  email?: string;
  email_verified?: boolean;
  username?: string;
  phone_number?: string;
  phone_verified?: boolean;
  blocked?: boolean;
  logins_count?: number;
  last_ip?: string;
  created_at?: string;
  updated_at?: string;
  last_login?: string;
  name?: string;
  given_name?: string;
  family_name?: string;
  nickname?: string;
  picture?: string;
  user_metadata?: object;
  app_metadata?: object;
}

export interface TestLog {
  log_id: string;
  type: string;
  date: string;
  user_id?: string;
  client_id?: string;
  connection?: string;
}

const CONNECTIONS = ['Username-Password-Authentication', 'customers', 'sms'];

/** The id of a connection of the tests. */
export function connectionId(name: string): string {
  return `con_${CONNECTIONS.indexOf(name)}`;
}

/** Makes the tables of an empty store, the connections, and a client. */
export async function prepareTables(database: Database): Promise<void> {
  await migrate(database);
  for (const name of CONNECTIONS) {
    await database.db.insertInto('connection')
      .values({ id: connectionId(name), name, strategy: 'auth0', options: '{}', metadata: '{}', created_at: 0 })
      .execute();
  }
  await database.db.insertInto('client').values({ id: 'app', name: 'My app', secret_hash: '', metadata: '{}', settings: '{}', created_at: 0 }).execute();
}

/** Puts these users in the place of those that are there. */
export async function putUsers(database: Database, users: TestUser[]): Promise<void> {
  await database.db.deleteFrom('user_account').execute();
  for (const user of users) {
    const { name, given_name, family_name, nickname, picture } = user;
    const row: NewRow<'user_account'> = {
      id: user.user_id,
      connection_id: connectionId(user.connection ?? CONNECTIONS[0]!),
      email: user.email ?? null,
      email_verified: user.email_verified === true ? 1 : 0,
      username: user.username ?? null,
      phone_number: user.phone_number ?? null,
      phone_verified: user.phone_verified === true ? 1 : 0,
      profile: JSON.stringify({ name, given_name, family_name, nickname, picture }),
      user_metadata: JSON.stringify(user.user_metadata ?? {}),
      app_metadata: JSON.stringify(user.app_metadata ?? {}),
      blocked: user.blocked === true ? 1 : 0,
      logins_count: user.logins_count ?? 0,
      last_ip: user.last_ip ?? null,
      last_login: user.last_login === undefined ? null : Date.parse(user.last_login),
      created_at: Date.parse(user.created_at ?? '2024-01-01'),
      updated_at: Date.parse(user.updated_at ?? '2024-01-01'),
    };
    await database.db.insertInto('user_account').values(row).execute();
  }
}

/** Puts these entries in the place of those that are there. */
export async function putLogs(database: Database, logs: TestLog[]): Promise<void> {
  await database.db.deleteFrom('log').execute();
  for (const { log_id, type, date, user_id, client_id, connection } of logs) {
    await database.db.insertInto('log')
      .values({
        id: log_id,
        type,
        date: Date.parse(date),
        user_id: user_id ?? null,
        client_id: client_id ?? null,
        connection_id: connection === undefined ? null : connectionId(connection),
        registration_id: newId(),
        item_sealed: '',
        key_id: '',
      })
      .execute();
  }
}

/** The ids of the users that `q` finds, sorted. */
export async function foundUsers(database: Database, q: string): Promise<string[]> {
  const rows = await database.db.selectFrom('user_account').select('id').where(searchUsers(database, q)).execute();
  return rows.map(({ id }) => id).toSorted();
}

/** The ids of all users in the order of `sort`. */
export async function sortedUsers(database: Database, sort: string): Promise<string[]> {
  const rows = await database.db.selectFrom('user_account').select('id').orderBy(sortUsers(database, sort)).execute();
  return rows.map(({ id }) => id);
}

/** The ids of the log entries that `q` finds, sorted. */
export async function foundLogs(database: Database, q: string): Promise<string[]> {
  const rows = await database.db.selectFrom('log').select('id').where(searchLogs(database, q)).execute();
  return rows.map(({ id }) => id).toSorted();
}
