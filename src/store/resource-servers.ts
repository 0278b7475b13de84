import { managementError } from '../domain/api-error.ts';
import { newUserId } from '../domain/ids.ts';
import { type Database, type Queryable, uniqueViolation } from './database.ts';
import type { Row } from './schema.ts';
import { type Listed, type Slice, slice } from './slice.ts';
import { withoutNulls } from './without-nulls.ts';

export interface ApiScope {
  value: string;
  description?: string | undefined;
}

/** What has an effect here of the properties of Auth0's resource server; the others are kept as they came. */
export interface ResourceServerSettings {
  /** Seconds. */
  token_lifetime?: number;
  signing_alg?: string;
  [property: string]: unknown;
}

/** An API that tokens can be asked for; Auth0 calls it a resource server. */
export interface ResourceServer {
  id: string;
  /** The audience of its tokens. */
  identifier: string;
  name: string;
  scopes: ApiScope[];
  settings: ResourceServerSettings;
}

export interface ResourceServerStore {
  /** By its id or its identifier; null when there is none. */
  find(idOrIdentifier: string): Promise<ResourceServer | null>;
  list(filter: { identifiers?: string[] | undefined }, part: Slice): Promise<Listed<ResourceServer>>;
  /** @throws {ApiError} 409 when the identifier is taken. */
  create(server: Omit<ResourceServer, 'id' | 'settings'> & { settings: Record<string, unknown> }): Promise<ResourceServer>;
  /** @param change settings that are null are taken out. @throws {ApiError} 404 */
  update(idOrIdentifier: string, change: { name?: string | undefined; scopes?: ApiScope[] | undefined; settings: Record<string, unknown> }): Promise<ResourceServer>;
  /** Removes it with the grants and permissions for it, if it is there. */
  remove(idOrIdentifier: string): Promise<void>;
}

/** The resource servers of the installation, without its Management API. */
export function createResourceServerStore({ database }: { database: Database }): ResourceServerStore {
  const { db } = database;

  /** In a transaction the row is locked: who changes it at the same moment waits. */
  async function find(key: string, queryable: Queryable = db): Promise<ResourceServer | null> {
    const query = queryable.selectFrom('resource_server').selectAll().where((eb) => eb.or([eb('id', '=', key), eb('identifier', '=', key)]));
    const row = await (queryable === db ? query : query.forUpdate()).executeTakeFirst();
    return row === undefined ? null : toServer(row);
  }

  return {
    find: (key) => find(key),

    async list({ identifiers }, part) {
      let query = db.selectFrom('resource_server');
      if (identifiers !== undefined) query = query.where('identifier', 'in', identifiers);
      const rows = await slice(query.selectAll(), part).execute();
      const { total } = await query.select((eb) => eb.fn.countAll<number>().as('total')).executeTakeFirstOrThrow();
      return { items: rows.map(toServer), total };
    },

    async create({ identifier, name, scopes, settings }) {
      const row = { id: newUserId(), identifier, name, scopes: JSON.stringify(scopes), settings: JSON.stringify(withoutNulls(settings)), created_at: Date.now() };
      try {
        await db.insertInto('resource_server').values(row).execute();
      } catch (error) {
        if (uniqueViolation(error) === undefined) throw error;
        throw managementError(409, 'A resource server with the same identifier already exists', 'resource_server_conflict');
      }
      return toServer(row);
    },

    async update(key, { name, scopes, settings }) {
      return await database.transaction(async (tx) => {
        const before = await find(key, tx);
        if (before === null) throw noSuchServer();
        const after = { ...before, name: name ?? before.name, scopes: scopes ?? before.scopes, settings: withoutNulls({ ...before.settings, ...settings }) };
        await tx.updateTable('resource_server')
          .set({ name: after.name, scopes: JSON.stringify(after.scopes), settings: JSON.stringify(after.settings) })
          .where('id', '=', before.id)
          .execute();
        return after;
      });
    },

    async remove(key) {
      await database.transaction(async (tx) => {
        const server = await find(key, tx);
        if (server === null) return;
        await tx.deleteFrom('client_grant').where('audience', '=', server.identifier).execute();
        await tx.deleteFrom('role_permission').where('audience', '=', server.identifier).execute();
        await tx.deleteFrom('resource_server').where('id', '=', server.id).execute();
      });
    },
  };
}

export function noSuchServer() {
  return managementError(404, 'The resource server does not exist', 'inexistent_resource_server');
}

function toServer(row: Omit<Row<'resource_server'>, 'created_at'>): ResourceServer {
  return {
    id: row.id,
    identifier: row.identifier,
    name: row.name,
    scopes: JSON.parse(row.scopes) as ApiScope[],
    settings: JSON.parse(row.settings) as ResourceServerSettings,
  };
}
