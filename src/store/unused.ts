import type { Database } from './database.ts';

/**
 * A registration or a build that is being committed may take up something that nothing refers to yet. No transaction
 * lasts this long.
 */
const GRACE_MS = 60 * 60 * 1000;

/**
 * Removes what no Action and no step needs any more: versions of deleted Actions with their data keys, and archives of
 * dependencies.
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
    await tx.deleteFrom('dependency_archive')
      .where('created_at', '<', before)
      .where('key', 'not in', tx.selectFrom('action').select('archive_key').where('archive_key', 'is not', null).$castTo<{ archive_key: string }>())
      .where('key', 'not in', tx.selectFrom('action_version').select('archive_key').where('archive_key', 'is not', null).$castTo<{ archive_key: string }>())
      .execute();
  });
}
