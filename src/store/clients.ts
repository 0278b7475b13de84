import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import { SCOPES } from '../domain/scopes.ts';
import { replaceEnabledClient } from './connections.ts';
import type { Database, Queryable } from './database.ts';
import { readSetting, writeSetting } from './settings.ts';

/** What has an effect here of the properties that Auth0's client has; the others are kept as they came. */
export interface ClientSettings {
  grant_types?: string[];
  token_endpoint_auth_method?: string | null;
  allowed_origins?: string[];
  web_origins?: string[];
  [property: string]: unknown;
}

export interface Client {
  id: string;
  name: string;
  metadata: Record<string, string>;
  /** Grants that it may use at the token endpoint. */
  grantTypes: string[];
  settings: ClientSettings;
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

/** Auth0's, of a client that was made without any. */
export const DEFAULT_GRANT_TYPES = ['authorization_code', 'implicit', 'refresh_token', 'client_credentials'];

/** The first client may use every grant that is here. */
const FIRST_SETTINGS = JSON.stringify({
  is_first_party: true,
  grant_types: [
    'client_credentials',
    'password',
    'http://auth0.com/oauth/grant-type/password-realm',
    'http://auth0.com/oauth/grant-type/passwordless/otp',
  ],
} satisfies ClientSettings);

/** The clients (applications) of the installation, as requests name them; `client-management.ts` changes them. */
export function createClientStore({ database }: { database: Database }): ClientStore {
  const { db } = database;

  async function find(id: string): Promise<Client | null> {
    const row = await db.selectFrom('client').select(['id', 'name', 'metadata', 'settings']).where('id', '=', id).executeTakeFirst();
    if (row === undefined) return null;
    const settings = JSON.parse(row.settings) as ClientSettings;
    return {
      id: row.id,
      name: row.name,
      metadata: JSON.parse(row.metadata) as Record<string, string>,
      grantTypes: settings.grant_types ?? DEFAULT_GRANT_TYPES,
      settings,
    };
  }

  return {
    find,

    async first() {
      const id = await readFirstClientId(db);
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
      return (await readFirstClientId(db)) !== undefined;
    },

    async ensureFirst({ clientId, clientSecret }) {
      return await database.transaction(async (tx) => {
        // Written before it is read: of two processes that start at once, the second waits here for the first.
        await tx
          .insertInto('setting')
          .values({ name: FIRST_CLIENT, value: '' })
          .onConflict((conflict) => conflict.column('name').doNothing())
          .execute();
        const before = await readFirstClientId(tx);
        const secret = clientSecret === null ? {} : { secret_hash: hashSecret(clientSecret) };
        if (before) {
          const id = clientId ?? before;
          await tx.updateTable('client').set({ id, ...secret }).where('id', '=', before).execute();
          await tx.updateTable('client_grant').set({ client_id: id }).where('client_id', '=', before).execute();
          if (id !== before) await replaceEnabledClient(tx, before, id);
          // As an older Usher made it.
          await tx.updateTable('client').set({ settings: FIRST_SETTINGS }).where('id', '=', id).where('settings', '=', '{}').execute();
          await grantEverything(tx, id);
          await writeSetting(tx, FIRST_CLIENT, id);
          return id;
        }
        if (clientSecret === null) throw new Error('the first client needs a secret when it is made');
        const id = clientId ?? newClientId();
        await tx
          .insertInto('client')
          .values({ id, name: 'First client', secret_hash: hashSecret(clientSecret), metadata: '{}', settings: FIRST_SETTINGS, created_at: Date.now() })
          .execute();
        await grantEverything(tx, id);
        await writeSetting(tx, FIRST_CLIENT, id);
        return id;
      });
    },
  };
}

/** The id of the first client; undefined before the first start. */
export async function readFirstClientId(queryable: Queryable): Promise<string | undefined> {
  return await readSetting(queryable, FIRST_CLIENT);
}

export function newClientId(): string {
  return randomBytes(24).toString('base64url');
}

export function newGrantId(): string {
  return `cgr_${randomBytes(12).toString('base64url')}`;
}

/** The secret is random, so a slow hash would add nothing. */
export function hashSecret(secret: string): string {
  return createHash('sha256').update(secret).digest('hex');
}

/** Also what a newer Usher can be asked for. */
async function grantEverything(tx: Queryable, clientId: string): Promise<void> {
  const scope = JSON.stringify(SCOPES);
  await tx.insertInto('client_grant')
    .values({ id: newGrantId(), client_id: clientId, audience: MANAGEMENT_AUDIENCE, scope, created_at: Date.now() })
    .onConflict((conflict) => conflict.columns(['client_id', 'audience', 'subject_type']).doUpdateSet({ scope }))
    .execute();
}
