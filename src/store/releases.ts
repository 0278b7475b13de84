import { DEFAULT_WORKER_SANDBOXES, shareOfOneAction } from '../domain/worker-slots.ts';
import type { Database, Queryable } from './database.ts';
import { changeFlow, flowIdOf, type FlowRow, lockFlow, POST_USER_REGISTRATION_FLOW } from './flow-rows.ts';
import { policyOf } from './ledger-rows.ts';
import { type HeldSteps, isAnyHeld, KEPT_MS, letGo, roomLeft } from './let-go.ts';
import { beginProbe, isProbeDue } from './receiver.ts';

/** Steps a second that are let go after a pause or an outage, over all Actions: a receiver that has just come back is not run down. */
const RELEASES_A_SECOND = 20;
const ROUND_MS = 1000;

/** What lets held steps go when no attempt's end does. Any number of processes may do it at once. */
export interface Releases {
  /**
   * Does what is due: lets one step try for each receiver that is down, lets steps go at a limited rate where a receiver
   * is up again or a pause has ended, and fills room that nobody has come for (a crash, a lost attempt).
   *
   * @returns how many steps were let go; their registrations are due then.
   */
  round(): Promise<number>;
  /** The names of the Actions whose receivers are taken to be down. */
  down(): Promise<string[]>;
}

/** @param workerSandboxes of each worker. */
export function createReleases({ database, workerSandboxes = DEFAULT_WORKER_SANDBOXES }: { database: Database; workerSandboxes?: number }): Releases {
  const { db } = database;

  /** Writes to one row of `flow`, as it is under its lock. */
  async function locked(id: string, work: (tx: Queryable, row: FlowRow, now: number) => Promise<number>): Promise<number> {
    return await database.transaction(async (tx) => {
      const row = await lockFlow(database, tx, id);
      const { now } = await tx.selectNoFrom(database.now.as('now')).executeTakeFirstOrThrow();
      return await work(tx, row, now);
    });
  }

  async function probe(id: string): Promise<number> {
    return await locked(id, async (tx, row, now) => {
      if (!isProbeDue(row, now)) return 0;
      const [stepId] = await letGo(database, tx, { actionId: actionIdOf(id), reasons: ['down'] }, 1);
      // Where nothing is held, the next claim tries.
      if (stepId === undefined) return 0;
      await changeFlow(tx, id, beginProbe(stepId, now, KEPT_MS), now);
      return 1;
    });
  }

  async function release(id: string, limit: number): Promise<number> {
    return await locked(id, async (tx, row, now) => {
      if (row.recovering_since === null || (row.next_release_at ?? 0) > now) return 0;
      const which: HeldSteps = id === POST_USER_REGISTRATION_FLOW ? { reasons: ['paused'] } : { actionId: actionIdOf(id), reasons: ['paused', 'down'] };
      const gone = await letGo(database, tx, which, limit);
      // Fewer than asked for does not mean that none is left: some may have been passed over.
      const isOver = gone.length === 0 && !(await isAnyHeld(tx, which));
      await changeFlow(tx, id, isOver ? { recovering_since: null, next_release_at: null } : { next_release_at: now + ROUND_MS }, now);
      return gone.length;
    });
  }

  async function fill(actionId: string, reason: 'concurrency' | 'busy'): Promise<number> {
    return await locked(flowIdOf(actionId), async (tx) => {
      // How many workers there are is not known; each has room for so many.
      const limit = reason === 'busy' ? shareOfOneAction(workerSandboxes) : await limitOf(tx, actionId);
      const { free } = await roomLeft(database, tx, actionId, limit);
      return free <= 0 ? 0 : (await letGo(database, tx, { actionId, reasons: [reason] }, free)).length;
    });
  }

  /** That of the step that waits for longest. */
  async function limitOf(tx: Queryable, actionId: string): Promise<number> {
    const oldest = await tx.selectFrom('step')
      .select('policy')
      .where('action_id', '=', actionId)
      .where('held_reason', '=', 'concurrency')
      .where('held_at', 'is not', null)
      .orderBy('held_at')
      .limit(1)
      .executeTakeFirst();
    return oldest === undefined ? 0 : (policyOf(oldest).concurrency ?? 0);
  }

  /** One statement for each, by an index: to read every held step each second would be dear. */
  async function actionsWithHeldSteps(): Promise<string[]> {
    const ids: string[] = [];
    for (;;) {
      const { next } = await db.selectFrom('step')
        .select(({ fn }) => fn.min<string | null>('action_id').as('next'))
        .where('held_at', 'is not', null)
        .where('action_id', '>', ids.at(-1) ?? '')
        .executeTakeFirstOrThrow();
      if (next === null) return ids;
      ids.push(next);
    }
  }

  return {
    async round() {
      const rows = await db.selectFrom('flow')
        .selectAll()
        .select(database.now.as('now'))
        .where((eb) => eb.or([eb('down_since', 'is not', null), eb('recovering_since', 'is not', null), eb('paused_at', 'is not', null)]))
        .execute();
      let count = 0;
      // While the trigger is paused, whatever is let go comes back.
      const isPaused = rows.some(({ id, paused_at: pausedAt }) => id === POST_USER_REGISTRATION_FLOW && pausedAt !== null);
      if (!isPaused) {
        const free = rows.filter((row) => row.paused_at === null);
        for (const row of free) if (isProbeDue(row, row.now)) count += await probe(row.id);
        const recovering = free.filter((row) => row.recovering_since !== null);
        for (const row of recovering) {
          if ((row.next_release_at ?? 0) <= row.now) count += await release(row.id, Math.ceil(RELEASES_A_SECOND / recovering.length));
        }
      }
      for (const actionId of await actionsWithHeldSteps()) {
        for (const reason of ['concurrency', 'busy'] as const) {
          if (await isAnyHeld(db, { actionId, reasons: [reason] })) count += await fill(actionId, reason);
        }
      }
      if (count > 0) database.signal('registration-due');
      return count;
    },

    async down() {
      const rows = await db.selectFrom('flow').select('id').where('down_since', 'is not', null).where('id', 'like', 'action/%').execute();
      if (rows.length === 0) return [];
      const ids = rows.map(({ id }) => actionIdOf(id));
      const actions = await db.selectFrom('action').select('name').where('id', 'in', ids).orderBy('name').execute();
      return actions.map(({ name }) => name);
    },
  };
}

function actionIdOf(flowId: string): string {
  return flowId.slice(flowId.indexOf('/') + 1);
}
