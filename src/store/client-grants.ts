import { managementError } from '../domain/api-error.ts';
import { MANAGEMENT_AUDIENCE, newGrantId, readFirstClientId } from './clients.ts';
import { type Database, type Queryable, uniqueViolation } from './database.ts';
import type { Row } from './schema.ts';
import { type Listed, type Slice, slice } from './slice.ts';
import { withoutNulls } from './without-nulls.ts';

/** Whose tokens a grant is for: the client's own, or those of the people who log in with it. */
export type SubjectType = 'client' | 'user';

/** What a client may ask for of an API. */
export interface ClientGrant {
  id: string;
  clientId: string;
  /** Identifier of a resource server, or `MANAGEMENT_AUDIENCE`. */
  audience: string;
  scope: string[];
  subjectType: SubjectType;
  /** Auth0's other properties, as they came. */
  settings: Record<string, unknown>;
}

export interface ClientGrantFilter {
  clientId?: string | undefined;
  audience?: string | undefined;
  subjectType?: SubjectType | undefined;
}

export interface ClientGrantStore {
  /** The grant for a client's own tokens, or null. */
  findFor(clientId: string, audience: string): Promise<ClientGrant | null>;
  list(filter: ClientGrantFilter, part: Slice): Promise<Listed<ClientGrant>>;
  /** @throws {ApiError} 404 */
  get(id: string): Promise<ClientGrant>;
  /** @throws {ApiError} 400 when client or API does not exist, 409 when there is such a grant already. */
  create(grant: Omit<ClientGrant, 'id'>): Promise<ClientGrant>;
  /** @param change settings that are null are taken out. @throws {ApiError} 404; 409 for the first client's own. */
  update(id: string, change: { scope?: string[]; settings: Record<string, unknown> }): Promise<ClientGrant>;
  /** Removes it, if it is there. @throws {ApiError} 409 for the first client's own. */
  remove(id: string): Promise<void>;
}

/** The client grants of the installation. */
export function createClientGrantStore({ database }: { database: Database }): ClientGrantStore {
  const { db } = database;

  /** In a transaction the row is locked: who changes it at the same moment waits. */
  async function get(id: string, queryable: Queryable = db): Promise<ClientGrant> {
    const query = queryable.selectFrom('client_grant').selectAll().where('id', '=', id);
    const row = await (queryable === db ? query : query.forUpdate()).executeTakeFirst();
    if (row === undefined) throw managementError(404, 'The grant does not exist.', 'inexistent_grant');
    return toGrant(row);
  }

  return {
    get: (id) => get(id),

    async findFor(clientId, audience) {
      const row = await db.selectFrom('client_grant').selectAll()
        .where('client_id', '=', clientId)
        .where('audience', '=', audience)
        .where('subject_type', '=', 'client')
        .executeTakeFirst();
      return row === undefined ? null : toGrant(row);
    },

    async list({ clientId, audience, subjectType }, part) {
      let query = db.selectFrom('client_grant');
      if (clientId !== undefined) query = query.where('client_id', '=', clientId);
      if (audience !== undefined) query = query.where('audience', '=', audience);
      if (subjectType !== undefined) query = query.where('subject_type', '=', subjectType);
      const rows = await slice(query.selectAll(), part).execute();
      const { total } = await query.select((eb) => eb.fn.countAll<number>().as('total')).executeTakeFirstOrThrow();
      return { items: rows.map(toGrant), total };
    },

    async create({ clientId, audience, scope, subjectType, settings }) {
      const row = {
        id: newGrantId(),
        client_id: clientId,
        audience,
        scope: JSON.stringify(scope),
        subject_type: subjectType,
        settings: JSON.stringify(withoutNulls(settings)),
        created_at: Date.now(),
      };
      try {
        await database.transaction(async (tx) => {
          await requireBoth(tx, clientId, audience);
          await tx.insertInto('client_grant').values(row).execute();
        });
      } catch (error) {
        if (uniqueViolation(error) === undefined) throw error;
        throw managementError(409, 'A client grant for this client and this audience already exists.', 'grant_conflict');
      }
      return toGrant(row);
    },

    async update(id, { scope, settings }) {
      return await database.transaction(async (tx) => {
        const before = await get(id, tx);
        await keepFirst(tx, before);
        const after = { ...before, scope: scope ?? before.scope, settings: withoutNulls({ ...before.settings, ...settings }) };
        await tx.updateTable('client_grant')
          .set({ scope: JSON.stringify(after.scope), settings: JSON.stringify(after.settings) })
          .where('id', '=', id)
          .execute();
        return after;
      });
    },

    async remove(id) {
      await database.transaction(async (tx) => {
        const row = await tx.selectFrom('client_grant').selectAll().where('id', '=', id).executeTakeFirst();
        if (row === undefined) return;
        await keepFirst(tx, toGrant(row));
        await tx.deleteFrom('client_grant').where('id', '=', id).execute();
      });
    },
  };
}

/** Its grant is given anew at each start, so a change would not last; without it nobody could grant anything. */
async function keepFirst(tx: Queryable, { clientId, audience }: ClientGrant): Promise<void> {
  if (audience !== MANAGEMENT_AUDIENCE || clientId !== (await readFirstClientId(tx))) return;
  throw managementError(409, 'The first client always has every scope of the Management API: use another client where less is wanted.', 'operation_not_supported');
}

async function requireBoth(tx: Queryable, clientId: string, audience: string): Promise<void> {
  const client = await tx.selectFrom('client').select('id').where('id', '=', clientId).executeTakeFirst();
  if (client === undefined) throw managementError(400, `Client does not exist: ${clientId}`, 'invalid_body');
  if (audience === MANAGEMENT_AUDIENCE) return;
  const server = await tx.selectFrom('resource_server').select('id').where('identifier', '=', audience).executeTakeFirst();
  if (server === undefined) throw managementError(400, `Resource server does not exist: ${audience}`, 'invalid_body');
}

function toGrant(row: Omit<Row<'client_grant'>, 'created_at'>): ClientGrant {
  return {
    id: row.id,
    clientId: row.client_id,
    audience: row.audience,
    scope: JSON.parse(row.scope) as string[],
    subjectType: row.subject_type,
    settings: JSON.parse(row.settings) as Record<string, unknown>,
  };
}
