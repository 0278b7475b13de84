import { managementError } from '../domain/api-error.ts';
import { readAction } from './actions.ts';
import { writeAudit } from './audit-log.ts';
import type { Database, Queryable } from './database.ts';
import { changeFlow, flowIdOf, type FlowRow, lockFlow, POST_USER_REGISTRATION_FLOW } from './flow-rows.ts';
import type { Keyring } from './keyring.ts';
import { recovering } from './receiver.ts';

/** How the steps of an Action, or of the whole trigger, may run now. Times in milliseconds since the epoch. */
export interface FlowState {
  paused: { since: number; by: string | null } | null;
  /** Its receiver is taken to be down. */
  down: { since: number; failures: number; nextProbeAt: number | null } | null;
  /** What was held is let go, the oldest first. */
  recoveringSince: number | null;
  /** Steps that are not tried now. */
  held: number;
}

export interface ActionFlow extends FlowState {
  actionId: string;
  /** Null when the Action was deleted. */
  name: string | null;
  /** Steps that wait for their long retries, held ones included. */
  parked: number;
}

/** Pausing and resuming, and what is held back. Each change is repeatable, and written to the tenant log. */
export interface FlowStore {
  /** @throws {ApiError} 404; 400 for an Action of another trigger. */
  pauseAction(actionId: string, clientId: string): Promise<ActionFlow>;
  /** Lets what is held go, the oldest first at a limited rate, also what is held because the receiver is taken to be down. @throws {ApiError} 404. */
  resumeAction(actionId: string, clientId: string): Promise<ActionFlow>;
  /** Of post-user-registration. */
  pauseTrigger(clientId: string): Promise<FlowState>;
  resumeTrigger(clientId: string): Promise<FlowState>;
  trigger(): Promise<FlowState>;
  /** The Actions that are paused, down or recovering. */
  actions(): Promise<ActionFlow[]>;
}

export function createFlowStore({ database, keyring }: { database: Database; keyring: Keyring }): FlowStore {
  const { db } = database;

  /** @returns whether something has changed. */
  async function pause(tx: Queryable, id: string, clientId: string): Promise<boolean> {
    const row = await lockFlow(database, tx, id);
    if (row.paused_at !== null) return false;
    const now = await nowOf(tx);
    await changeFlow(tx, id, { paused_at: now, paused_by: clientId }, now);
    return true;
  }

  async function resume(tx: Queryable, id: string): Promise<boolean> {
    const row = await lockFlow(database, tx, id);
    if (row.paused_at === null && row.down_since === null) return false;
    const now = await nowOf(tx);
    await changeFlow(tx, id, { paused_at: null, paused_by: null, ...recovering(now) }, now);
    return true;
  }

  async function nowOf(tx: Queryable): Promise<number> {
    return (await tx.selectNoFrom(database.now.as('now')).executeTakeFirstOrThrow()).now;
  }

  async function actionFlow(row: FlowRow): Promise<ActionFlow> {
    const actionId = row.id.slice('action/'.length);
    const action = await db.selectFrom('action').select('name').where('id', '=', actionId).executeTakeFirst();
    const counts = await db.selectFrom('step')
      .select(({ fn, eb }) => [
        fn.countAll<number>().filterWhere('held_reason', 'is not', null).as('held'),
        fn.countAll<number>().filterWhere(eb('state', '=', 'parked')).as('parked'),
      ])
      .where('action_id', '=', actionId)
      .where('state', 'in', ['pending', 'parked'])
      .executeTakeFirstOrThrow();
    return { actionId, name: action?.name ?? null, ...stateOf(row), ...counts };
  }

  async function readRow(id: string): Promise<FlowRow | undefined> {
    return await db.selectFrom('flow').selectAll().where('id', '=', id).executeTakeFirst();
  }

  async function readAfter(actionId: string): Promise<ActionFlow> {
    return await actionFlow((await readRow(flowIdOf(actionId))) as FlowRow);
  }

  async function trigger(): Promise<FlowState> {
    const row = await readRow(POST_USER_REGISTRATION_FLOW);
    const { held } = await db.selectFrom('step')
      .select(({ fn }) => fn.countAll<number>().as('held'))
      .where('held_reason', 'is not', null)
      .where('state', 'in', ['pending', 'parked'])
      .executeTakeFirstOrThrow();
    return { ...(row === undefined ? { paused: null, down: null, recoveringSince: null } : stateOf(row)), held };
  }

  return {
    async pauseAction(actionId, clientId) {
      await database.transaction(async (tx) => {
        const action = await readAction(tx, actionId);
        if (action.trigger_id !== 'post-user-registration') throw notOfPostUserRegistration(action.trigger_id);
        if (await pause(tx, flowIdOf(actionId), clientId)) await audit(tx, 'Pause an action', { action_id: actionId }, clientId);
      });
      return await readAfter(actionId);
    },

    async resumeAction(actionId, clientId) {
      await database.transaction(async (tx) => {
        // Steps of an Action that was deleted meanwhile may still wait.
        const isKnown = (await tx.selectFrom('flow').select('id').where('id', '=', flowIdOf(actionId)).executeTakeFirst()) !== undefined;
        if (!isKnown) await readAction(tx, actionId);
        if (await resume(tx, flowIdOf(actionId))) await audit(tx, 'Resume an action', { action_id: actionId }, clientId);
      });
      return await readAfter(actionId);
    },

    async pauseTrigger(clientId) {
      await database.transaction(async (tx) => {
        if (await pause(tx, POST_USER_REGISTRATION_FLOW, clientId)) await audit(tx, 'Pause a trigger', { trigger_id: 'post-user-registration' }, clientId);
      });
      return await trigger();
    },

    async resumeTrigger(clientId) {
      await database.transaction(async (tx) => {
        if (await resume(tx, POST_USER_REGISTRATION_FLOW)) await audit(tx, 'Resume a trigger', { trigger_id: 'post-user-registration' }, clientId);
      });
      return await trigger();
    },

    trigger,

    async actions() {
      const rows = await db.selectFrom('flow')
        .selectAll()
        .where('id', 'like', 'action/%')
        .where((eb) => eb.or([eb('paused_at', 'is not', null), eb('down_since', 'is not', null), eb('recovering_since', 'is not', null)]))
        .orderBy('id')
        .execute();
      return await Promise.all(rows.map(actionFlow));
    },
  };

  async function audit(tx: Queryable, description: string, details: Record<string, unknown>, clientId: string): Promise<void> {
    await writeAudit(tx, keyring, { clientId, description, details });
  }
}

function stateOf(row: FlowRow): Omit<FlowState, 'held'> {
  return {
    paused: row.paused_at === null ? null : { since: row.paused_at, by: row.paused_by },
    down: row.down_since === null ? null : { since: row.down_since, failures: row.failures, nextProbeAt: row.next_probe_at },
    recoveringSince: row.recovering_since,
  };
}

function notOfPostUserRegistration(triggerId: string): Error {
  const instead = triggerId === 'pre-user-registration'
    ? 'Sign-ups wait for the answer of pre-user-registration Actions, which can therefore not be paused: take it out of the bindings of its trigger (PATCH /api/v2/actions/triggers/pre-user-registration/bindings).'
    : `Actions of ${triggerId} do not run here, so there is nothing to pause.`;
  return managementError(400, instead, 'invalid_trigger');
}
