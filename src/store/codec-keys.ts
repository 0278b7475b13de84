import { firstIdOf } from '../domain/ids.ts';
import { writeAudit } from './audit-log.ts';
import type { Database, Queryable } from './database.ts';
import type { Keyring } from './keyring.ts';
import type { Row } from './schema.ts';
import { SealError } from './sealing.ts';
import { readSetting, writeSetting } from './settings.ts';

/** Of a data key; see `newId`. */
const ID = /^[0-9a-f-]{36}$/;
/** JSON `ListedKey[]`, the current one last. */
const SETTING = 'codec_keys';
/** How soon a process encrypts under a key that another one has made. */
const LEARN_AFTER_MS = 10_000;
/** A registration that is being committed or handed over while a key is replaced may still begin under the old one. */
const GRACE_MS = 60 * 60_000;

interface ListedKey {
  /** Of its data key. */
  id: string;
  createdAt: number;
  /** Since when nothing that is open began under it. */
  unneededSince?: number;
}

export interface CodecKey {
  id: string;
  key: Buffer;
}

/**
 * The data keys of the payloads that Temporal keeps. All processes on the store share them; once read they are kept in
 * memory, so that workflows go on while the store is away.
 */
export interface CodecKeys {
  /** The one to encrypt under; made on the first call. */
  current(): Promise<CodecKey>;
  /** @throws {SealError} when there is none of that id, or none any more. */
  find(id: string): Promise<Buffer>;
  /** Makes a new key the current one; the others stay readable. @param clientId whose wish it is. */
  rotate(clientId: string): Promise<void>;
  /** The current one last. Times in milliseconds. */
  list(): Promise<{ id: string; createdAt: number }[]>;
  /**
   * Removes keys that nothing needs: no registration is open that began before the key was replaced, and that has been
   * so for longer than Temporal keeps histories.
   */
  removeUnneeded(options: { retentionMs: number; now?: number }): Promise<void>;
}

export function createCodecKeys({ database, keyring }: { database: Database; keyring: Keyring }): CodecKeys {
  const { db } = database;
  const known = new Map<string, Buffer>();
  let current: { id: string; readAt: number } | undefined;

  async function find(id: string): Promise<Buffer> {
    // It comes with the payload, from whoever sends that; not every text is one for PostgreSQL.
    if (!ID.test(id)) throw new SealError('a payload', 'it names no key');
    const key = known.get(id) ?? (await keyring.dataKey(id));
    known.set(id, key);
    return key;
  }

  /** Reads and writes the list, one caller at a time. */
  async function change(next: (keys: ListedKey[], tx: Queryable) => Promise<ListedKey[]>): Promise<ListedKey[]> {
    return await database.transaction(async (tx) => {
      await tx.insertInto('setting').values({ name: SETTING, value: '[]' }).onConflict((conflict) => conflict.doNothing()).execute();
      await tx.selectFrom('setting').select('name').where('name', '=', SETTING).forUpdate().execute();
      const keys = await next(await readKeys(tx), tx);
      await writeSetting(tx, SETTING, JSON.stringify(keys));
      return keys;
    });
  }

  async function newest(): Promise<ListedKey> {
    const made = (await readKeys(db)).at(-1) ?? (await change(async (keys, tx) => (keys.length > 0 ? keys : [await newKey(tx)]))).at(-1);
    return made!;
  }

  async function newKey(tx: Queryable): Promise<ListedKey> {
    return { id: await keyring.newDataKey(tx), createdAt: Date.now() };
  }

  return {
    find,

    async current() {
      if (current === undefined || performance.now() - current.readAt > LEARN_AFTER_MS) {
        try {
          const { id } = await newest();
          await find(id);
          current = { id, readAt: performance.now() };
        } catch (error) {
          // The one before is as good while the store is away.
          if (current === undefined) throw error;
          current.readAt = performance.now();
        }
      }
      return { id: current.id, key: await find(current.id) };
    },

    async rotate(clientId) {
      const keys = await change(async (before, tx) => {
        const key = await newKey(tx);
        await writeAudit(tx, keyring, { clientId, description: 'Replace the codec key', details: { key_id: key.id } });
        return [...before, key];
      });
      current = { id: keys.at(-1)!.id, readAt: performance.now() };
    },

    async list() {
      await newest();
      return (await readKeys(db)).map(({ id, createdAt }) => ({ id, createdAt }));
    },

    async removeUnneeded({ retentionMs, now = Date.now() }) {
      if ((await readKeys(db)).length < 2) return;
      await change(async (keys, tx) => {
        const left: ListedKey[] = [];
        for (const [index, key] of keys.entries()) {
          const replacedAt = keys[index + 1]?.createdAt;
          if (replacedAt === undefined || (await isAnyOpen(tx, replacedAt + GRACE_MS)) || now < replacedAt + GRACE_MS) {
            left.push({ id: key.id, createdAt: key.createdAt });
          } else if (now - (key.unneededSince ?? now) <= retentionMs + GRACE_MS) {
            left.push({ ...key, unneededSince: key.unneededSince ?? now });
          } else {
            await tx.deleteFrom('data_key').where('id', '=', key.id).execute();
          }
        }
        return left;
      });
    },
  };
}

/** What lets the Web UI in, which has no token of ours; another current key makes another one. */
export async function codecAccessKey({ keyring, codecKeys }: { keyring: Pick<Keyring, 'mac'>; codecKeys: Pick<CodecKeys, 'current'> }): Promise<string> {
  return keyring.mac('access to the codec', (await codecKeys.current()).id).slice(0, 32);
}

async function readKeys(queryable: Queryable): Promise<ListedKey[]> {
  return JSON.parse((await readSetting(queryable, SETTING)) ?? '[]') as ListedKey[];
}

/** Whether a registration that began before this time is open: by the index of lists, as a million may be, and sign-ups wait. */
async function isAnyOpen(tx: Queryable, before: number): Promise<boolean> {
  return (await tx.selectFrom('registration').select('id').where('outcome', 'is', null).where('id', '<', firstIdOf(before)).limit(1).executeTakeFirst()) !== undefined;
}

/** All codec keys of a store: what Temporal has of it can be read with them. */
export interface CodecKeyRows {
  listed: ListedKey[];
  dataKeys: Row<'data_key'>[];
}

export async function readCodecKeys(tx: Queryable): Promise<CodecKeyRows> {
  const listed = await readKeys(tx);
  return { listed, dataKeys: await tx.selectFrom('data_key').selectAll().where('id', 'in', ['', ...listed.map(({ id }) => id)]).execute() };
}

/** Adds those of another state of the same store; the newest of all is the current one then. */
export async function addCodecKeys(tx: Queryable, { listed, dataKeys }: CodecKeyRows): Promise<void> {
  // Since when one is not needed was true of the other state.
  const all = new Map([...(await readKeys(tx)), ...listed].map(({ id, createdAt }) => [id, { id, createdAt }]));
  await writeSetting(tx, SETTING, JSON.stringify([...all.values()].toSorted((a, b) => a.createdAt - b.createdAt)));
  if (dataKeys.length > 0) await tx.insertInto('data_key').values(dataKeys).onConflict((conflict) => conflict.doNothing()).execute();
}
