import { createHash } from 'node:crypto';
import type { Queryable } from './database.ts';

/** What a key stands for: who has sent it, and with what. */
export interface IdempotencyKey {
  clientId: string;
  key: string;
  /** What was handed in: the same key with something else is a mistake. */
  content: unknown;
}

/** A registration that a key has led to before. */
export interface HandedIn {
  registrationId: string;
  createdAt: number;
  /** Whether it was handed in with the same content. */
  isSame: boolean;
}

/** The registration of a client's key; null when the key is new. */
export async function findHandedIn(db: Queryable, key: IdempotencyKey): Promise<HandedIn | null> {
  const row = await db.selectFrom('handed_in').selectAll().where('key_hash', '=', hashOfKey(key)).executeTakeFirst();
  if (row === undefined) return null;
  return { registrationId: row.registration_id, createdAt: row.created_at, isSame: row.body_hash === hashOfContent(key) };
}

/** Ties a key to its registration. A key that is tied already violates the table's primary key. */
export async function writeHandedIn(tx: Queryable, key: IdempotencyKey, registration: { id: string; createdAt: number }): Promise<void> {
  await tx.insertInto('handed_in')
    .values({ key_hash: hashOfKey(key), body_hash: hashOfContent(key), registration_id: registration.id, created_at: registration.createdAt })
    .execute();
}

function hashOfKey({ clientId, key }: IdempotencyKey): string {
  return sha256(JSON.stringify([clientId, key]));
}

/** The same for objects that differ in the order of their properties only, as a sender that tries again may write them. */
function hashOfContent({ content }: IdempotencyKey): string {
  return sha256(JSON.stringify(content, (_name, value: unknown) => (isObject(value) ? Object.fromEntries(Object.entries(value).toSorted(byName)) : value)));
}

function byName([a]: [string, unknown], [b]: [string, unknown]): number {
  return a < b ? -1 : 1;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}
