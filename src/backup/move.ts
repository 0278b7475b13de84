import type { Database } from '../store/database.ts';
import { readSetting, writeSetting } from '../store/settings.ts';
import { BackupError } from './backup-error.ts';
import { load } from './load.ts';
import type { Sums } from './page.ts';
import { holdsUsher } from './restore.ts';
import { beginAnew } from './restored.ts';
import { readSnapshot, waitForUs } from './snapshot.ts';

const MOVE_SETTING = 'moved_here';

/** Whether the move with this id has arrived in the store, whole. */
export async function hasArrived(target: Database, moveId: string): Promise<boolean> {
  return (await holdsUsher(target, target.db)) && (await readSetting(target.db, MOVE_SETTING)) === moveId;
}

/**
 * Copies everything in `source`, which nobody else may write to, to the empty store `target`, in one transaction: all of
 * it or nothing. Every open registration is due there. The source is only read.
 *
 * @param options.moveId tells this move from another one afterwards.
 * @throws {BackupError} when the target is not empty, or does not take or keep a row as it was; nothing is changed then.
 */
export async function move(source: Database, target: Database, { moveId, signal }: { moveId: string; signal: AbortSignal }): Promise<Sums> {
  return await readSnapshot(source, (snapshot) =>
    target.transaction(async (tx) => {
      await waitForUs(target, tx);
      await target.lockSchema(tx);
      if (await holdsUsher(target, tx)) throw new BackupError('The database that DATABASE_URL names holds a store of Usher already: give an empty one. Nothing was changed.');
      const sums = await load(target, tx, snapshot, signal);
      await beginAnew(target, tx, { atLeast: 1 });
      await writeSetting(tx, MOVE_SETTING, moveId);
      return sums;
    }));
}
