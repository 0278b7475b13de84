import { findAuth0Trigger, runsHere, runtimesOf } from '../domain/auth0-triggers.ts';
import { newId, nowIsoNanos } from '../domain/ids.ts';
import { LIMITS } from '../domain/limits.ts';
import { managementError } from '../domain/api-error.ts';
import { namesOf, replaceSecrets, type SecretInput, secretsContext } from './action-secrets.ts';
import { type Database, type Queryable, uniqueViolation } from './database.ts';
import type { Keyring } from './keyring.ts';
import { type ModuleInput, resolveModules } from './module-references.ts';
import type { NewRow, Row } from './schema.ts';

/** A part of a list. */
export interface Page {
  /** From 0. */
  page: number;
  perPage: number;
}

/** The content of a draft, checked against Auth0's limits. */
export interface DraftInput {
  name: string;
  trigger: { id: string; version: string };
  code: string;
  runtime: string;
  dependencies: { name: string; version: string }[];
  secrets: SecretInput[];
  modules: ModuleInput[];
}

/** A change of a draft: what is undefined stays. */
export type DraftChange = { [K in keyof DraftInput]?: DraftInput[K] | undefined };

export interface ActionFilter {
  triggerId?: string | undefined;
  actionName?: string | undefined;
  deployed?: boolean | undefined;
}

/** An Action's draft and the version of it that is deployed. */
export interface ActionWithVersion {
  action: Row<'action'>;
  deployed: Row<'action_version'> | null;
}

/** Actions and their drafts. A changed draft waits for the builder: who changes one should wake it. */
export interface ActionStore {
  /**
   * @param options.deploy - deploy the draft as soon as it is built.
   * @throws {ApiError} 400 at the limit, for a runtime that the trigger does not have or an unknown module, 409 when the name is taken.
   */
  create(input: DraftInput, options: { deploy: boolean }): Promise<ActionWithVersion>;
  /**
   * Changes the draft; what is deployed stays. A wish to deploy what was being built ends with it.
   *
   * @throws {ApiError} 404, 400 for another trigger, a runtime that it does not have or an unknown module, 409 when the name is taken.
   */
  update(id: string, input: DraftChange): Promise<ActionWithVersion>;
  /** @throws {ApiError} 404. */
  find(id: string): Promise<ActionWithVersion>;
  /** Oldest first. */
  list(filter: ActionFilter, page: Page): Promise<{ total: number; actions: ActionWithVersion[] }>;
  /**
   * Deletes an Action. Its versions stay while a step needs them.
   *
   * @throws {ApiError} 404; 409 when it is bound, unless `force`, which ends its bindings.
   */
  remove(id: string, options: { force: boolean }): Promise<void>;
}

