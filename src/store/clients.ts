import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import { SCOPES } from '../domain/scopes.ts';
import type { Database, Queryable } from './database.ts';
import { readSetting, writeSetting } from './settings.ts';

export interface Client {
  id: string;
  name: string;
  scopes: string[];
  metadata: Record<string, string>;
}

export interface ClientStore {
  find(id: string): Promise<Client | null>;
  /** The client for a request that names none. */
  first(): Promise<Client>;
  /** The client, when the secret is its own; null when either is wrong. */
  authenticate(id: string, secret: string): Promise<Client | null>;
  hasFirst(): Promise<boolean>;
  /**
   * Makes the first client on the first start, which needs a secret. On later starts an id or secret that is given
   * takes the place of the one before. The client always has all scopes.
   *
   * @returns its id.
   */
  ensureFirst(given: { clientId: string | null; clientSecret: string | null }): Promise<string>;
}

/** Stands in `client_grant.audience` for our Management API under whatever domain it is called. */
export const MANAGEMENT_AUDIENCE = '/api/v2/';

/** Setting: the id of the first client; empty while it is being made. */
const FIRST_CLIENT = 'first_client_id';

/** The clients (applications) of the installation. */
export function createClientStore({ database }: { database: Database }): ClientStore {
  const { db } = database;

  async function find(id: string): Promise<Client | null> {
    const row = await db.selectFrom('client')
      .leftJoin('client_grant', (join) => join.onRef('client_grant.client_id', '=', 'client.id').on('client_grant.audience', '=', MANAGEMENT_AUDIENCE))
      .select(['client.id', 'client.name', 'client.metadata', 'client_grant.scope'])
      .where('client.id', '=', id)
      .executeTakeFirst();
    if (row === undefined) return null;
    return {
      id: row.id,
      name: row.name,
      scopes: row.scope === null ? [] : (JSON.parse(row.scope) as string[]),
      metadata: JSON.parse(row.metadata) as Record<string, string>,
    };
  }

  return {
    find,

    async first() {
      const id = await readSetting(db, FIRST_CLIENT);
      const client = id === undefined ? null : await find(id);
      if (client === null) throw new Error('the store has no first client: call ensureFirst() before serving requests');
      return client;
    },

    async authenticate(id, secret) {
      const row = await db.selectFrom('client').select('secret_hash').where('id', '=', id).executeTakeFirst();
      if (row === undefined) return null;
      const right = timingSafeEqual(Buffer.from(hashSecret(secret), 'hex'), Buffer.from(row.secret_hash, 'hex'));
      return right ? await find(id) : null;
    },

    async hasFirst() {
      return (await readSetting(db, FIRST_CLIENT)) !== undefined;
    },

    async ensureFirst({ clientId, clientSecret }) {
      return await database.transaction(async (tx) => {
        // Written before it is read: of two processes that start at once, the second waits here for the first.
        await tx
          .insertInto('setting')
          .values({ name: FIRST_CLIENT, value: '' })
          .onConflict((conflict) => conflict.column('name').doNothing())
          .execute();
        const before = await readSetting(tx, FIRST_CLIENT);
        const secret = clientSecret === null ? {} : { secret_hash: hashSecret(clientSecret) };
        if (before) {
          const id = clientId ?? before;
          await tx.updateTable('client').set({ id, ...secret }).where('id', '=', before).execute();
          await tx.updateTable('client_grant').set({ client_id: id }).where('client_id', '=', before).execute();
          await grantEverything(tx, id);
          await writeSetting(tx, FIRST_CLIENT, id);
          return id;
        }
        if (clientSecret === null) throw new Error('the first client needs a secret when it is made');
        const id = clientId ?? randomBytes(24).toString('base64url');
        await tx
          .insertInto('client')
          .values({ id, name: 'First client', secret_hash: hashSecret(clientSecret), metadata: '{}', created_at: Date.now() })
          .execute();
        await grantEverything(tx, id);
        await writeSetting(tx, FIRST_CLIENT, id);
        return id;
      });
    },
  };
}

/** Also what a newer Usher can be asked for. */
async function grantEverything(tx: Queryable, clientId: string): Promise<void> {
  const scope = JSON.stringify(SCOPES);
  await tx.insertInto('client_grant')
    .values({ id: `cgr_${randomBytes(12).toString('base64url')}`, client_id: clientId, audience: MANAGEMENT_AUDIENCE, scope, created_at: Date.now() })
    .onConflict((conflict) => conflict.columns(['client_id', 'audience']).doUpdateSet({ scope }))
    .execute();
}

function hashSecret(secret: string): string {
  return createHash('sha256').update(secret).digest('hex');
}
