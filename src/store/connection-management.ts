import { managementError } from '../domain/api-error.ts';
import { joinSecrets, type OptionSecret, splitSecrets } from './connection-secrets.ts';
import { type Connection, type ConnectionOptions, newConnectionId, toConnection } from './connections.ts';
import { type Database, type Queryable, uniqueViolation } from './database.ts';
import { INSTALLATION_KEY, type Keyring } from './keyring.ts';
import type { Row } from './schema.ts';
import { type Listed, type Slice, slice } from './slice.ts';
import { withoutNulls } from './without-nulls.ts';

/** A connection with all that is kept of it. */
export interface ConnectionRecord extends Connection {
  /** Auth0's other properties, as they came. */
  settings: Record<string, unknown>;
  /** Of those that exist; where every client may use it, of all. */
  enabledClients: string[];
}

/** What can be given of a connection; settings that are null are taken out. */
export interface ConnectionChange {
  /** Replaced as a whole, as Auth0 does. */
  options?: ConnectionOptions | undefined;
  metadata?: Record<string, string> | undefined;
  enabledClients?: string[] | undefined;
  settings: Record<string, unknown>;
}

export interface ConnectionManagement {
  list(filter: { strategies?: string[] | undefined; name?: string | undefined }, part: Slice): Promise<Listed<ConnectionRecord>>;
  /** @throws {ApiError} 404 */
  get(id: string): Promise<ConnectionRecord>;
  /** @throws {ApiError} 409 when the name is taken. */
  create(connection: { name: string; strategy: string } & ConnectionChange): Promise<ConnectionRecord>;
  /** @throws {ApiError} 404 */
  update(id: string, change: ConnectionChange): Promise<ConnectionRecord>;
  /** Enables and disables single clients. @throws {ApiError} 404 when connection or client does not exist. */
  setClients(id: string, changes: { clientId: string; enabled: boolean }[]): Promise<void>;
  /** Removes it with its users, if it is there. */
  remove(id: string): Promise<void>;
  /** Removes the user of this address, if there is one. @throws {ApiError} 404 when the connection does not exist. */
  removeUser(id: string, email: string): Promise<void>;
}

