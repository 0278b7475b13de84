import { createHmac, randomBytes } from 'node:crypto';
import { newId } from '../domain/ids.ts';
import type { Database, Queryable } from './database.ts';
import { isOnItsWay, readRekey } from './rekey-state.ts';
import { KEY_BYTES, open, seal, SealError } from './sealing.ts';
import type { Row } from './schema.ts';
import { readSetting, writeSetting } from './settings.ts';

/** The data key of what belongs to no registration and no Action: signing keys, the cache, executions of denied sign-ups. */
export const INSTALLATION_KEY = 'installation';

const CHECK_SETTING = 'master_key_check';
const CHECK_TEXT = 'usher';
/** The data key of `mac`: what was counted or sent before the master key was replaced is still known after it. */
const MAC_KEY = 'mac';
/** Unwrapped keys kept in memory; one is 32 bytes, a registration needs its own for a few seconds. */
const CACHED_KEYS = 2000;
/** How soon a process learns that new data keys are wrapped under the new master key from now on. */
export const LEARN_AFTER_MS = 5_000;

/** The master key is not the one of this store, or not the only one yet. */
export class WrongMasterKeyError extends Error {
  constructor(isUnderWay = false) {
    super(
      isUnderWay
        ? 'The store is still on its way to this master key: give the one before as USHER_MASTER_KEY_PREVIOUS until ' +
          'GET /usher/keys says that it is not needed any more. Nothing was changed.'
        : 'The master key is not the one that this store was made with, so nothing sealed in it can be read. Nothing was ' +
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
   * @throws {WrongMasterKeyError} when the store was made with another one, or the one before is needed, too; nothing is
   * changed then.
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
  /** HMAC-SHA-256 in hex, the same for good: for what is compared and never read again. Not before `prepare`. */
  mac(context: string, value: string): string;
  /** The data key itself, for who encrypts bytes. @throws {SealError} when it is gone. */
  dataKey(keyId: string, tx?: Queryable): Promise<Buffer>;
  /** Id of the master key that was given as the one to use. */
  masterKeyId: string;
  /**
   * Makes the given master key the one of the store, in the caller's transaction: every process wraps new data keys under
   * it within 5 s, if it was given it. @returns false when it is already.
   */
  replaceMasterKey(tx: Queryable): Promise<boolean>;
  /** The data key wrapped under the given master key instead of the one before. @throws {SealError} when it is under neither. */
  rewrap(row: WrappedKey): WrappedKey;
}

/** A data key as the store keeps it. */
export type WrappedKey = Pick<Row<'data_key'>, 'id' | 'wrapped' | 'master_key_id'>;

interface MasterKey {
  id: string;
  key: Buffer;
}

/**
 * @param previous the master key before, while the store is on its way from that one to `masterKey`.
 * @throws {RangeError} when a master key is not 32 bytes long.
 */
export function createKeyring(database: Database, masterKey: Buffer, previous: Buffer | null = null): Keyring {
  const given = asMasterKey(masterKey);
  const masters = previous === null ? [given] : [given, asMasterKey(previous)];
  /** Under this one new data keys are wrapped: the store's, so that processes that know no other one can read them. */
  let wrapping = { master: given, readAt: -Infinity };
  let macKey: Buffer | undefined;
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
      const row = await queryable.selectFrom('data_key').selectAll().where('id', '=', id).executeTakeFirst();
      if (row === undefined) throw new SealError(context, `its data key ${id} is not in the store (it was erased)`);
      key = unwrap(row, masters);
    }
    remember(id, key);
    return key;
  }

  /** The master key of the store, found by its check value. @throws {WrongMasterKeyError} when it is none of ours. */
  async function readMaster(tx: Queryable): Promise<MasterKey> {
    const check = (await readSetting(tx, CHECK_SETTING)) ?? '';
    const master = masters.find(({ key }) => isCheck(key, check));
    if (master === undefined) throw new WrongMasterKeyError();
    wrapping = { master, readAt: performance.now() };
    return master;
  }

