import { nowIsoNanos, newId } from '../domain/ids.ts';
import { LIMITS } from '../domain/limits.ts';
import { managementError } from '../domain/api-error.ts';
import { type Page, readAction } from './actions.ts';
import type { Database, Queryable } from './database.ts';
import type { Row } from './schema.ts';

/** A version together with its Action, as the Management API shows them. */
export interface VersionOfAction {
  version: Row<'action_version'>;
  action: Row<'action'>;
}

/** Versions: made by a deploy, never changed. */
export interface VersionStore {
  /** @throws {ApiError} 404; 400 when the draft is not built. */
  deployDraft(actionId: string): Promise<VersionOfAction>;
  /**
   * Makes an older version the deployed one, as a new version with the next number.
   *
   * @throws {ApiError} 404 when there is no such Action or version.
   */
  deployVersion(actionId: string, versionId: string, options: { updateDraft: boolean }): Promise<VersionOfAction>;
  /** @throws {ApiError} 404 when there is no such Action or version. */
  find(actionId: string, versionId: string): Promise<VersionOfAction>;
  /** Newest first. @throws {ApiError} 404 when there is no such Action. */
  list(actionId: string, page: Page): Promise<{ total: number; versions: VersionOfAction[] }>;
}

export function createVersionStore({ database }: { database: Database }): VersionStore {
  const { db } = database;

  return {
    async deployDraft(actionId) {
      return await database.transaction(async (tx) => {
        const action = await readAction(tx, actionId);
        if (action.build_status !== 'built') {
          throw managementError(400, "A draft must be in the 'built' state before it can be deployed.");
        }
        return await addVersion(tx, action, { id: newId() });
      });
    },

    async deployVersion(actionId, versionId, { updateDraft }) {
      return await database.transaction(async (tx) => {
        const action = await readAction(tx, actionId);
        const { code, runtime, dependencies, modules, secret_names, secrets_sealed, trigger_version, archive_key, built_at } =
          await findIn(tx, actionId, versionId);
        const content = { code, runtime, dependencies, modules, secret_names, secrets_sealed, trigger_version, archive_key, built_at };
        const deployed = await addVersion(tx, { ...action, ...content }, { id: newId() });
        if (updateDraft) {
          await tx.updateTable('action')
            .set({
              ...content,
              build_status: 'built',
              build_errors: '[]',
              build_claimed_until: null,
              build_seq: action.build_seq + 1,
              updated_at: nowIsoNanos(),
            })
            .where('id', '=', actionId)
            .execute();
        }
        return { version: deployed.version, action: await readAction(tx, actionId) };
      });
    },

    async find(actionId, versionId) {
      const action = await readAction(db, actionId);
      return { version: await findIn(db, actionId, versionId), action };
    },

    async list(actionId, { page, perPage }) {
      const action = await readAction(db, actionId);
      const ofAction = db.selectFrom('action_version').where('action_id', '=', actionId);
      const { total } = await ofAction.select((eb) => eb.fn.countAll<number>().as('total')).executeTakeFirstOrThrow();
      const versions = await ofAction.selectAll().orderBy('number', 'desc').limit(perPage).offset(page * perPage).execute();
      return { total, versions: versions.map((version) => ({ version, action })) };
    },
  };
}

async function findIn(queryable: Queryable, actionId: string, versionId: string): Promise<Row<'action_version'>> {
  const version = await queryable.selectFrom('action_version').selectAll()
    .where('id', '=', versionId)
    .where('action_id', '=', actionId)
    .executeTakeFirst();
  // Auth0's words for it are in no public source; these follow those of a missing Action.
  if (version === undefined) throw managementError(404, 'That action version does not exist.');
  return version;
}

/**
 * Makes what `content` holds of an Action its next version, and that the deployed one. Removes the oldest versions
 * above Auth0's limit that no step needs.
 */
export async function addVersion(tx: Queryable, content: Row<'action'>, { id }: { id: string }): Promise<VersionOfAction> {
  const { last } = await tx.selectFrom('action_version')
    .select((eb) => eb.fn.max('number').as('last'))
    .where('action_id', '=', content.id)
    .executeTakeFirstOrThrow();
  const now = nowIsoNanos();
  const version: Row<'action_version'> = {
    id,
    action_id: content.id,
    action_name: content.name,
    number: (last ?? 0) + 1,
    trigger_id: content.trigger_id,
    trigger_version: content.trigger_version,
    code: content.code,
    runtime: content.runtime,
    dependencies: content.dependencies,
    modules: content.modules,
    secret_names: content.secret_names,
    secrets_sealed: content.secrets_sealed,
    key_id: content.key_id,
    archive_key: content.archive_key,
    built_at: content.built_at,
    created_at: now,
    updated_at: now,
  };
  await tx.insertInto('action_version').values(version).execute();
  const action = await tx.updateTable('action')
    .set({ deployed_version_id: id, deploy_version_id: null })
    .where('id', '=', content.id)
    .returningAll()
    .executeTakeFirstOrThrow();
  await removeOldest(tx, content.id, version.number);
  return { version, action };
}

async function removeOldest(tx: Queryable, actionId: string, deployedNumber: number): Promise<void> {
  const kept = tx.selectFrom('action_version').select('id')
    .where('action_id', '=', actionId)
    .orderBy('number', 'desc')
    .limit(LIMITS.versionsPerAction);
  await tx.deleteFrom('action_version')
    .where('action_id', '=', actionId)
    .where('number', '<', deployedNumber)
    .where('id', 'not in', kept)
    .where((eb) => eb.not(eb.exists(eb.selectFrom('step').select('step.id').whereRef('step.version_id', '=', 'action_version.id'))))
    .execute();
}
