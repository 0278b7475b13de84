import { sql } from 'kysely';
import type { Database } from '../store/database.ts';

/** Above this nobody counts further: the api's event loop runs SQLite's statements. */
export const COUNTED_TO = 100_000;

/** What waits in the store, for all processes together. */
export interface Backlog {
  outbox: {
    waiting: number;
    /** Of them, those that Temporal has refused. */
    refused: number;
    /** Seconds since the one that is due longest became due; 0 when none is. */
    oldestAgeSeconds: number;
  };
  held: { action: string; reason: string; steps: number }[];
  parked: { action: string; steps: number }[];
  messages: { channel: string; state: string; messages: number }[];
}

/** Counts what waits, by partial indexes and up to 100 000 of each kind. */
export async function readBacklog({ db, now }: Database): Promise<Backlog> {
  const steps = sql<number>`count(*)`.as('steps');
  const [outbox, held, parked, messages] = await Promise.all([
    db.selectFrom(db.selectFrom('registration').select(['due_at', 'dispatch_failures']).where('due_at', 'is not', null).orderBy('due_at').limit(COUNTED_TO).as('due'))
      .select([
        sql<number>`count(*)`.as('waiting'),
        sql<number>`coalesce(sum(case when dispatch_failures > 0 then 1 else 0 end), 0)`.as('refused'),
        sql<number | null>`${now} - min(due_at)`.as('ageMs'),
      ])
      .executeTakeFirstOrThrow(),
    db.selectFrom(db.selectFrom('step').select(['action_name', 'held_reason']).where('held_at', 'is not', null).where('held_reason', 'is not', null).limit(COUNTED_TO).as('held'))
      .select(['action_name as action', sql<string>`held_reason`.as('reason'), steps])
      .groupBy(['action_name', 'held_reason'])
      .execute(),
    // A literal, so that the index of parked steps is used.
    db.selectFrom(db.selectFrom('step').select('action_name').where('state', '=', sql.lit('parked')).limit(COUNTED_TO).as('parked'))
      .select(['action_name as action', steps])
      .groupBy('action_name')
      .execute(),
    db.selectFrom(db.selectFrom('message').select(['channel', 'state']).where('state', '<>', 'kept').limit(COUNTED_TO).as('message'))
      .select(['channel', 'state', sql<number>`count(*)`.as('messages')])
      .groupBy(['channel', 'state'])
      .execute(),
  ]);
  const { waiting, refused, ageMs } = outbox;
  return { outbox: { waiting, refused, oldestAgeSeconds: Math.max(0, ageMs ?? 0) / 1000 }, held, parked, messages };
}
