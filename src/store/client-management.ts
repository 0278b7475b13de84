import { randomBytes } from 'node:crypto';
import { sql } from 'kysely';
import { managementError } from '../domain/api-error.ts';
import { type ClientSettings, DEFAULT_GRANT_TYPES, hashSecret, newClientId, readFirstClientId } from './clients.ts';
import { replaceEnabledClient } from './connections.ts';
import { type Database, type Queryable, uniqueViolation } from './database.ts';
import { INSTALLATION_KEY, type Keyring } from './keyring.ts';
import type { Row } from './schema.ts';
import { type Listed, type Slice, slice } from './slice.ts';
import { withoutNulls } from './without-nulls.ts';

/** A client with all that is kept of it. */
export interface ClientRecord {
  id: string;
  name: string;
  /** Null: the first client's, which is kept elsewhere. */
  secret: string | null;
  metadata: Record<string, string>;
  settings: ClientSettings;
}

/** What can be given of a client; metadata and settings that are null are taken out. */
export interface ClientChange {
  name?: string | undefined;
  secret?: string | undefined;
  /** Merged with what is there; an empty object takes everything out. */
  metadata?: Record<string, string | null> | undefined;
  settings: Record<string, unknown>;
}

export interface ClientManagement {
  list(filter: { isFirstParty?: boolean | undefined; appTypes?: string[] | undefined }, part: Slice): Promise<Listed<ClientRecord>>;
  /** @throws {ApiError} 404 */
  get(id: string): Promise<ClientRecord>;
  /** @param client.id made when it is left out. @throws {ApiError} 409 when the id is taken. */
  create(client: { id?: string | undefined; name: string } & ClientChange): Promise<ClientRecord>;
  /** @throws {ApiError} 404; 409 for a new secret of the first client, and for grants that would lock its owner out. */
  update(id: string, change: ClientChange): Promise<ClientRecord>;
  /** Makes a new secret. @throws {ApiError} 404; 409 for the first client. */
  rotateSecret(id: string): Promise<ClientRecord>;
  /** Removes it with its grants, if it is there. @throws {ApiError} 409 for the first client. */
  remove(id: string): Promise<void>;
}

/** What Auth0 fills in of a client that is made (terraform-provider-auth0's recordings of 2026). */
const DEFAULTS = {
  is_first_party: true,
  is_token_endpoint_ip_header_trusted: false,
  oidc_conformant: false,
  jwt_configuration: { secret_encoded: false, lifetime_in_seconds: 36_000 },
  sso_disabled: false,
  cross_origin_authentication: false,
  custom_login_page_on: true,
  refresh_token: {
    rotation_type: 'non-rotating',
    expiration_type: 'non-expiring',
    leeway: 0,
    token_lifetime: 2_592_000,
    infinite_token_lifetime: true,
    infinite_idle_token_lifetime: true,
    idle_token_lifetime: 1_296_000,
  },
};

const MAX_METADATA = 10;

