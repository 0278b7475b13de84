import { calculateJwkThumbprint, exportJWK, generateKeyPair, importJWK, type CryptoKey, type JWK, type JSONWebKeySet } from 'jose';
import type { Database } from './database.ts';
import { INSTALLATION_KEY, type Keyring } from './keyring.ts';
import type { Row } from './schema.ts';

const ALGORITHM = 'RS256';

export interface SigningKey {
  /** Thumbprint of the public key (RFC 7638). */
  kid: string;
  privateKey: CryptoKey;
}

export interface SigningKeys {
  /** The key that signs tokens; made when the store has none. */
  current(): Promise<SigningKey>;
  /** The public key of a `kid`, or null when it is not ours. */
  find(kid: string): Promise<CryptoKey | null>;
  /** All public keys, as `/.well-known/jwks.json` gives them. */
  jwks(): Promise<JSONWebKeySet>;
}

/** RS256 keys of the token endpoint, the private halves sealed. Processes on one store use the same, oldest key. */
export function createSigningKeys({ database, keyring }: { database: Database; keyring: Keyring }): SigningKeys {
  const { db } = database;
  const publicKeys = new Map<string, CryptoKey>();
  let signing: Promise<SigningKey> | null = null;

  const oldest = async (): Promise<Row<'signing_key'> | undefined> =>
    await db.selectFrom('signing_key').selectAll().orderBy('created_at').orderBy('id').limit(1).executeTakeFirst();

  async function load(): Promise<SigningKey> {
    if ((await oldest()) === undefined) await makeKey();
    const row = await oldest();
    if (row === undefined) throw new Error('the signing key that was just stored is not there');
    const jwk = await keyring.openJson<JWK>(row.key_id, contextOf(row.id), row.private_jwk_sealed);
    return { kid: row.id, privateKey: await importKey(jwk) };
  }

  async function makeKey(): Promise<void> {
    const pair = await generateKeyPair(ALGORITHM, { extractable: true });
    const publicJwk = await exportJWK(pair.publicKey);
    const kid = await calculateJwkThumbprint(publicJwk);
    await db
      .insertInto('signing_key')
      .values({
        id: kid,
        public_jwk: JSON.stringify({ ...publicJwk, kid, alg: ALGORITHM, use: 'sig' }),
        private_jwk_sealed: await keyring.sealJson(INSTALLATION_KEY, contextOf(kid), await exportJWK(pair.privateKey)),
        key_id: INSTALLATION_KEY,
        created_at: Date.now(),
      })
      .execute();
  }

  return {
    async current() {
      signing ??= load();
      try {
        return await signing;
      } catch (error) {
        signing = null;
        throw error;
      }
    },

    async find(kid) {
      const known = publicKeys.get(kid);
      if (known !== undefined) return known;
      const row = await db.selectFrom('signing_key').select('public_jwk').where('id', '=', kid).executeTakeFirst();
      if (row === undefined) return null;
      const key = await importKey(JSON.parse(row.public_jwk) as JWK);
      publicKeys.set(kid, key);
      return key;
    },

    async jwks() {
      const rows = await db.selectFrom('signing_key').select('public_jwk').orderBy('created_at').execute();
      return { keys: rows.map((row) => JSON.parse(row.public_jwk) as JWK) };
    },
  };
}

function contextOf(kid: string): string {
  return `signing_key/${kid}/private_jwk`;
}

async function importKey(jwk: JWK): Promise<CryptoKey> {
  const key = await importJWK(jwk, ALGORITHM);
  if (key instanceof Uint8Array) throw new TypeError('a signing key in the store is not an RSA key');
  return key;
}
