import type { Database } from './database.ts';

/** Removes codes, tickets and counts that have ended: nothing reads them any more. */
export async function removeExpired({ db, now }: Pick<Database, 'db' | 'now'>): Promise<void> {
  for (const table of ['passwordless_code', 'ticket', 'counter'] as const) await db.deleteFrom(table).where('expires_at', '<=', now).execute();
}
