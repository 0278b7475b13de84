import { sql } from 'kysely';
import type { Database } from './database.ts';

/** A count that began with its first increment and ends by itself. */
export interface Count {
  count: number;
  /** Milliseconds since the epoch. */
  expiresAt: number;
}

/** Counts that all processes on one store share: failed logins, requests of a rate limit's window. */
export interface CounterStore {
  /** Adds one. The first one, and the first after the count has run out, begins a count that lasts `forMs`. */
  increment(key: string, forMs: number): Promise<Count>;
  /** Null when there is none, or it has run out. */
  read(key: string): Promise<Count | null>;
  remove(key: string): Promise<void>;
  /** Removes what has run out. */
  removeExpired(): Promise<void>;
}

export function createCounterStore({ database }: { database: Database }): CounterStore {
  const { db, now } = database;
  return {
    async increment(key, forMs) {
      const expiresAt = sql<number>`${now} + ${sql.lit(Math.round(forMs))}`;
      // One statement, so that two processes never read the same count.
      const row = await db.insertInto('counter')
        .values({ key, count: 1, expires_at: expiresAt })
        .onConflict((conflict) => conflict.column('key').doUpdateSet({
          count: sql<number>`case when counter.expires_at <= ${now} then 1 else counter.count + 1 end`,
          expires_at: sql<number>`case when counter.expires_at <= ${now} then excluded.expires_at else counter.expires_at end`,
        }))
        .returning(['count', 'expires_at'])
        .executeTakeFirstOrThrow();
      return { count: row.count, expiresAt: row.expires_at };
    },

    async read(key) {
      const row = await db.selectFrom('counter').select(['count', 'expires_at']).where('key', '=', key).where('expires_at', '>', now).executeTakeFirst();
      return row === undefined ? null : { count: row.count, expiresAt: row.expires_at };
    },

    async remove(key) {
      await db.deleteFrom('counter').where('key', '=', key).execute();
    },

    async removeExpired() {
      await db.deleteFrom('counter').where('expires_at', '<=', now).execute();
    },
  };
}
