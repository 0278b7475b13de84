import type { Database } from './database.ts';

/** Removes codes, tickets and counts that have ended: nothing reads them any more. */
export async function removeExpired({ db, now }: Pick<Database, 'db' | 'now'>): Promise<void> {
  for (const table of ['passwordless_code', 'ticket', 'counter'] as const) {
    // A look first: on SQLite a delete takes the write lock, also when there is nothing to do.
    const ended = await db.selectFrom(table).select('expires_at').where('expires_at', '<=', now).limit(1).executeTakeFirst();
    if (ended !== undefined) await db.deleteFrom(table).where('expires_at', '<=', now).execute();
  }
}
