import type { Database, Queryable } from './database.ts';
import { modulesOf } from './module-references.ts';

/**
 * A registration or a build that is being committed may take up something that nothing refers to yet. No transaction
 * lasts this long.
 */
const GRACE_MS = 60 * 60 * 1000;

/**
 * Removes what no Action, no binding and no step needs any more: versions of deleted Actions, versions of deleted modules
 * and secrets of bindings, with their data keys, and archives of dependencies.
 *
 * @param now - milliseconds since the epoch
 */
export async function removeUnused(database: Database, now = Date.now()): Promise<void> {
  const before = now - GRACE_MS;
  await database.transaction(async (tx) => {
    const removed = await tx.deleteFrom('action_version')
      // Set to the time of the deletion when its Action was deleted.
      .where('updated_at', '<', new Date(before).toISOString())
      .where('action_id', 'not in', tx.selectFrom('action').select('id'))
      .where((eb) => eb.not(eb.exists(eb.selectFrom('step').select('step.id').whereRef('step.version_id', '=', 'action_version.id'))))
      .returning('key_id')
      .execute();
    const keys = [...new Set(removed.map((version) => version.key_id))];
    if (keys.length > 0) {
      await tx.deleteFrom('data_key')
        .where('id', 'in', keys)
        .where('id', 'not in', tx.selectFrom('action_version').select('key_id'))
        .execute();
    }
    await removeBindingSecrets(tx, { now, before });
    await removeModuleVersions(tx);
    await tx.deleteFrom('dependency_archive')
      .where('created_at', '<', before)
      .where('key', 'not in', tx.selectFrom('action').select('archive_key').where('archive_key', 'is not', null).$castTo<{ archive_key: string }>())
      .where('key', 'not in', tx.selectFrom('action_version').select('archive_key').where('archive_key', 'is not', null).$castTo<{ archive_key: string }>())
      .execute();
  });
}

/** What is found unbound is only marked at first: a registration that is being committed may still take it up. */
async function removeBindingSecrets(tx: Queryable, { now, before }: { now: number; before: number }): Promise<void> {
  await tx.updateTable('binding_secrets')
    .set({ unbound_at: now })
    .where('unbound_at', 'is', null)
    .where((eb) => eb.not(eb.exists(eb.selectFrom('binding').select('binding.id').whereRef('binding.secrets_id', '=', 'binding_secrets.id'))))
    .execute();
  const removed = await tx.deleteFrom('binding_secrets')
    .where('unbound_at', '<', before)
    .where((eb) => eb.not(eb.exists(eb.selectFrom('step').select('step.id').whereRef('step.binding_secrets_id', '=', 'binding_secrets.id'))))
    .returning('key_id')
    .execute();
  if (removed.length > 0) await tx.deleteFrom('data_key').where('id', 'in', removed.map((row) => row.key_id)).execute();
}

/** Versions of deleted modules that no draft and no version of an Action names; who runs a version has its Action's. */
async function removeModuleVersions(tx: Queryable): Promise<void> {
  const orphans = await tx.selectFrom('action_module_version').select(['id', 'key_id'])
    .where('module_id', 'not in', tx.selectFrom('action_module').select('id'))
    .execute();
  if (orphans.length === 0) return;
  const users = [
    ...(await tx.selectFrom('action').select('modules').where('modules', '<>', '[]').execute()),
    ...(await tx.selectFrom('action_version').select('modules').distinct().where('modules', '<>', '[]').execute()),
  ];
  const used = new Set(users.flatMap(modulesOf).map(({ module_version_id: id }) => id));
  const removed = orphans.filter(({ id }) => !used.has(id));
  if (removed.length === 0) return;
  await tx.deleteFrom('action_module_version').where('id', 'in', removed.map(({ id }) => id)).execute();
  await tx.deleteFrom('data_key')
    .where('id', 'in', removed.map((version) => version.key_id))
    .where('id', 'not in', tx.selectFrom('action_module_version').select('key_id'))
    .execute();
}
