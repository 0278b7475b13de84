import type { CacheChange, CacheRecord, CacheSnapshot } from '../../domain/invocation.ts';

/**
 * Auth0's `api.cache` (contract §1.4): the order of the checks, codes and sizes are its implementation's; the number of
 * entries and the longest life are its documented limits.
 */
const DEFAULT_TTL_MS = 15 * 60_000;
const MAX_TTL_MS = 24 * 60 * 60_000;
const MAX_ENTRIES = 20;
const MAX_KEY_BYTES = 64;
const MAX_VALUE_BYTES = 4096;
const MAX_TOTAL_BYTES = 16 * 1024 + 256;

type CacheErrorCode =
  | 'CacheKeySizeExceeded'
  | 'CacheValueSizeExceeded'
  | 'CacheSizeExceeded'
  | 'ItemAlreadyExpired'
  | 'InvalidExpiry'
  | 'CacheKeyDoesNotExist';

type CacheError = { type: 'error'; code: CacheErrorCode };

export interface CacheApi {
  get(key: string): CacheRecord | undefined;
  set(key: string, value: string, options?: { ttl?: number; expires_at?: number }): { type: 'success'; record: CacheRecord } | CacheError;
  delete(key: string): { type: 'success' } | CacheError;
}

/** `api.cache` over a copy of the trigger's entries; each change is also given to `record`. */
export function createCacheApi(snapshot: CacheSnapshot, record: (change: CacheChange) => void): CacheApi {
  const entries = new Map<string, CacheRecord>(Object.entries(snapshot));

  function live(key: string): CacheRecord | undefined {
    const entry = entries.get(key);
    if (entry !== undefined && entry.expires_at <= Date.now()) {
      entries.delete(key);
      return undefined;
    }
    return entry;
  }

  return {
    get(key) {
      const entry = live(text('key', key));
      return entry === undefined ? undefined : { ...entry };
    },
    set(key, value, options = {}) {
      const size = Buffer.byteLength(text('key', key)) + Buffer.byteLength(text('value', value));
      if (Buffer.byteLength(key) > MAX_KEY_BYTES) return failed('CacheKeySizeExceeded');
      if (Buffer.byteLength(value) > MAX_VALUE_BYTES) return failed('CacheValueSizeExceeded');
      for (const known of entries.keys()) live(known);
      let total = size;
      for (const [name, entry] of entries) total += Buffer.byteLength(name) + Buffer.byteLength(entry.value);
      const isFull = !entries.has(key) && entries.size >= MAX_ENTRIES;
      if (total > MAX_TOTAL_BYTES || isFull) return failed('CacheSizeExceeded');
      const expiry = expiryOf(options);
      if (typeof expiry === 'string') return failed(expiry);
      const entry = { value, expires_at: expiry };
      entries.set(key, entry);
      record({ kind: 'set', key, record: { ...entry } });
      return { type: 'success', record: { ...entry } };
    },
    delete(key) {
      if (live(text('key', key)) === undefined) return failed('CacheKeyDoesNotExist');
      entries.delete(key);
      record({ kind: 'delete', key });
      return { type: 'success' };
    },
  };
}

/** Milliseconds since the epoch; the earlier one when both a life and an end are given. */
function expiryOf({ ttl, expires_at: expiresAt }: { ttl?: number; expires_at?: number }): number | CacheErrorCode {
  const now = Date.now();
  const wishes = [ttl === undefined ? undefined : now + ttl, expiresAt].filter((wish) => wish !== undefined);
  if (wishes.some((wish) => !Number.isFinite(wish))) return 'InvalidExpiry';
  const expiry = Math.floor(Math.min(...(wishes.length === 0 ? [now + DEFAULT_TTL_MS] : wishes)));
  if (expiry <= now) return 'ItemAlreadyExpired';
  if (!Number.isSafeInteger(expiry)) return 'InvalidExpiry';
  return Math.min(expiry, now + MAX_TTL_MS);
}

function text(name: 'key' | 'value', given: unknown): string {
  if (typeof given !== 'string') throw new TypeError(`api.cache: the ${name} must be a string, not ${typeof given}.`);
  return given;
}

function failed(code: CacheErrorCode): CacheError {
  return { type: 'error', code };
}
