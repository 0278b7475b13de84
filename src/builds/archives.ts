import { createHash } from 'node:crypto';
import type { Queryable } from '../store/database.ts';

/** Names the tree that a lockfile gives on this Node and platform. The same dependencies of two Actions share one archive. */
export function archiveKeyOf(lockfile: string): string {
  const [nodeMajor] = process.versions.node.split('.');
  return createHash('sha256').update(JSON.stringify([lockfile, nodeMajor, process.platform, process.arch])).digest('hex');
}

/** Puts a packed `node_modules` into the store and returns its key. */
export async function keepArchive(tx: Queryable, { lockfile, archive }: { lockfile: string; archive: Uint8Array }): Promise<string> {
  const key = archiveKeyOf(lockfile);
  const createdAt = Date.now();
  await tx.insertInto('dependency_archive')
    .values({ key, lockfile, archive, created_at: createdAt })
    // Young again, so that `removeUnused` lets it live until the draft that is built with it is committed.
    .onConflict((conflict) => conflict.column('key').doUpdateSet({ created_at: createdAt }))
    .execute();
  return key;
}

/** The lockfile behind an archive; undefined when the archive is not in the store. */
export async function findLockfile(db: Queryable, key: string): Promise<string | undefined> {
  const row = await db.selectFrom('dependency_archive').select('lockfile').where('key', '=', key).executeTakeFirst();
  return row?.lockfile;
}
