import { readRestored } from '../backup/restored.ts';
import type { Logger } from '../logger.ts';
import { repeat } from '../repeat.ts';
import type { Database } from '../store/database.ts';

const LOOK_EVERY_MS = 1_000;

/**
 * Notices that the store was restored from a backup under this process, whose memory is of another state then: it is to
 * end and start anew.
 *
 * @param deps.onRestored called once.
 * @returns what ends the watch.
 */
export async function watchRestores(deps: { database: Database; logger: Logger; onRestored(error: Error): void; everyMs?: number }): Promise<{ stop(): Promise<void> }> {
  const { database, logger } = deps;
  const atStart = await readRestored(database.db);
  let told = false;

  async function look(): Promise<void> {
    try {
      if (told || (await readRestored(database.db)) === atStart) return;
      told = true;
      deps.onRestored(new Error('the store was restored from a backup: this process ends, to be started anew on what is there now'));
    } catch (error) {
      logger.debug({ err: error }, 'the store did not say whether it was restored; asking again');
    }
  }

  return repeat(look, deps.everyMs ?? LOOK_EVERY_MS);
}
