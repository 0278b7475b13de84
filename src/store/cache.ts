import type { CacheChange, CacheRecord, CacheSnapshot } from '../domain/invocation.ts';
import type { TriggerId } from '../domain/triggers.ts';
import type { Queryable } from './database.ts';
import { INSTALLATION_KEY, type Keyring } from './keyring.ts';

/** Entries of one trigger; source: contract §1.4. */
const MAX_ENTRIES = 20;

/** Reads the values of `api.cache` that an Action of the trigger sees; `now` in milliseconds since the epoch. */
export async function readCache(db: Queryable, keyring: Keyring, triggerId: TriggerId, now: number): Promise<CacheSnapshot> {
  const rows = await db
    .selectFrom('cache_entry')
    .selectAll()
    .where('trigger_id', '=', triggerId)
    .where('expires_at', '>', now)
    .orderBy('key')
    .execute();
  const entries = rows.map(async (row): Promise<[string, CacheRecord]> => {
    const value = await keyring.open(row.key_id, contextOf(triggerId, row.key), row.value_sealed, db);
    return [row.key, { value, expires_at: row.expires_at }];
  });
  return Object.fromEntries(await Promise.all(entries));
}

/**
 * Writes what an invocation changed, one entry at a time: what others changed meanwhile stays. Takes out what has
 * expired, and beyond 20 entries those that expire first.
 */
export async function writeCache(tx: Queryable, keyring: Keyring, triggerId: TriggerId, changes: CacheChange[], now: number): Promise<void> {
  if (changes.length === 0) return;
  // Holds every other writer back until the transaction ends: two that write the same entries in another order would
  // wait for each other.
  await tx.selectFrom('data_key').select('id').where('id', '=', INSTALLATION_KEY).forUpdate().execute();
  for (const change of changes) {
    if (change.kind === 'delete') {
      await tx.deleteFrom('cache_entry').where('trigger_id', '=', triggerId).where('key', '=', change.key).execute();
      continue;
    }
    const value = {
      value_sealed: await keyring.seal(INSTALLATION_KEY, contextOf(triggerId, change.key), change.record.value, tx),
      key_id: INSTALLATION_KEY,
      expires_at: change.record.expires_at,
    };
    await tx
      .insertInto('cache_entry')
      .values({ trigger_id: triggerId, key: change.key, ...value })
      .onConflict((conflict) => conflict.columns(['trigger_id', 'key']).doUpdateSet(value))
      .execute();
  }
  const kept = await tx
    .selectFrom('cache_entry')
    .select('key')
    .where('trigger_id', '=', triggerId)
    .where('expires_at', '>', now)
    .orderBy('expires_at', 'desc')
    .limit(MAX_ENTRIES)
    .execute();
  let surplus = tx.deleteFrom('cache_entry').where('trigger_id', '=', triggerId);
  if (kept.length > 0) surplus = surplus.where('key', 'not in', kept.map((row) => row.key));
  await surplus.execute();
}

/** The cache as an Action sees it after another one has changed it. */
export function applyChanges(snapshot: CacheSnapshot, changes: CacheChange[]): CacheSnapshot {
  const entries = new Map(Object.entries(snapshot));
  for (const change of changes) {
    if (change.kind === 'set') entries.set(change.key, change.record);
    else entries.delete(change.key);
  }
  return Object.fromEntries(entries);
}

function contextOf(triggerId: string, key: string): string {
  return `cache_entry/${triggerId}/${key}/value`;
}
