import type { Database, Queryable } from './database.ts';
import type { HeldReason, Row } from './schema.ts';

/**
 * Rows of `flow`: how the steps of an Action, or of the whole trigger, may run now. What has none may run freely.
 *
 * Whoever writes one locks it first, and after that waits for no other row: registration, then attempt, then flow (the
 * trigger's before an Action's).
 */

export type FlowRow = Row<'flow'>;

/** The only trigger whose steps can wait. */
export const POST_USER_REGISTRATION_FLOW = 'trigger/post-user-registration';

export function flowIdOf(actionId: string): string {
  return `action/${actionId}`;
}

/** The rows that a step of this Action has to obey, as far as there are any. */
export interface Flow {
  trigger: FlowRow | undefined;
  action: FlowRow | undefined;
}

/**
 * After how long a held step asks by itself. Whoever lets it go sends its workflow a look, so this is only for the case
 * that nobody does, and thousands may be waiting.
 */
export const HOLD_MS: Record<HeldReason, number> = { paused: 3_600_000, down: 3_600_000, concurrency: 300_000, busy: 300_000 };

/** Reads, without a lock, what a step of this Action has to obey. */
export async function readFlow(tx: Queryable, actionId: string): Promise<Flow> {
  const rows = await tx.selectFrom('flow').selectAll().where('id', 'in', [POST_USER_REGISTRATION_FLOW, flowIdOf(actionId)]).execute();
  return { trigger: rows.find(({ id }) => id === POST_USER_REGISTRATION_FLOW), action: rows.find(({ id }) => id === flowIdOf(actionId)) };
}

/** Reads a row, made if absent, and holds every other write to it back until `tx` ends. */
export async function lockFlow(database: Database, tx: Queryable, id: string): Promise<FlowRow> {
  const locked = () => tx.selectFrom('flow').selectAll().where('id', '=', id).forUpdate().executeTakeFirst();
  const row = await locked();
  if (row !== undefined) return row;
  await tx.insertInto('flow').values({ id, failures: 0, updated_at: database.now }).onConflict((conflict) => conflict.doNothing()).execute();
  return (await locked()) as FlowRow;
}

/** Changes a row that the caller has locked. */
export async function changeFlow(tx: Queryable, id: string, change: Partial<FlowRow>, now: number): Promise<void> {
  await tx.updateTable('flow').set({ ...change, updated_at: now }).where('id', '=', id).execute();
}
