import type { Database } from './database.ts';

/** A registration that was erased, and whose histories Temporal may still have. */
export interface HistoryRemoval {
  registrationId: string;
  createdAt: number;
}

/** Outbox of histories to be deleted in Temporal, oldest first. */
export interface HistoryRemovals {
  /** Those after the one with the id `after`. */
  list(after: string, limit: number): Promise<HistoryRemoval[]>;
  /** Temporal has nothing of it any more. */
  done(registrationId: string): Promise<void>;
}

export function createHistoryRemovals({ db }: Pick<Database, 'db'>): HistoryRemovals {
  return {
    async list(after, limit) {
      return await db.selectFrom('history_removal')
        .select(['registration_id as registrationId', 'created_at as createdAt'])
        .where('registration_id', '>', after)
        .orderBy('registration_id')
        .limit(limit)
        .execute();
    },

    async done(registrationId) {
      await db.deleteFrom('history_removal').where('registration_id', '=', registrationId).execute();
    },
  };
}
