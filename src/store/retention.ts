import type { Retention } from '../domain/retention.ts';
import type { Database } from './database.ts';
import { removeRegistrations } from './remove-registrations.ts';

const DAY_MS = 24 * 60 * 60_000;
/** In one transaction: a few milliseconds, as sign-ups wait for it on the embedded store. */
const REGISTRATIONS = 10;
const ROWS = 200;

/** Removes what is older than it is to be kept, one small batch at a time. */
export interface RetentionSweep {
  /** @returns whether there may be more at once. */
  step(now?: number): Promise<boolean>;
}

export function createRetentionSweep({ database, retention }: { database: Database; retention: Retention }): RetentionSweep {
  const { db } = database;

  async function removeClosed(before: number): Promise<boolean> {
    const over = (from: Pick<typeof db, 'selectFrom'>) =>
      from.selectFrom('registration').select('id').where('closed_at', '<', before).where('state', '=', 'closed').orderBy('closed_at').limit(REGISTRATIONS);
    // A look first: on SQLite a transaction takes the write lock.
    if ((await over(db).executeTakeFirst()) === undefined) return false;
    return await database.transaction(async (tx) => {
      const rows = await over(tx).forUpdate().skipLocked().execute();
      await removeRegistrations(tx, rows.map(({ id }) => id));
      return rows.length === REGISTRATIONS;
    });
  }

  async function removeDenied(before: number): Promise<boolean> {
    const rows = await db.selectFrom('execution').select('id').where('id', '<', firstIdOf(before)).where('registration_id', 'is', null).orderBy('id').limit(ROWS).execute();
    if (rows.length > 0) await db.deleteFrom('execution').where('id', 'in', rows.map(({ id }) => id)).execute();
    return rows.length === ROWS;
  }

  async function removeLogs(before: number): Promise<boolean> {
    const rows = await db.selectFrom('log').select('id').where('id', '<', firstIdOf(before)).orderBy('id').limit(ROWS).execute();
    if (rows.length > 0) await db.deleteFrom('log').where('id', 'in', rows.map(({ id }) => id)).execute();
    return rows.length === ROWS;
  }

  return {
    async step(now = Date.now()) {
      const { registrations, logs } = retention;
      const more = [
        registrations !== null && (await removeClosed(now - registrations * DAY_MS)),
        registrations !== null && (await removeDenied(now - registrations * DAY_MS)),
        logs !== null && (await removeLogs(now - logs * DAY_MS)),
      ];
      return more.some(Boolean);
    },
  };
}

/** Less than every id that was made at this time or later; see `newId`. */
function firstIdOf(time: number): string {
  const hex = Math.max(0, time).toString(16).padStart(12, '0');
  return `${hex.slice(0, 8)}-${hex.slice(8)}-7000-8000-000000000000`;
}
