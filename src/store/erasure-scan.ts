import type { Queryable } from './database.ts';
import { executionContext } from './executions.ts';
import type { Keyring } from './keyring.ts';
import { logContext } from './logs.ts';
import { messageContext } from './messages.ts';

/** Whom to erase, by everything that identifies him or her; all in lower case but the id. */
export interface ErasedPerson {
  userId: string;
  /** E-mail addresses and phone numbers. */
  addresses: string[];
  usernames: string[];
}

/** Adds what a user's row or the `user` of an event tells. */
export function learn(person: ErasedPerson, told: { email?: unknown; phone_number?: unknown; username?: unknown }): ErasedPerson {
  const texts = (...values: unknown[]) => values.filter((value): value is string => typeof value === 'string' && value !== '').map((value) => value.toLowerCase());
  return {
    ...person,
    addresses: [...new Set([...person.addresses, ...texts(told.email, told.phone_number)])],
    usernames: [...new Set([...person.usernames, ...texts(told.username)])],
  };
}

/** An address, a phone number, or an id with its provider: no word that anything else could mean. */
const UNMISTAKABLE = /[@|]|\d{5}/;
/** Where a person is named, or a line of an Action's log stands. */
const NAMING = new Set(['user_name', 'username', 'text']);

/**
 * Whether a value names the person: an id or address anywhere in it. What could be a word, such as a username, only where
 * it is all of a text that names people, or of a line: whoever calls himself `subject` must not take every mail with him.
 */
function mentions(value: unknown, person: ErasedPerson): boolean {
  const names = [person.userId.toLowerCase(), ...person.addresses];
  const words = new Set([...person.usernames, ...names.filter((name) => !UNMISTAKABLE.test(name))]);
  const escaped = names.filter((name) => UNMISTAKABLE.test(name)).map((name) => name.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&'));
  // `ann@example.com` is not meant by `joann@example.com` or `ann@example.com.au`.
  const anywhere = escaped.length === 0 ? null : new RegExp(String.raw`(?<![\w.+-])(?:${escaped.join('|')})(?![\w-]|\.\w)`);
  const isMeant = (text: string) => anywhere?.test(text) === true;
  const search = (part: unknown, name: string): boolean => {
    if (typeof part === 'string') return isMeant(part.toLowerCase()) || (NAMING.has(name) && words.has(part.toLowerCase()));
    return typeof part === 'object' && part !== null && Object.entries(part).some(([key, each]) => isMeant(key.toLowerCase()) || search(each, key));
  };
  return search(value, '');
}

/** Rows looked at in one transaction; to open one takes 0.1 ms. */
const ROWS = 50;

/** What a scan did. */
export interface Scanned {
  removed: number;
  /** Id of the last row that was looked at; null: there are no more. */
  cursor: string | null;
}

/** Goes through rows that are tied to nobody, sealed under keys that stay, and removes those that name the person. */
export type Scan = (tx: Queryable, keyring: Keyring, person: ErasedPerson, after: string) => Promise<Scanned>;

/** Failed logins and denied sign-ups in the tenant log. */
export const scanLogs: Scan = async (tx, keyring, person, after) => {
  const rows = await tx.selectFrom('log')
    .select(['id', 'key_id', 'item_sealed as sealed'])
    .where('id', '>', after)
    .where('user_id', 'is', null)
    // What was done over the API: told by ids, and kept to account for it.
    .where('type', '<>', 'sapi')
    .orderBy('id')
    .limit(ROWS)
    .execute();
  const found = await naming(person, rows, { keyring, tx, context: logContext });
  if (found.length > 0) await tx.deleteFrom('log').where('id', 'in', found).execute();
  return { removed: found.length, cursor: nextOf(rows) };
};

/** Executions of denied sign-ups. */
export const scanDenied: Scan = async (tx, keyring, person, after) => {
  const rows = await tx.selectFrom('execution')
    .select(['id', 'key_id', 'results_sealed as sealed'])
    .where('id', '>', after)
    .where('registration_id', 'is', null)
    .orderBy('id')
    .limit(ROWS)
    .execute();
  const found = await naming(person, rows, { keyring, tx, context: executionContext });
  if (found.length > 0) await tx.deleteFrom('execution').where('id', 'in', found).execute();
  return { removed: found.length, cursor: nextOf(rows) };
};

/** Mails and text messages, whether they are due, kept or failed. */
export const scanMessages: Scan = async (tx, keyring, person, after) => {
  const rows = await tx.selectFrom('message').select(['id', 'key_id', 'content_sealed as sealed']).where('id', '>', after).orderBy('id').limit(ROWS).execute();
  const found = await naming(person, rows, { keyring, tx, context: messageContext });
  if (found.length > 0) await tx.deleteFrom('message').where('id', 'in', found).execute();
  return { removed: found.length, cursor: nextOf(rows) };
};

interface SealedRow {
  id: string;
  key_id: string;
  sealed: string;
}

async function naming(person: ErasedPerson, rows: SealedRow[], { keyring, tx, context }: { keyring: Keyring; tx: Queryable; context(id: string): string }): Promise<string[]> {
  const found: string[] = [];
  for (const { id, key_id: keyId, sealed } of rows) {
    if (mentions(await keyring.openJson(keyId, context(id), sealed, tx), person)) found.push(id);
  }
  return found;
}

function nextOf(rows: SealedRow[]): string | null {
  return rows.length < ROWS ? null : rows.at(-1)!.id;
}
