import { randomBytes } from 'node:crypto';
import { managementError } from '../domain/api-error.ts';
import { type Database, type Queryable, uniqueViolation } from './database.ts';
import type { Row } from './schema.ts';
import { type Listed, type Slice, slice } from './slice.ts';
import { noSuchUser } from './users.ts';

export type Role = Pick<Row<'role'>, 'id' | 'name' | 'description'>;

/** A user as the list of a role's users shows it. */
export type RoleUser = Pick<Row<'user_account'>, 'id' | 'email' | 'profile'>;

export interface RoleStore {
  /** @throws {ApiError} 404 */
  find(id: string): Promise<Role>;
  /** @param filter.name - a part of the name, in whatever case. */
  list(filter: { name?: string | undefined }, part: Slice): Promise<Listed<Role>>;
  /** @throws {ApiError} 409 when the name is taken. */
  create(role: Omit<Role, 'id'>): Promise<Role>;
  /** @throws {ApiError} 404, 409 when the name is taken. */
  update(id: string, change: Partial<Omit<Role, 'id'>>): Promise<Role>;
  /** Removes a role, also from its users. @throws {ApiError} 404 */
  remove(id: string): Promise<void>;
  /** The roles of a user. @throws {ApiError} 404 */
  ofUser(userId: string, part: Slice): Promise<Listed<Role>>;
  /** The users of a role. @throws {ApiError} 404 */
  usersOf(roleId: string, part: Slice): Promise<Listed<RoleUser>>;
  /** Gives each user each role, all or nothing; who has one keeps it. @throws {ApiError} 404 when one of them is not there. */
  assign(userIds: string[], roleIds: string[]): Promise<void>;
  /** Takes roles from a user, as far as the user has them. @throws {ApiError} 404 */
  unassign(userId: string, roleIds: string[]): Promise<void>;
}

/** The roles of the installation. */
export function createRoleStore({ database }: { database: Database }): RoleStore {
  const { db, textAndJson } = database;

  async function find(id: string): Promise<Role> {
    const role = await db.selectFrom('role').select(COLUMNS).where('id', '=', id).executeTakeFirst();
    if (role === undefined) throw noSuchRole();
    return role;
  }

  async function requireUser(id: string): Promise<void> {
    const user = await db.selectFrom('user_account').select('id').where('id', '=', id).executeTakeFirst();
    if (user === undefined) throw noSuchUser();
  }

  return {
    find,

    async list({ name }, part) {
      let query = db.selectFrom('role');
      if (name !== undefined) {
        const wanted = name.toLowerCase();
        query = query.where((eb) => eb(textAndJson.position(textAndJson.lower(eb.ref('name')), wanted), '>', 0));
      }
      return {
        items: await slice(query.select(COLUMNS), part).execute(),
        ...(await query.select((eb) => eb.fn.countAll<number>().as('total')).executeTakeFirstOrThrow()),
      };
    },

    async create({ name, description }) {
      const role = { id: `rol_${randomBytes(8).toString('hex')}`, name, description };
      await namedOnce(() => db.insertInto('role').values({ ...role, created_at: Date.now() }).execute());
      return role;
    },

    async update(id, change) {
      if (Object.keys(change).length > 0) await namedOnce(() => db.updateTable('role').set(change).where('id', '=', id).execute());
      return await find(id);
    },

    async remove(id) {
      const removed = await db.deleteFrom('role').where('id', '=', id).returning('id').executeTakeFirst();
      if (removed === undefined) throw noSuchRole();
    },

    async ofUser(userId, part) {
      await requireUser(userId);
      const query = db.selectFrom('role').where('id', 'in', (eb) => eb.selectFrom('user_role').select('role_id').where('user_id', '=', userId));
      return {
        items: await slice(query.select(COLUMNS), part).execute(),
        ...(await query.select((eb) => eb.fn.countAll<number>().as('total')).executeTakeFirstOrThrow()),
      };
    },

    async usersOf(roleId, part) {
      await find(roleId);
      const query = db.selectFrom('user_account').where('id', 'in', (eb) => eb.selectFrom('user_role').select('user_id').where('role_id', '=', roleId));
      return {
        items: await slice(query.select(['id', 'email', 'profile']), part).execute(),
        ...(await query.select((eb) => eb.fn.countAll<number>().as('total')).executeTakeFirstOrThrow()),
      };
    },

    async assign(userIds, roleIds) {
      const users = [...new Set(userIds)];
      const roles = [...new Set(roleIds)];
      await database.transaction(async (tx) => {
        // Held until the end, so that none of them is removed meanwhile.
        if ((await lock(tx, 'user_account', users)) < users.length) throw noSuchUser();
        if ((await lock(tx, 'role', roles)) < roles.length) throw noSuchRole();
        const now = Date.now();
        const rows = users.flatMap((user) => roles.map((role) => ({ user_id: user, role_id: role, created_at: now })));
        await tx.insertInto('user_role').values(rows).onConflict((conflict) => conflict.columns(['user_id', 'role_id']).doNothing()).execute();
      });
    },

    async unassign(userId, roleIds) {
      await requireUser(userId);
      await db.deleteFrom('user_role').where('user_id', '=', userId).where('role_id', 'in', roleIds).execute();
    },
  };
}

const COLUMNS = ['id', 'name', 'description'] as const;

/** In one order, so that two who lock the same rows do not wait for each other. */
async function lock(tx: Queryable, table: 'user_account' | 'role', ids: string[]): Promise<number> {
  return (await tx.selectFrom(table).select('id').where('id', 'in', ids).orderBy('id').forUpdate().execute()).length;
}

async function namedOnce(write: () => Promise<unknown>): Promise<void> {
  try {
    await write();
  } catch (error) {
    if (uniqueViolation(error)?.columns.includes('name') !== true) throw error;
    throw managementError(409, 'A role with the same name already exists.', 'role_conflict');
  }
}

function noSuchRole() {
  return managementError(404, 'The role does not exist.');
}
