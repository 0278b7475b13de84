import { firstIdOf } from '../domain/ids.ts';
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
      from.selectFrom('registration').select('id')
        .where('closed_at', '<', before)
        .where('state', '=', 'closed')
        // The workflow of a cancelled one may still have to be told.
        .where('due_at', 'is', null)
        .orderBy('closed_at')
        .limit(REGISTRATIONS);
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

  /** What became of each registration first, so that the row is there until all of it is gone. */
  async function removeOperations(before: number): Promise<boolean> {
    const operation = await db.selectFrom('bulk_operation').select('id').where('ended_at', '<', before).orderBy('id').executeTakeFirst();
    if (operation === undefined) return false;
    const items = await db.selectFrom('bulk_item').select('subject_id').where('operation_id', '=', operation.id).limit(ROWS).execute();
    if (items.length > 0) await db.deleteFrom('bulk_item').where('operation_id', '=', operation.id).where('subject_id', 'in', items.map((item) => item.subject_id)).execute();
    if (items.length < ROWS) await db.deleteFrom('bulk_operation').where('id', '=', operation.id).execute();
    return true;
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
        registrations !== null && (await removeOperations(now - registrations * DAY_MS)),
        logs !== null && (await removeLogs(now - logs * DAY_MS)),
      ];
      return more.some(Boolean);
    },
  };
}
