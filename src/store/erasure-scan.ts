import type { Queryable } from './database.ts';
import type { Keyring } from './keyring.ts';

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

/** Whether a value names the person: an id or address anywhere in a text of it, a username as a whole text. */
export function mentions(value: unknown, person: ErasedPerson): boolean {
  const names = [person.userId.toLowerCase(), ...person.addresses].map((name) => name.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&'));
  // `ann@example.com` is not meant by `joann@example.com` or `ann@example.com.au`.
  const anywhere = new RegExp(String.raw`(?<![\w.+-])(?:${names.join('|')})(?![\w-]|\.\w)`);
  const isMeant = (text: string) => person.usernames.includes(text) || anywhere.test(text);
  const search = (part: unknown): boolean => {
    if (typeof part === 'string') return isMeant(part.toLowerCase());
    return typeof part === 'object' && part !== null && Object.entries(part).some(([name, each]) => search(name) || search(each));
  };
  return search(value);
}

/** Rows looked at in one transaction; to open one takes 0.1 ms. */
const ROWS = 50;

export interface ScanResult {
  removed: number;
  /** Id of the last row that was looked at; null: there are no more. */
  cursor: string | null;
}

/** Removes entries of the tenant log that belong to no user and name the person: failed logins, denied sign-ups. */
export async function scanLogs(tx: Queryable, keyring: Keyring, person: ErasedPerson, after: string): Promise<ScanResult> {
  const rows = await tx.selectFrom('log').select(['id', 'key_id', 'item_sealed as sealed'])
    .where('id', '>', after)
    .where('user_id', 'is', null)
    // What was done over the API: told by ids, and kept to account for it.
    .where('type', '<>', 'sapi')
    .orderBy('id')
    .limit(ROWS)
    .execute();
  const found = await those(rows, async (row) => mentions(await keyring.openJson(row.key_id, `log/${row.id}/item`, row.sealed, tx), person));
  if (found.length > 0) await tx.deleteFrom('log').where('id', 'in', found).execute();
  return { removed: found.length, cursor: rows.length < ROWS ? null : rows.at(-1)!.id };
}

/** Removes executions of denied sign-ups that name the person. */
export async function scanDenied(tx: Queryable, keyring: Keyring, person: ErasedPerson, after: string): Promise<ScanResult> {
  const rows = await tx.selectFrom('execution').select(['id', 'key_id', 'results_sealed as sealed']).where('id', '>', after).where('registration_id', 'is', null).orderBy('id').limit(ROWS).execute();
  const found = await those(rows, async (row) => mentions(await keyring.openJson(row.key_id, `execution/${row.id}/results`, row.sealed, tx), person));
  if (found.length > 0) await tx.deleteFrom('execution').where('id', 'in', found).execute();
  return { removed: found.length, cursor: rows.length < ROWS ? null : rows.at(-1)!.id };
}

/** Removes mails and text messages that name the person, sent or not. */
export async function scanMessages(tx: Queryable, keyring: Keyring, person: ErasedPerson, after: string): Promise<ScanResult> {
  const rows = await tx.selectFrom('message').select(['id', 'key_id', 'content_sealed as sealed']).where('id', '>', after).orderBy('id').limit(ROWS).execute();
  const found = await those(rows, async (row) => mentions(await keyring.openJson(row.key_id, `message/${row.id}/content`, row.sealed, tx), person));
  if (found.length > 0) await tx.deleteFrom('message').where('id', 'in', found).execute();
  return { removed: found.length, cursor: rows.length < ROWS ? null : rows.at(-1)!.id };
}

/** Removes a job that is over and whose file, result or failures name the person. One at a time: a file may be large. */
export async function scanJobs(tx: Queryable, keyring: Keyring, person: ErasedPerson, after: string): Promise<ScanResult> {
  const job = await tx.selectFrom('job').selectAll().where('id', '>', after).where('status', 'in', ['completed', 'failed']).orderBy('id').limit(1).executeTakeFirst();
  if (job === undefined) return { removed: 0, cursor: null };
  const errors = await tx.selectFrom('job_error').selectAll().where('job_id', '=', job.id).execute();
  const isNamed =
    mentions(JSON.parse(job.options), person) ||
    (job.content_sealed !== null && mentions(await keyring.open(job.key_id!, `job/${job.id}/content`, job.content_sealed, tx), person)) ||
    (await those(errors, async (row) => mentions(await keyring.openJson(row.key_id, `job/${job.id}/error/${row.position}`, row.entry_sealed, tx), person), (row) => String(row.position))).length > 0;
  if (isNamed) await tx.deleteFrom('job').where('id', '=', job.id).execute();
  return { removed: isNamed ? 1 : 0, cursor: job.id };
}