  async function masterToWrapWith(tx: Queryable): Promise<MasterKey> {
    const isKnown = masters.length === 1 || performance.now() - wrapping.readAt < LEARN_AFTER_MS;
    return isKnown ? wrapping.master : await readMaster(tx);
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
          .values({ name: CHECK_SETTING, value: checkOf(given) })
          .onConflict((conflict) => conflict.doNothing())
          .execute();
        const master = await readMaster(tx);
        // Some process may still wrap under the one before, also when nothing is left under it just now.
        if (previous === null && isOnItsWay(await readRekey(tx), given.id)) throw new WrongMasterKeyError(true);
        const made = [
          wrap(INSTALLATION_KEY, randomBytes(KEY_BYTES), master),
          // Until 0.1.0 it was derived anew at each start.
          wrap(MAC_KEY, derive(master.key, 'usher mac key'), master),
        ];
        await tx.insertInto('data_key')
          .values(made.map((row) => ({ ...row, created_at: Date.now() })))
          .onConflict((conflict) => conflict.doNothing())
          .execute();
        macKey = await keyOf(MAC_KEY, MAC_KEY, tx).catch((error: unknown) => {
          throw error instanceof SealError ? new WrongMasterKeyError(true) : error;
        });
      });
    },
    async newDataKey(tx) {
      const [id, key] = [newId(), randomBytes(KEY_BYTES)];
      await tx.insertInto('data_key').values({ ...wrap(id, key, await masterToWrapWith(tx)), created_at: Date.now() }).execute();
      remember(id, key);
      return id;
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
      if (macKey === undefined) throw new TypeError('the keyring was not prepared');
      return createHmac('sha256', macKey).update(JSON.stringify([context, value])).digest('hex');
    },
    dataKey: (keyId, tx = database.db) => keyOf(keyId, keyId, tx),
    masterKeyId: given.id,
    async replaceMasterKey(tx) {
      if ((await readMaster(tx)).id === given.id) return false;
      await writeSetting(tx, CHECK_SETTING, checkOf(given));
      return true;
    },
    rewrap: (row) => wrap(row.id, unwrap(row, masters), given),
  };
}

/** A data key, for who has the master keys and no store around it. @throws {SealError} when it is under none of them. */
export function unwrapDataKey(row: WrappedKey, masterKeys: readonly Buffer[]): Buffer {
  return unwrap(row, masterKeys.map(asMasterKey));
}

/**
 * A data key wrapped under another of these master keys, for who has no store around it.
 *
 * @throws {SealError} when it is under none of them.
 */
export function rewrapDataKey(row: WrappedKey, masterKeyId: string, masterKeys: readonly Buffer[]): WrappedKey {
  const masters = masterKeys.map(asMasterKey);
  const master = masters.find(({ id }) => id === masterKeyId);
  if (master === undefined) throw new TypeError(`the master key ${masterKeyId} is none of those given`);
  return wrap(row.id, unwrap(row, masters), master);
}

function wrap(id: string, key: Buffer, master: MasterKey): WrappedKey {
  return { id, wrapped: seal(master.key, wrapContext(id), key.toString('base64url')), master_key_id: master.id };
}

function unwrap(row: WrappedKey, masters: readonly MasterKey[]): Buffer {
  const master = masters.find(({ id }) => id === row.master_key_id);
  if (master === undefined) {
    throw new SealError(wrapContext(row.id), `it is wrapped under the master key ${row.master_key_id}, which this process was not given; start it with USHER_MASTER_KEY and USHER_MASTER_KEY_PREVIOUS`);
  }
  return Buffer.from(open(master.key, wrapContext(row.id), row.wrapped), 'base64url');
}

function asMasterKey(key: Buffer): MasterKey {
  if (key.length !== KEY_BYTES) throw new RangeError(`The master key has ${key.length} bytes and must have ${KEY_BYTES}.`);
  return { id: derive(key, 'usher master key id').toString('hex').slice(0, 16), key };
}

function derive(key: Buffer, purpose: string): Buffer {
  return createHmac('sha256', key).update(purpose).digest();
}

function checkOf({ key }: MasterKey): string {
  return seal(key, CHECK_SETTING, CHECK_TEXT);
}

function isCheck(key: Buffer, check: string): boolean {
  try {
    return open(key, CHECK_SETTING, check) === CHECK_TEXT;
  } catch (error) {
    if (error instanceof SealError) return false;
    throw error;
  }
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
