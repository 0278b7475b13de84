import { type Expression, expressionBuilder, type SqlBool, sql } from 'kysely';
import type { Database, Queryable } from './database.ts';
import { createOutbox } from './outbox.ts';
import type { HeldReason, Schema } from './schema.ts';

/** Which held steps: of one Action, or of all but those that are paused by themselves. */
export interface HeldSteps {
  actionId?: string;
  /** One after the other: within one, the queue is read in its order, however long it is. */
  reasons: readonly HeldReason[];
}

/** How long the room that was made for a step is kept, should its workflow not come for it. */
export const KEPT_MS = 30_000;

/**
 * Lets up to `limit` held steps go, those that wait for longest first: their workflows are sent a look, and take them up
 * anew. Steps of a registration that somebody else changes just now are passed over, so nothing is waited for.
 *
 * Once `tx` has been committed and somebody was let go, `database.signal('registration-due')` spares them a second.
 *
 * @returns the steps' ids.
 */
export async function letGo(database: Database, tx: Queryable, { actionId, reasons }: HeldSteps, limit: number): Promise<string[]> {
  const gone: { id: string; registration_id: string }[] = [];
  for (const reason of reasons) {
    if (gone.length < limit) gone.push(...(await letOldestGo(database, tx, { actionId, reason, limit: limit - gone.length })));
  }
  if (gone.length > 0) await createOutbox({ database }).makeDue(gone.map((step) => step.registration_id), tx);
  return gone.map((step) => step.id);
}

async function letOldestGo(database: Database, tx: Queryable, { actionId, reason, limit }: { actionId: string | undefined; reason: HeldReason; limit: number }) {
  return await tx
    .with('chosen', (qb) => {
      const held = qb.selectFrom('step')
        .innerJoin('registration', 'registration.id', 'step.registration_id')
        .select('step.id')
        .where('step.held_reason', '=', reason)
        .where('step.held_at', 'is not', null)
        .where('step.state', 'in', ['pending', 'parked'])
        .orderBy('step.held_at')
        .limit(limit)
        .forUpdate('registration')
        .skipLocked();
      return held.where(isOf(actionId));
    })
    .updateTable('step')
    .set((eb) => ({ held_reason: null, let_go_at: database.now, wish: eb('wish', '+', 1) }))
    .where('id', 'in', (eb) => eb.selectFrom('chosen').select('id'))
    // Who had the registration before may have changed the step since it was chosen.
    .where('held_reason', '=', reason)
    .returning(['id', 'registration_id'])
    .execute();
}

/** Whether one of them is held; also one that `letGo` would pass over, as somebody else changes its registration. */
export async function isAnyHeld(tx: Queryable, { actionId, reasons }: HeldSteps): Promise<boolean> {
  const held = tx.selectFrom('step').select('step.id').where('step.held_reason', 'in', reasons).where('step.held_at', 'is not', null).where(isOf(actionId));
  return (await held.limit(1).executeTakeFirst()) !== undefined;
}

/** A condition on steps; see `HeldSteps.actionId`. */
function isOf(actionId: string | undefined): Expression<SqlBool> {
  const eb = expressionBuilder<Schema, 'step'>();
  if (actionId !== undefined) return eb('step.action_id', '=', actionId);
  const paused = eb.selectFrom('flow').select('flow.id').where('flow.id', '=', sql<string>`'action/' || step.action_id`).where('flow.paused_at', 'is not', null);
  return eb.not(eb.exists(paused));
}

/**
 * How much room the Action has left: `limit` less the attempts that are alive, over all workers, and the steps that were
 * let go and have not come yet.
 */
export async function roomLeft(database: Database, tx: Queryable, actionId: string, limit: number): Promise<{ free: number; kept: number }> {
  const { alive, kept } = await tx
    .selectNoFrom((eb) => [
      eb.selectFrom('attempt')
        .select(({ fn }) => fn.countAll<number>().as('n'))
        .where('attempt.action_id', '=', actionId)
        .where('attempt.ended_at', 'is', null)
        .where('attempt.leased_until', '>', database.now)
        .as('alive'),
      eb.selectFrom('step')
        .select(({ fn }) => fn.countAll<number>().as('n'))
        .where('step.action_id', '=', actionId)
        .where('step.held_at', 'is not', null)
        .where('step.held_reason', 'is', null)
        // No word of the state, or SQLite would read every open step: one that has ended waits in no queue.
        .where('step.let_go_at', '>', sql<number>`${database.now} - ${sql.lit(KEPT_MS)}`)
        .as('kept'),
    ])
    .executeTakeFirstOrThrow();
  return { free: limit - Number(alive) - Number(kept), kept: Number(kept) };
}
