import { sql } from 'kysely';
import type { Database, Queryable } from './database.ts';

/** A registration to be handed to Temporal. */
export interface DueRegistration {
  registrationId: string;
  /** Which wish this is; `markHandedOver` clears no newer one. */
  dueSeq: number;
  userId: string;
  connectionName: string;
  /** How often Temporal has refused it in a row. */
  dispatchFailures: number;
  /** W3C `traceparent` of its commit; null when traces were off. */
  traceParent: string | null;
}

/** Registrations that are due to be handed to Temporal, and those to ask Temporal about. Times in milliseconds. */
export interface Outbox {
  /**
   * Takes up to `limit` due registrations, the longest due first. Nobody else gets them before `leaseMs` is over; a
   * dispatcher that dies leaves them to the others then.
   */
  claimDue(options: { limit: number; leaseMs: number }): Promise<DueRegistration[]>;
  /**
   * Temporal has these: ask about them after `checkAfterMs`, unless they are closed. Leaves those alone that were made due
   * again or closed meanwhile.
   */
  markHandedOver(handedOver: Pick<DueRegistration, 'registrationId' | 'dueSeq'>[], options: { checkAfterMs: number }): Promise<void>;
  /** Gives claimed ones back at once. */
  releaseClaims(registrationIds: string[]): Promise<void>;
  /** Temporal refused this one: try it again after `delayMs`. Does nothing when it was made due again or closed meanwhile. */
  backOff(options: { registrationId: string; dueSeq: number; delayMs: number; error: string }): Promise<void>;
  /** Makes open registrations due now, so that their workflows look at the ledger; a closed one stays as it is. */
  makeDue(registrationIds: string | string[], tx?: Queryable): Promise<void>;
  /**
   * Hands a registration to Temporal once more, also one that is closed: what its workflow still runs of it is stopped then.
   */
  requestLook(registrationId: string, tx: Queryable): Promise<void>;
  /** Makes every open registration due, because Temporal has lost its data. @returns how many. */
  makeAllOpenDue(): Promise<number>;
  /**
   * Takes up to `limit` open registrations that have not been heard of until their `check_at`, and whose hand-over is
   * not due anyway. Nobody else gets them before `leaseMs` is over.
   */
  claimForCheck(options: { limit: number; leaseMs: number }): Promise<string[]>;
  /** Temporal knows an open registration: ask again after `checkAfterMs`. */
  postponeCheck(registrationId: string, checkAfterMs: number): Promise<void>;
  /** How many wait to be handed over, and since when the oldest does. */
  depth(): Promise<{ due: number; oldestDueAt: number | null }>;
}

/** Registrations made due in one statement: sign-ups must not wait for a million of them. */
const BATCH = 1000;