/** The connections of the installation, as the Management API reads and changes them; secrets of options are sealed. */
export function createConnectionManagement({ database, keyring }: { database: Database; keyring: Keyring }): ConnectionManagement {
  const { db } = database;

  /** In a transaction the row is locked: who changes it at the same moment waits. */
  async function find(id: string, queryable: Queryable): Promise<Row<'connection'>> {
    const query = queryable.selectFrom('connection').selectAll().where('id', '=', id);
    const row = await (queryable === db ? query : query.forUpdate()).executeTakeFirst();
    if (row === undefined) throw managementError(404, 'The connection does not exist', 'inexistent_connection');
    return row;
  }

  async function toRecord(row: Row<'connection'>, clientIds: string[], queryable: Queryable): Promise<ConnectionRecord> {
    const connection = toConnection(row);
    const secrets = row.secrets_sealed === null ? [] : await keyring.openJson<OptionSecret[]>(INSTALLATION_KEY, sealedAs(row.id), row.secrets_sealed, queryable);
    return {
      ...connection,
      options: joinSecrets(connection.options, secrets),
      settings: JSON.parse(row.settings) as Record<string, unknown>,
      enabledClients: connection.enabledClients ?? clientIds,
    };
  }

  async function columnsOf(id: string, options: ConnectionOptions, tx: Queryable): Promise<Pick<Row<'connection'>, 'options' | 'secrets_sealed'>> {
    const split = splitSecrets(options);
    return {
      options: JSON.stringify(split.options),
      secrets_sealed: split.secrets.length === 0 ? null : await keyring.sealJson(INSTALLATION_KEY, sealedAs(id), split.secrets, tx),
    };
  }

  return {
    async list({ strategies, name }, part) {
      let query = db.selectFrom('connection');
      if (strategies !== undefined) query = query.where('strategy', 'in', strategies);
      if (name !== undefined) query = query.where('name', '=', name);
      const rows = await slice(query.selectAll(), part).execute();
      const { total } = await query.select((eb) => eb.fn.countAll<number>().as('total')).executeTakeFirstOrThrow();
      const clientIds = await allClients(db);
      return { items: await Promise.all(rows.map((row) => toRecord(row, clientIds, db))), total };
    },

    async get(id) {
      return await toRecord(await find(id, db), await allClients(db), db);
    },

    async create({ name, strategy, options = {}, metadata = {}, enabledClients = [], settings }) {
      const id = newConnectionId();
      try {
        return await database.transaction(async (tx) => {
          const clientIds = await allClients(tx);
          const row: Row<'connection'> = {
            id,
            name,
            strategy,
            ...(await columnsOf(id, options, tx)),
            metadata: JSON.stringify(metadata),
            settings: JSON.stringify(withoutNulls(settings)),
            enabled_clients: JSON.stringify(known(enabledClients, clientIds)),
            created_at: Date.now(),
            updated_at: Date.now(),
          };
          await tx.insertInto('connection').values(row).execute();
          return await toRecord(row, clientIds, tx);
        });
      } catch (error) {
        if (uniqueViolation(error) === undefined) throw error;
        throw managementError(409, 'A connection with the same name already exists', 'connection_conflict');
      }
    },

    async update(id, { options, metadata, enabledClients, settings }) {
      return await database.transaction(async (tx) => {
        const before = await find(id, tx);
        const clientIds = await allClients(tx);
        const after: Row<'connection'> = {
          ...before,
          ...(options === undefined ? {} : await columnsOf(id, options, tx)),
          ...(metadata === undefined ? {} : { metadata: JSON.stringify(metadata) }),
          ...(enabledClients === undefined ? {} : { enabled_clients: JSON.stringify(known(enabledClients, clientIds)) }),
          settings: JSON.stringify(withoutNulls({ ...(JSON.parse(before.settings) as object), ...settings })),
          updated_at: Date.now(),
        };
        await tx.updateTable('connection').set(after).where('id', '=', id).execute();
        return await toRecord(after, clientIds, tx);
      });
    },

    async setClients(id, changes) {
      await database.transaction(async (tx) => {
        const { enabled_clients: before } = await find(id, tx);
        const clientIds = await allClients(tx);
        const missing = changes.find(({ clientId, enabled }) => enabled && !clientIds.includes(clientId));
        if (missing !== undefined) throw managementError(404, `The client does not exist: ${missing.clientId}`, 'inexistent_client');
        const enabled = new Set(before === null ? clientIds : (JSON.parse(before) as string[]));
        for (const change of changes) {
          if (change.enabled) enabled.add(change.clientId);
          else enabled.delete(change.clientId);
        }
        await tx.updateTable('connection').set({ enabled_clients: JSON.stringify([...enabled]), updated_at: Date.now() }).where('id', '=', id).execute();
      });
    },

    async remove(id) {
      await database.transaction(async (tx) => {
        // Waits for those who are just signing up to it, and lets no more in.
        await tx.selectFrom('connection').select('id').where('id', '=', id).forUpdate().execute();
        await tx.deleteFrom('user_account').where('connection_id', '=', id).execute();
        await tx.deleteFrom('connection').where('id', '=', id).execute();
      });
    },

    async removeUser(id, email) {
      await find(id, db);
      await db.deleteFrom('user_account').where('connection_id', '=', id).where('email', '=', email.toLowerCase()).execute();
    },
  };
}

async function allClients(queryable: Queryable): Promise<string[]> {
  const rows = await queryable.selectFrom('client').select('id').orderBy('id').execute();
  return rows.map((row) => row.id);
}

/** Auth0's exports may name clients that were left behind. */
function known(enabledClients: string[], clientIds: string[]): string[] {
  return [...new Set(enabledClients)].filter((id) => clientIds.includes(id));
}

function sealedAs(id: string): string {
  return `connection/${id}/options`;
}
