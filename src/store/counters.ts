import type { Database } from './database.ts';

/** A count and the moment at which it ends, in milliseconds since the epoch. */
export interface Count {
  count: number;
  expiresAt: number;
}

/** Counts that end by themselves, shared by all processes on the store. */
export interface CounterStore {
  /**
   * Adds one, in one statement: of many callers at once, each gets a number of its own. A new count, or one that has
   * ended, begins with 1 and ends after `windowMs`.
   */
  increment(key: string, windowMs: number): Promise<Count>;
  /** Null when nothing is counted, or the count has ended. */
  read(key: string): Promise<Count | null>;
  remove(key: string): Promise<void>;
}

export function createCounterStore({ database }: { database: Database }): CounterStore {
  const { db, now } = database;
  return {
    async increment(key, windowMs) {
      const row = await db.insertInto('counter')
        .values((eb) => ({ key, count: 1, expires_at: eb(now, '+', windowMs) }))
        .onConflict((conflict) => conflict.column('key').doUpdateSet((eb) => {
          const ended = eb('counter.expires_at', '<=', now);
          return {
            count: eb.case().when(ended).then(1).else(eb('counter.count', '+', 1)).end(),
            expires_at: eb.case().when(ended).then(eb.ref('excluded.expires_at')).else(eb.ref('counter.expires_at')).end(),
          };
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
  };
}