/** Opens the outbox of an installation. */
export function createOutbox({ database }: { database: Database }): Outbox {
  const { db, now } = database;

  return {
    async claimDue({ limit, leaseMs }) {
      const claimed = await db
        .with('chosen', (qb) =>
          qb.selectFrom('registration')
            .select('id')
            .where('due_at', '<=', now)
            .where((eb) => eb.or([eb('claimed_until', 'is', null), eb('claimed_until', '<=', now)]))
            .orderBy('due_at')
            .limit(limit)
            .forUpdate()
            .skipLocked())
        .updateTable('registration')
        .set((eb) => ({ claimed_until: eb(now, '+', leaseMs) }))
        .where('id', 'in', (eb) => eb.selectFrom('chosen').select('id'))
        .returning(['id', 'due_at', 'due_seq', 'user_id', 'connection_name', 'dispatch_failures', 'trace_parent'])
        .execute();
      // The rows come back in no particular order.
      return claimed
        .toSorted((a, b) => (a.due_at ?? 0) - (b.due_at ?? 0))
        .map((row) => ({
          registrationId: row.id,
          dueSeq: row.due_seq,
          userId: row.user_id,
          connectionName: row.connection_name,
          dispatchFailures: row.dispatch_failures,
          traceParent: row.trace_parent,
        }));
    },

    async markHandedOver(handedOver, { checkAfterMs }) {
      if (handedOver.length === 0) return;
      await db
        // In one order, as everybody takes several.
        .with('chosen', (qb) =>
          qb.selectFrom('registration').select('id').where('id', 'in', handedOver.map((each) => each.registrationId)).orderBy('id').forUpdate())
        .updateTable('registration')
        .set({
          due_at: null,
          claimed_until: null,
          handed_over_at: now,
          dispatch_failures: 0,
          dispatch_error: null,
          check_at: sql<number | null>`case when state = 'open' then ${now} + cast(${checkAfterMs} as bigint) end`,
        })
        .where('id', 'in', (eb) => eb.selectFrom('chosen').select('id'))
        .where((eb) => eb.or(handedOver.map(({ registrationId, dueSeq }) => eb.and({ id: registrationId, due_seq: dueSeq }))))
        .where('due_at', 'is not', null)
        .execute();
    },

    async releaseClaims(registrationIds) {
      if (registrationIds.length === 0) return;
      await db.updateTable('registration').set({ claimed_until: null }).where('id', 'in', registrationIds).execute();
    },

    async backOff({ registrationId, dueSeq, delayMs, error }) {
      await db.updateTable('registration')
        .set((eb) => ({
          due_at: eb(now, '+', delayMs),
          claimed_until: null,
          dispatch_failures: eb('dispatch_failures', '+', 1),
          dispatch_error: error,
        }))
        .where('id', '=', registrationId)
        .where('due_seq', '=', dueSeq)
        .where('due_at', 'is not', null)
        .execute();
    },

    async makeDue(registrationIds, tx = db) {
      await tx.updateTable('registration')
        .set((eb) => ({ due_at: now, due_seq: eb('due_seq', '+', 1), claimed_until: null }))
        .where('id', 'in', [registrationIds].flat())
        .where('state', '=', 'open')
        .execute();
    },

    async requestLook(registrationId, tx) {
      await tx.updateTable('registration')
        .set((eb) => ({ due_at: now, due_seq: eb('due_seq', '+', 1), claimed_until: null }))
        .where('id', '=', registrationId)
        .execute();
    },

    async makeAllOpenDue() {
      let count = 0;
      let after = '';
      for (;;) {
        const batch = await db.selectFrom('registration')
          .select('id')
          .where('state', '=', 'open')
          .where('id', '>', after)
          .orderBy('id')
          .limit(BATCH)
          .execute();
        const last = batch.at(-1);
        if (last === undefined) return count;
        const { numUpdatedRows } = await db.updateTable('registration')
          .set((eb) => ({ due_at: now, due_seq: eb('due_seq', '+', 1), claimed_until: null }))
          .where('state', '=', 'open')
          .where('id', '>', after)
          .where('id', '<=', last.id)
          .executeTakeFirstOrThrow();
        count += Number(numUpdatedRows);
        after = last.id;
      }
    },

    async claimForCheck({ limit, leaseMs }) {
      const claimed = await db
        .with('chosen', (qb) =>
          qb.selectFrom('registration')
            .select('id')
            .where('check_at', '<=', now)
            .where('due_at', 'is', null)
            .orderBy('check_at')
            .limit(limit)
            .forUpdate()
            .skipLocked())
        .updateTable('registration')
        .set((eb) => ({ check_at: eb(now, '+', leaseMs) }))
        .where('id', 'in', (eb) => eb.selectFrom('chosen').select('id'))
        .returning('id')
        .execute();
      return claimed.map((row) => row.id);
    },

    async postponeCheck(registrationId, checkAfterMs) {
      await db.updateTable('registration')
        .set((eb) => ({ check_at: eb(now, '+', checkAfterMs) }))
        .where('id', '=', registrationId)
        .where('state', '=', 'open')
        .execute();
    },

    async depth() {
      return await db.selectFrom('registration')
        .select((eb) => [eb.fn.countAll<number>().as('due'), eb.fn.min('due_at').as('oldestDueAt')])
        .where('due_at', 'is not', null)
        .executeTakeFirstOrThrow();
    },
  };
}
