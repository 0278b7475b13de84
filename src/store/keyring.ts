import { createHmac, randomBytes } from 'node:crypto';
import { newId } from '../domain/ids.ts';
import type { Database, Queryable } from './database.ts';
import { KEY_BYTES, open, seal, SealError } from './sealing.ts';
import { readSetting } from './settings.ts';

/** The data key of what belongs to no registration and no Action: signing keys, the cache, executions of denied sign-ups. */
export const INSTALLATION_KEY = 'installation';

const CHECK_SETTING = 'master_key_check';
const CHECK_TEXT = 'usher';
/** Unwrapped keys kept in memory; one is 32 bytes, a registration needs its own for a few seconds. */
const CACHED_KEYS = 2000;

/** The master key is not the one that this store was made with. */
export class WrongMasterKeyError extends Error {
  constructor() {
    super(
      'The master key is not the one that this store was made with, so nothing sealed in it can be read. Nothing was ' +
        'changed. Give the right key (USHER_MASTER_KEY, or the key file in the data directory).',
    );
    this.name = 'WrongMasterKeyError';
  }
}

/** Seals and opens columns under data keys, which the store keeps wrapped under the master key. */
export interface Keyring {
  /**
   * To be called once at start, after the migrations: checks the master key against the store, and on the first start
   * makes the check value and the data key `installation`.
   *
   * @throws {WrongMasterKeyError} when the store was made with another one; nothing is changed then.
   */
  prepare(): Promise<void>;
  /** Makes a data key in the caller's transaction and returns its id. */
  newDataKey(tx: Queryable): Promise<string>;
  /**
   * Encrypts `value` under the data key. `context` names what it is and of which row (`registration/<id>/event`) and has
   * to be given again to open it. In a transaction, pass it on as `tx`.
   */
  seal(keyId: string, context: string, value: string, tx?: Queryable): Promise<string>;
  /** @throws {SealError} when the key is gone, the context another one, or the text was altered. */
  open(keyId: string, context: string, sealed: string, tx?: Queryable): Promise<string>;
  sealJson(keyId: string, context: string, value: unknown, tx?: Queryable): Promise<string>;
  openJson<T>(keyId: string, context: string, sealed: string, tx?: Queryable): Promise<T>;
  /** HMAC-SHA-256 in hex under a key derived from the master key: for what is compared and never read again. */
  mac(context: string, value: string): string;
}

/** @throws {RangeError} when `masterKey` is not 32 bytes long. */
export function createKeyring(database: Database, masterKey: Buffer): Keyring {
  if (masterKey.length !== KEY_BYTES) {
    throw new RangeError(`The master key has ${masterKey.length} bytes and must have ${KEY_BYTES}.`);
  }
  const masterKeyId = createHmac('sha256', masterKey).update('usher master key id').digest('hex').slice(0, 16);
  const macKey = createHmac('sha256', masterKey).update('usher mac key').digest();
  const unwrapped = new Map<string, Buffer>();

  function remember(id: string, key: Buffer): void {
    // A Map keeps the order of insertion: the first entry is the one not used for longest.
    unwrapped.delete(id);
    unwrapped.set(id, key);
    if (unwrapped.size > CACHED_KEYS) unwrapped.delete(unwrapped.keys().next().value!);
  }

  async function keyOf(id: string, context: string, queryable: Queryable): Promise<Buffer> {
    let key = unwrapped.get(id);
    if (key === undefined) {
      const row = await queryable.selectFrom('data_key').select('wrapped').where('id', '=', id).executeTakeFirst();
      if (row === undefined) throw new SealError(context, `its data key ${id} is not in the store (it was erased)`);
      key = Buffer.from(open(masterKey, wrapContext(id), row.wrapped), 'base64url');
    }
    remember(id, key);
    return key;
  }

  function newRow(id: string) {
    const key = randomBytes(KEY_BYTES);
    const wrapped = seal(masterKey, wrapContext(id), key.toString('base64url'));
    return { key, row: { id, wrapped, master_key_id: masterKeyId, created_at: Date.now() } };
  }

  async function sealText(keyId: string, context: string, value: string, tx: Queryable = database.db): Promise<string> {
    return seal(await keyOf(keyId, context, tx), context, value);
  }

  async function openText(keyId: string, context: string, sealed: string, tx: Queryable = database.db): Promise<string> {
    return open(await keyOf(keyId, context, tx), context, sealed);
  }

  return {
    async prepare() {
      await database.transaction(async (tx) => {
        // Two processes may do this at once on a new store: the first one's rows stand, and both read them.
        await tx.insertInto('setting')
          .values({ name: CHECK_SETTING, value: seal(masterKey, CHECK_SETTING, CHECK_TEXT) })
          .onConflict((conflict) => conflict.doNothing())
          .execute();
        const check = await readSetting(tx, CHECK_SETTING);
        try {
          open(masterKey, CHECK_SETTING, check ?? '');
        } catch (error) {
          throw error instanceof SealError ? new WrongMasterKeyError() : error;
        }
        await tx.insertInto('data_key')
          .values(newRow(INSTALLATION_KEY).row)
          .onConflict((conflict) => conflict.doNothing())
          .execute();
      });
    },
    async newDataKey(tx) {
      const { key, row } = newRow(newId());
      await tx.insertInto('data_key').values(row).execute();
      remember(row.id, key);
      return row.id;
    },
    seal: sealText,
    open: openText,
    async sealJson(keyId, context, value, tx) {
      return await sealText(keyId, context, JSON.stringify(value), tx);
    },
    async openJson<T>(keyId: string, context: string, sealed: string, tx?: Queryable) {
      return JSON.parse(await openText(keyId, context, sealed, tx)) as T;
    },
    mac(context, value) {
      return createHmac('sha256', macKey).update(JSON.stringify([context, value])).digest('hex');
    },
  };
}

/** Whether something was sealed in this store under a master key already; false also for a store without tables. */
export async function hasMasterKey(database: Database): Promise<boolean> {
  const tables = await database.db.introspection.getTables();
  if (!tables.some(({ name }) => name === 'setting')) return false;
  return (await readSetting(database.db, CHECK_SETTING)) !== undefined;
}

function wrapContext(id: string): string {
  return `data_key/${id}`;
}