export function createActionStore({ database, keyring }: { database: Database; keyring: Keyring }): ActionStore {
  const { db } = database;

  return {
    async create(input, { deploy }) {
      return await refusingTakenNames(input.name, () => database.transaction(async (tx) => {
        const { count } = await tx.selectFrom('action').select((eb) => eb.fn.countAll<number>().as('count')).executeTakeFirstOrThrow();
        if (count >= LIMITS.actions) {
          throw managementError(400, `There can be at most ${LIMITS.actions} actions: delete one that is not needed.`);
        }
        checkRuntime(input.trigger, input.runtime);
        const now = nowIsoNanos();
        const id = newId();
        const keyId = await keyring.newDataKey(tx);
        const row: NewRow<'action'> = {
          id,
          name: input.name,
          name_key: input.name.toLowerCase(),
          trigger_id: input.trigger.id,
          trigger_version: input.trigger.version,
          code: input.code,
          runtime: input.runtime,
          dependencies: JSON.stringify(input.dependencies),
          modules: JSON.stringify(await resolveModules(tx, input.modules)),
          ...(await replaceSecrets(keyring, tx, { context: secretsContext(id), keyId, runs: runsHere(input.trigger.id, input.trigger.version) }, input.secrets, null)),
          key_id: keyId,
          build_status: 'pending',
          build_errors: '[]',
          build_seq: 1,
          build_claimed_until: null,
          built_at: null,
          archive_key: null,
          deploy_version_id: deploy ? newId() : null,
          deployed_version_id: null,
          created_at: now,
          updated_at: now,
        };
        const action = await tx.insertInto('action').values(row).returningAll().executeTakeFirstOrThrow();
        return { action, deployed: null };
      }));
    },

    async update(id, input) {
      return await refusingTakenNames(input.name ?? '', () => database.transaction(async (tx) => {
        const action = await readAction(tx, id);
        if (input.trigger !== undefined && input.trigger.id !== action.trigger_id) {
          throw managementError(400, "can't upgrade to this trigger.");
        }
        const trigger = input.trigger ?? { id: action.trigger_id, version: action.trigger_version };
        const runtime = input.runtime ?? action.runtime;
        if (trigger.version !== action.trigger_version || runtime !== action.runtime) checkRuntime(trigger, runtime);
        const name = input.name ?? action.name;
        const dependencies = input.dependencies === undefined ? action.dependencies : JSON.stringify(input.dependencies);
        const modules = input.modules === undefined ? action.modules : JSON.stringify(await resolveModules(tx, input.modules));
        const changed = await tx.updateTable('action')
          .set({
            name,
            name_key: name.toLowerCase(),
            trigger_version: trigger.version,
            code: input.code ?? action.code,
            runtime,
            dependencies,
            modules,
            archive_key: modules !== action.modules || needsInstall(action, input.dependencies) ? null : action.archive_key,
            // Also when none are sent: what runs from now on needs the values that it could be without before.
            ...(await replaceSecrets(keyring, tx, { context: secretsContext(id), keyId: action.key_id, runs: runsHere(trigger.id, trigger.version) }, input.secrets ?? namesOf(action), action)),
            build_status: 'pending',
            build_errors: '[]',
            build_seq: action.build_seq + 1,
            build_claimed_until: null,
            built_at: null,
            deploy_version_id: null,
            updated_at: nowIsoNanos(),
          })
          .where('id', '=', id)
          .returningAll()
          .executeTakeFirstOrThrow();
        return await withVersion(tx, changed);
      }));
    },

    async find(id) {
      return await withVersion(db, await readAction(db, id));
    },

    async list(filter, { page, perPage }) {
      let matching = db.selectFrom('action');
      if (filter.triggerId !== undefined) matching = matching.where('trigger_id', '=', filter.triggerId);
      if (filter.actionName !== undefined) matching = matching.where('name_key', '=', filter.actionName.toLowerCase());
      if (filter.deployed !== undefined) matching = matching.where('deployed_version_id', filter.deployed ? 'is not' : 'is', null);
      const { total } = await matching.select((eb) => eb.fn.countAll<number>().as('total')).executeTakeFirstOrThrow();
      const actions = await matching.selectAll().orderBy('id').limit(perPage).offset(page * perPage).execute();
      return { total, actions: await withVersions(db, actions) };
    },

    async remove(id, { force }) {
      await database.transaction(async (tx) => {
        const action = await readAction(tx, id);
        const bound = await tx.selectFrom('binding').select('id').where('action_id', '=', id).executeTakeFirst();
        if (bound !== undefined && !force) throw managementError(409, 'Unable to delete an action bound to a trigger.');
        await tx.deleteFrom('binding').where('action_id', '=', id).execute();
        await tx.deleteFrom('action').where('id', '=', id).execute();
        // From now on they are only what steps under way need; `removeUnused` takes them away when none does.
        const { numUpdatedRows } = await tx.updateTable('action_version')
          .set({ updated_at: nowIsoNanos() })
          .where('action_id', '=', id)
          .executeTakeFirst();
        if (numUpdatedRows === 0n) await tx.deleteFrom('data_key').where('id', '=', action.key_id).execute();
      });
    },
  };
}

/**
 * Reads an Action; in a transaction, nobody else can change or delete it until that ends.
 *
 * @throws {ApiError} 404.
 */
export async function readAction(queryable: Queryable, id: string): Promise<Row<'action'>> {
  let query = queryable.selectFrom('action').selectAll().where('id', '=', id);
  if (queryable.isTransaction) query = query.forUpdate();
  const action = await query.executeTakeFirst();
  if (action === undefined) throw managementError(404, 'That action does not exist.');
  return action;
}

async function withVersion(queryable: Queryable, action: Row<'action'>): Promise<ActionWithVersion> {
  const [found] = await withVersions(queryable, [action]);
  return found!;
}

/** Whoever sends `latest` or a range again wants what it means now; the same exact versions are installed already. */
function needsInstall(action: Row<'action'>, sent: DraftInput['dependencies'] | undefined): boolean {
  if (sent === undefined) return false;
  return JSON.stringify(sent) !== action.dependencies || sent.some(({ version }) => !/^\d+\.\d+\.\d+/.test(version));
}

/** @throws {ApiError} 400 in Auth0's words when Actions of the trigger cannot have the runtime. */
function checkRuntime(trigger: DraftInput['trigger'], runtime: string): void {
  const row = findAuth0Trigger(trigger.id, trigger.version);
  const runtimes = row === undefined ? [] : runtimesOf(row);
  if (runtimes.includes(runtime)) return;
  throw managementError(400, `runtime not supported for version ${trigger.version} of this trigger, supported runtimes: ${runtimes.join(', ')}`);
}

/** Adds to each Action its deployed version. */
export async function withVersions(queryable: Queryable, actions: Row<'action'>[]): Promise<ActionWithVersion[]> {
  const ids = actions.flatMap((action) => action.deployed_version_id ?? []);
  if (ids.length === 0) return actions.map((action) => ({ action, deployed: null }));
  const versions = await queryable.selectFrom('action_version').selectAll().where('id', 'in', ids).execute();
  const byId = new Map(versions.map((version) => [version.id, version]));
  return actions.map((action) => ({ action, deployed: byId.get(action.deployed_version_id ?? '') ?? null }));
}

/** Auth0's answer to a taken name is in no public source: 409, as for what else is taken there. */
async function refusingTakenNames<T>(name: string, write: () => Promise<T>): Promise<T> {
  try {
    return await write();
  } catch (error) {
    if (uniqueViolation(error)?.columns.includes('name_key') !== true) throw error;
    throw managementError(409, `An action with the name '${name}' already exists.`);
  }
}
