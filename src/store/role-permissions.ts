import type { Database } from './database.ts';
import type { RoleStore } from './roles.ts';
import type { Listed } from './slice.ts';

/** What a role may do with an API; kept for tools that read it back. */
export interface Permission {
  /** Audience of the API; see `MANAGEMENT_AUDIENCE`. */
  audience: string;
  /** One of the API's scopes. */
  name: string;
}

export interface RolePermissionStore {
  /** @throws {ApiError} 404 when there is no such role. */
  list(roleId: string, part: { limit: number; offset: number }): Promise<Listed<Permission>>;
  /** Adds what the role does not have yet. @throws {ApiError} 404 when there is no such role. */
  add(roleId: string, permissions: Permission[]): Promise<void>;
  /** Takes away what the role has of these. @throws {ApiError} 404 when there is no such role. */
  remove(roleId: string, permissions: Permission[]): Promise<void>;
}

/** The permissions of the roles. */
export function createRolePermissionStore({ database, roles }: { database: Database; roles: Pick<RoleStore, 'find'> }): RolePermissionStore {
  const { db } = database;
  return {
    async list(roleId, { limit, offset }) {
      await roles.find(roleId);
      const query = db.selectFrom('role_permission').where('role_id', '=', roleId);
      return {
        items: await query.select(['audience', 'name']).orderBy('audience').orderBy('name').limit(limit).offset(offset).execute(),
        ...(await query.select((eb) => eb.fn.countAll<number>().as('total')).executeTakeFirstOrThrow()),
      };
    },

    async add(roleId, permissions) {
      await roles.find(roleId);
      const rows = permissions.map((permission) => ({ ...permission, role_id: roleId }));
      await db.insertInto('role_permission').values(rows).onConflict((conflict) => conflict.columns(['role_id', 'audience', 'name']).doNothing()).execute();
    },

    async remove(roleId, permissions) {
      await roles.find(roleId);
      // By API: one condition for each permission would be deeper than SQLite's expressions may be.
      await database.transaction(async (tx) => {
        for (const [audience, own] of Map.groupBy(permissions, (permission) => permission.audience)) {
          await tx.deleteFrom('role_permission').where('role_id', '=', roleId).where('audience', '=', audience).where('name', 'in', own.map(({ name }) => name)).execute();
        }
      });
    },
  };
}
