import { type Expression, type RawBuilder, type SqlBool, sql } from 'kysely';
import { managementError } from '../domain/api-error.ts';
import { type Database, type Queryable, uniqueViolation } from './database.ts';
import type { Row } from './schema.ts';

/** What identifies a user in a connection, besides its id. */
export interface Identifiers {
  email: string | null;
  username: string | null;
  /** Only where it identifies: on a connection for SMS. */
  phoneNumber?: string | null;
}

export type TakenField = 'email' | 'username' | 'phone_number';

/** A user with the name of its connection. */
export type StoredUser = Row<'user_account'> & { connection_name: string };

/** What of a user can change. */
export type UserChange = Partial<Omit<Row<'user_account'>, 'id' | 'connection_id' | 'created_at'>>;

/** Which users are wanted; what is left out does not matter. */
export interface UserSearch {
  /** On the table `user_account`. */
  condition?: Expression<SqlBool> | undefined;
  /** By name. */
  connection?: string | undefined;
}

export interface UserPage {
  limit: number;
  offset: number;
  /** @default from the oldest to the youngest */
  order?: RawBuilder<unknown> | undefined;
}

export interface UserStore {
  /**
   * Which identifier a user of the connection already has, or null. Only for a fast answer: who signs up at the same
   * moment is stopped by the unique indexes when the registration commits.
   */
  findTaken(connectionId: string, identifiers: Identifiers): Promise<TakenField | null>;
  /** @throws {ApiError} 404 */
  find(id: string): Promise<StoredUser>;
  /** All connections' users with this address, in lower case as it is kept. */
  findByEmail(email: string): Promise<StoredUser[]>;
  list(search: UserSearch, page: UserPage): Promise<StoredUser[]>;
  count(search: UserSearch): Promise<number>;
  /**
   * Changes a user as nobody else can between the reading and the writing of it.
   *
   * @param alsoWrite - what belongs to the same transaction.
   * @throws {ApiError} 404, 400 when another user of the connection has the identifier; what `change` throws.
   */
  update(id: string, change: (before: StoredUser) => UserChange, alsoWrite?: (tx: Queryable, after: StoredUser) => Promise<void>): Promise<StoredUser>;
  /** Removes a user, if it is there, with its roles. Its registrations stay, and run. */
  remove(id: string): Promise<void>;
}

/** The users of the installation. */
export function createUserStore({ database }: { database: Database }): UserStore {
  const { db } = database;

  function withConnection(queryable: Queryable) {
    return queryable.selectFrom('user_account').innerJoin('connection', 'connection.id', 'user_account.connection_id');
  }

  function matching({ condition, connection }: UserSearch) {
    let query = withConnection(db);
    if (condition !== undefined) query = query.where(condition);
    if (connection !== undefined) query = query.where('connection.name', '=', connection);
    return query;
  }

  return {
    async findTaken(connectionId, { email, username, phoneNumber = null }) {
      const wanted = Object.entries({ email, username, phone_number: phoneNumber } satisfies Record<TakenField, string | null>);
      const given = wanted.filter((each): each is [TakenField, string] => each[1] !== null);
      if (given.length === 0) return null;
      const rows = await db
        .selectFrom('user_account')
        .select(['email', 'username', 'phone_number'])
        .where('connection_id', '=', connectionId)
        .where((eb) => eb.or(given.map(([field, value]) => (field === 'phone_number' ? eb.and([eb(field, '=', value), IS_SMS_USER]) : eb(field, '=', value)))))
        .execute();
      return given.find(([field, value]) => rows.some((row) => row[field] === value))?.[0] ?? null;
    },

    async find(id) {
      const row = await withConnection(db).selectAll('user_account').select(CONNECTION_NAME).where('user_account.id', '=', id).executeTakeFirst();
      if (row === undefined) throw noSuchUser();
      return row;
    },

    async findByEmail(email) {
      return await withConnection(db)
        .selectAll('user_account')
        .select(CONNECTION_NAME)
        .where('user_account.email', '=', email)
        .orderBy('user_account.created_at')
        .orderBy('user_account.id')
        .execute();
    },

    async list(search, { limit, offset, order = sql`user_account.created_at, user_account.id` }) {
      return await matching(search).selectAll('user_account').select(CONNECTION_NAME).orderBy(order).limit(limit).offset(offset).execute();
    },

    async count(search) {
      const { total } = await matching(search).select((eb) => eb.fn.countAll<number>().as('total')).executeTakeFirstOrThrow();
      return total;
    },

    async update(id, change, alsoWrite) {
      try {
        return await database.transaction(async (tx) => {
          const before = await withConnection(tx)
            .selectAll('user_account')
            .select(CONNECTION_NAME)
            .where('user_account.id', '=', id)
            .forUpdate('user_account')
            .executeTakeFirst();
          if (before === undefined) throw noSuchUser();
          const changed = change(before);
          await tx.updateTable('user_account').set(changed).where('id', '=', id).execute();
          const after: StoredUser = { ...before, ...changed };
          await alsoWrite?.(tx, after);
          return after;
        });
      } catch (error) {
        throw asTaken(error) ?? error;
      }
    },

    async remove(id) {
      await db.deleteFrom('user_account').where('id', '=', id).execute();
    },
  };
}

/** A condition of the index `user_account_phone`, which no query without it can use. */
export const IS_SMS_USER = sql<SqlBool>`substr(user_account.id, 1, 4) = 'sms|'`;

const CONNECTION_NAME = 'connection.name as connection_name';

export function noSuchUser() {
  return managementError(404, 'The user does not exist.', 'inexistent_user');
}

/** Auth0's words where one is known, and its status: 400, unlike the 409 of a user that is to be created. */
const TAKEN: Record<string, string> = { email: 'email', username: 'username', phone_number: 'phone number' };

function asTaken(error: unknown) {
  const violation = uniqueViolation(error);
  if (violation?.table !== 'user_account') return undefined;
  const taken = violation.columns.map((column) => TAKEN[column]).find((words) => words !== undefined);
  return taken === undefined ? undefined : managementError(400, `The specified new ${taken} already exists`, 'auth0_idp_error');
}