/** The clients (applications) of the installation, as the Management API reads and changes them; secrets are sealed. */
export function createClientManagement({ database, keyring, onChanged }: { database: Database; keyring: Keyring; onChanged(): void }): ClientManagement {
  const { db } = database;

  /** In a transaction the row is locked: who changes it at the same moment waits. */
  async function find(id: string, queryable: Queryable): Promise<Row<'client'>> {
    const query = queryable.selectFrom('client').selectAll().where('id', '=', id);
    const row = await (queryable === db ? query : query.forUpdate()).executeTakeFirst();
    if (row === undefined) throw managementError(404, 'The client does not exist', 'inexistent_client');
    return row;
  }

  async function toRecord(row: Row<'client'>, queryable: Queryable): Promise<ClientRecord> {
    return {
      id: row.id,
      name: row.name,
      secret: row.secret_sealed === null ? null : await keyring.open(INSTALLATION_KEY, sealedAs(row.id), row.secret_sealed, queryable),
      metadata: JSON.parse(row.metadata) as Record<string, string>,
      settings: JSON.parse(row.settings) as ClientSettings,
    };
  }

  async function secretColumns(id: string, secret: string, tx: Queryable): Promise<Pick<Row<'client'>, 'secret_hash' | 'secret_sealed'>> {
    return { secret_hash: hashSecret(secret), secret_sealed: await keyring.seal(INSTALLATION_KEY, sealedAs(id), secret, tx) };
  }

  async function update(id: string, { name, secret, metadata, settings }: ClientChange): Promise<ClientRecord> {
    const record = await database.transaction(async (tx) => {
      const before = await find(id, tx);
      if (secret !== undefined) {
        await refuseFirst(tx, id, 'its secret is the one of USHER_CLIENT_SECRET or of the file client-secret in the data directory: change it there, and start Usher anew');
      }
      if (Array.isArray(settings['grant_types']) && !settings['grant_types'].includes('client_credentials')) {
        await refuseFirst(tx, id, 'without the grant client_credentials nobody could get a token for this API');
      }
      const after: Row<'client'> = {
        ...before,
        name: name ?? before.name,
        ...(secret === undefined ? {} : await secretColumns(id, secret, tx)),
        ...(metadata === undefined ? {} : { metadata: JSON.stringify(merged(JSON.parse(before.metadata) as Record<string, string>, metadata)) }),
        settings: JSON.stringify(mergedSettings(JSON.parse(before.settings) as ClientSettings, settings)),
        updated_at: Date.now(),
      };
      await tx.updateTable('client').set(after).where('id', '=', id).execute();
      return await toRecord(after, tx);
    });
    onChanged();
    return record;
  }

  return {
    update,

    async list({ isFirstParty, appTypes }, part) {
      const { textAndJson } = database;
      let query = db.selectFrom('client');
      if (isFirstParty !== undefined) query = query.where(textAndJson.jsonHas(sql.ref('settings'), ['is_first_party'], [isFirstParty]));
      if (appTypes !== undefined) query = query.where(textAndJson.jsonHas(sql.ref('settings'), ['app_type'], appTypes));
      const rows = await slice(query.selectAll(), part).execute();
      const { total } = await query.select((eb) => eb.fn.countAll<number>().as('total')).executeTakeFirstOrThrow();
      return { items: await Promise.all(rows.map((row) => toRecord(row, db))), total };
    },

    async get(id) {
      return await toRecord(await find(id, db), db);
    },

    async create({ id = newClientId(), name, secret = newSecret(), metadata = {}, settings }) {
      try {
        const record = await database.transaction(async (tx) => {
          const row: Row<'client'> = {
            id,
            name,
            ...(await secretColumns(id, secret, tx)),
            metadata: JSON.stringify(merged({}, metadata)),
            settings: JSON.stringify(mergedSettings({ ...DEFAULTS, grant_types: defaultGrants(settings) }, settings)),
            created_at: Date.now(),
            updated_at: Date.now(),
          };
          await tx.insertInto('client').values(row).execute();
          return await toRecord(row, tx);
        });
        onChanged();
        return record;
      } catch (error) {
        if (uniqueViolation(error) === undefined) throw error;
        throw managementError(409, 'A client with this client_id already exists.', 'client_conflict');
      }
    },

    async rotateSecret(id) {
      return await update(id, { secret: newSecret(), settings: {} });
    },

    async remove(id) {
      await database.transaction(async (tx) => {
        await refuseFirst(tx, id, 'sign-ups that name no client are its own. Exclude it where a tool would delete it (AUTH0_EXCLUDED_CLIENTS of the Deploy CLI)');
        await tx.deleteFrom('client_grant').where('client_id', '=', id).execute();
        await tx.deleteFrom('client').where('id', '=', id).execute();
        await replaceEnabledClient(tx, id, null);
      });
      onChanged();
    },
  };
}

/** A public client has no secret to get tokens of its own with. */
function defaultGrants({ token_endpoint_auth_method: method, app_type: type }: Record<string, unknown>): string[] {
  const isPublic = method === 'none' || type === 'spa' || type === 'native';
  if (type === 'non_interactive') return ['client_credentials'];
  return isPublic ? DEFAULT_GRANT_TYPES.filter((grant) => grant !== 'client_credentials') : DEFAULT_GRANT_TYPES;
}

/** @throws {ApiError} 400 when a client without a secret asks for a grant that needs one, as Auth0 does. */
function mergedSettings(before: ClientSettings, change: Record<string, unknown>): ClientSettings {
  const jwt = { ...(before['jwt_configuration'] as object | undefined), ...(change['jwt_configuration'] as object | null | undefined) };
  const after = withoutNulls({ ...before, ...change, jwt_configuration: jwt }) as ClientSettings;
  if (after.token_endpoint_auth_method === 'none' && after.grant_types?.includes('client_credentials') === true) {
    throw managementError(400, 'Invalid grant types: client_credentials', 'invalid_body');
  }
  return after;
}

/** @throws {ApiError} 400 when they become too many. */
function merged(before: Record<string, string>, change: Record<string, string | null>): Record<string, string> {
  const isCleared = Object.keys(change).length === 0;
  const after = isCleared ? {} : (withoutNulls({ ...before, ...change }) as Record<string, string>);
  if (Object.keys(after).length > MAX_METADATA) {
    throw managementError(400, `Payload validation error: 'Too many properties defined (${Object.keys(after).length}), maximum ${MAX_METADATA}' on property client_metadata.`, 'invalid_body');
  }
  return after;
}

async function refuseFirst(tx: Queryable, id: string, why: string): Promise<void> {
  if (id !== (await readFirstClientId(tx))) return;
  throw managementError(409, `This is Usher's first client: ${why}.`, 'operation_not_supported');
}

function newSecret(): string {
  return randomBytes(48).toString('base64url');
}

function sealedAs(id: string): string {
  return `client/${id}/secret`;
}
