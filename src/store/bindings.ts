import { newId, nowIsoNanos } from '../domain/ids.ts';
import { DEFAULT_STEP_POLICY, parsePolicy, type StepPolicy } from '../domain/policy.ts';
import { type TriggerId, TRIGGERS } from '../domain/triggers.ts';
import { managementError } from '../domain/api-error.ts';
import { type ActionWithVersion, type Page, withVersions } from './actions.ts';
import type { SecretInput } from './action-secrets.ts';
import { replaceBindingSecrets } from './binding-secrets.ts';
import type { Database, Queryable } from './database.ts';
import type { Keyring } from './keyring.ts';
import type { Row } from './schema.ts';

/** One entry of the new order. What it leaves open stays as it was, or gets its default. */
export interface BindingInput {
  ref: { type: 'binding_id' | 'action_id' | 'action_name'; value: string };
  displayName?: string | undefined;
  /** Pre-user-registration: what a failure of the Action itself means. */
  onError?: 'deny' | 'allow' | undefined;
  /** Post-user-registration: makes its policy of the one that it had, or of the defaults; what it throws ends the change. */
  policy?: ((before: StepPolicy) => StepPolicy) | undefined;
  /** The whole set of its own secrets, which win over the Action's. */
  secrets?: SecretInput[] | undefined;
}

export interface BindingOfAction {
  binding: Row<'binding'>;
  bound: ActionWithVersion;
  /** JSON `[{name, updated_at}]` of its own secrets; null without any. */
  secretNames: string | null;
}

/** An Action that a trigger has to run, with the version that is deployed now. */
export interface BoundAction {
  bindingId: string;
  actionId: string;
  actionName: string;
  versionId: string;
  versionNumber: number;
  /** The binding's own secrets. */
  bindingSecretsId: string | null;
  policy: StepPolicy;
  onError: 'deny' | 'allow';
}

/** Which Actions run for which trigger, in which order. */
export interface BindingStore {
  list(triggerId: string, page: Page): Promise<{ total: number; bindings: BindingOfAction[] }>;
  /**
   * Replaces all bindings of a trigger; their order is the order of execution. An Action that was bound before keeps
   * its binding's id and settings. Registrations under way are not touched. Of several at the same moment, each is made
   * of what the one before has left, and the last one's order stays.
   *
   * @throws {ApiError} 400 when an entry cannot be bound; nothing is changed then.
   */
  replace(triggerId: string, inputs: BindingInput[]): Promise<BindingOfAction[]>;
}

export function createBindingStore({ database, keyring }: { database: Database; keyring: Keyring }): BindingStore {
  const { db } = database;
  return {
    async list(triggerId, { page, perPage }) {
      const ofTrigger = db.selectFrom('binding').where('trigger_id', '=', triggerId);
      const { total } = await ofTrigger.select((eb) => eb.fn.countAll<number>().as('total')).executeTakeFirstOrThrow();
      const bindings = await ofTrigger.selectAll().orderBy('position').limit(perPage).offset(page * perPage).execute();
      return { total, bindings: await withActions(db, bindings) };
    },

    async replace(triggerId, inputs) {
      return await database.transaction(async (tx) => {
        // Locked rows would not do: whoever waited for them finds them gone, and does not see those that came instead.
        await database.lockBindings(tx, triggerId);
        const before = await tx.selectFrom('binding').selectAll().where('trigger_id', '=', triggerId).execute();
        const rows: Row<'binding'>[] = [];
        for (const [position, input] of inputs.entries()) {
          const action = await resolve(tx, triggerId, input, before);
          if (rows.some((row) => row.action_id === action.id)) {
            throw managementError(400, `The action '${action.name}' is bound more than once.`);
          }
          const kept = before.find((binding) => binding.action_id === action.id);
          const row = kept === undefined ? newBinding(action, position, input) : changedBinding(kept, position, input);
          const { secrets: given } = input;
          if (given !== undefined) row.secrets_id = await replaceBindingSecrets(keyring, tx, { bindingId: row.id, given, before: row.secrets_id });
          rows.push(row);
        }
        // All go and come again, kept ids included: the new positions need not avoid the old ones. Who reads meanwhile
        // sees the old order until this transaction is committed.
        await tx.deleteFrom('binding').where('trigger_id', '=', triggerId).execute();
        if (rows.length > 0) await tx.insertInto('binding').values(rows).execute();
        return await withActions(tx, rows);
      });
    },
  };
}

