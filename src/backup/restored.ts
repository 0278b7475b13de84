import { newId } from '../domain/ids.ts';
import type { Database, Queryable } from '../store/database.ts';
import { readSetting, writeSetting } from '../store/settings.ts';

const RESTORED_SETTING = 'restored';

/** Which restore the store has come from; undefined when it has come from none. */
export async function readRestored(queryable: Queryable): Promise<string | undefined> {
  return await readSetting(queryable, RESTORED_SETTING);
}

/**
 * Makes processes and workflows that knew another state of the store look at this one, within the transaction that has put
 * it there: each process ends and starts anew, everything open is due, and no wish or hand-over of before is taken for
 * one of now.
 *
 * @param options.atLeast above each `due_seq` and `wish` that was given out before.
 */
export async function beginAnew(database: Database, tx: Queryable, { atLeast }: { atLeast: number }): Promise<void> {
  await writeSetting(tx, RESTORED_SETTING, newId());
  await tx.updateTable('registration')
    .set((eb) => ({ due_at: database.now, due_seq: eb('due_seq', '+', atLeast), claimed_until: null }))
    .where('state', '=', 'open')
    .execute();
  await tx.updateTable('step')
    .set((eb) => ({ wish: eb('wish', '+', atLeast) }))
    .where('state', 'in', ['pending', 'parked'])
    .execute();
}

/** A number above each `due_seq` and `wish` of the store. */
export async function aboveAll(tx: Queryable): Promise<number> {
  const { seq } = await tx.selectFrom('registration').select(({ fn }) => fn.max('due_seq').as('seq')).executeTakeFirstOrThrow();
  const { wish } = await tx.selectFrom('step').select(({ fn }) => fn.max('wish').as('wish')).executeTakeFirstOrThrow();
  return Math.max(seq ?? 0, wish ?? 0) + 1;
}