/**
 * Reads the Actions bound to a trigger, in their order. In a transaction it takes no lock: what was bound at that
 * moment counts.
 */
export async function loadBoundActions(triggerId: TriggerId, queryable: Queryable): Promise<BoundAction[]> {
  const rows = await queryable.selectFrom('binding')
    .innerJoin('action', 'action.id', 'binding.action_id')
    .innerJoin('action_version', 'action_version.id', 'action.deployed_version_id')
    .select([
      'binding.id as bindingId',
      'action.id as actionId',
      'action.name as actionName',
      'action_version.id as versionId',
      'action_version.number as versionNumber',
      'binding.secrets_id as bindingSecretsId',
      'binding.policy as policy',
      'binding.on_error as onError',
    ])
    .where('binding.trigger_id', '=', triggerId)
    // Others are kept, and never run.
    .where('action_version.trigger_version', '=', TRIGGERS[triggerId].version)
    .orderBy('binding.position')
    .execute();
  return rows.map((row) => ({ ...row, policy: parsePolicy(row.policy) }));
}

/** The Action that an entry means, locked, so that it cannot be deleted before it is bound. */
async function resolve(tx: Queryable, triggerId: string, { ref }: BindingInput, before: Row<'binding'>[]): Promise<Row<'action'>> {
  let query = tx.selectFrom('action').selectAll().forUpdate();
  if (ref.type === 'action_name') query = query.where('name_key', '=', ref.value.toLowerCase());
  else {
    const actionId = ref.type === 'action_id' ? ref.value : before.find((binding) => binding.id === ref.value)?.action_id;
    if (actionId === undefined) throw managementError(400, `The binding '${ref.value}' does not exist.`);
    query = query.where('id', '=', actionId);
  }
  const action = await query.executeTakeFirst();
  if (action === undefined) throw managementError(400, `The action '${ref.value}' does not exist.`);
  if (action.trigger_id !== triggerId) {
    throw managementError(400, `The action '${action.name}' is for the trigger ${action.trigger_id} and cannot be bound to ${triggerId}.`);
  }
  if (action.deployed_version_id === null) {
    throw managementError(400, 'Trying to create a binding for an action that has not been deployed yet');
  }
  return action;
}

function newBinding(action: Row<'action'>, position: number, input: BindingInput): Row<'binding'> {
  const now = nowIsoNanos();
  return {
    id: newId(),
    trigger_id: action.trigger_id,
    action_id: action.id,
    display_name: input.displayName ?? action.name,
    position,
    policy: policyBy(input, DEFAULT_STEP_POLICY),
    on_error: input.onError ?? 'deny',
    secrets_id: null,
    created_at: now,
    updated_at: now,
  };
}

function changedBinding(kept: Row<'binding'>, position: number, input: BindingInput): Row<'binding'> {
  return {
    ...kept,
    display_name: input.displayName ?? kept.display_name,
    position,
    policy: policyBy(input, parsePolicy(kept.policy)),
    on_error: input.onError ?? kept.on_error,
    updated_at: nowIsoNanos(),
  };
}

function policyBy({ policy }: BindingInput, before: StepPolicy): string {
  return JSON.stringify(policy?.(before) ?? before);
}

async function withActions(queryable: Queryable, bindings: Row<'binding'>[]): Promise<BindingOfAction[]> {
  if (bindings.length === 0) return [];
  const actions = await queryable.selectFrom('action').selectAll()
    .where('id', 'in', bindings.map((binding) => binding.action_id))
    .execute();
  const byId = new Map((await withVersions(queryable, actions)).map((bound) => [bound.action.id, bound]));
  const secrets = await queryable.selectFrom('binding_secrets').select(['id', 'secret_names'])
    .where('id', 'in', bindings.map((binding) => binding.secrets_id ?? ''))
    .execute();
  const namesById = new Map(secrets.map(({ id, secret_names: names }) => [id, names]));
  return bindings.flatMap((binding) => {
    const bound = byId.get(binding.action_id);
    return bound === undefined ? [] : [{ binding, bound, secretNames: namesById.get(binding.secrets_id ?? '') ?? null }];
  });
}
