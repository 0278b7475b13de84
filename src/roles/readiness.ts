import type { Readiness } from '../http/health-routes.ts';
import type { Database } from '../store/database.ts';
import { writeSetting } from '../store/settings.ts';

/** When the store was last found to work. */
const CHECK_SETTING = 'readiness_check';
/** However often it is asked. */
const CHECK_EVERY_MS = 1_000;

/**
 * Answers whether sign-ups are served durably now.
 *
 * @param degraded what does not work fully, by name.
 */
export function createReadiness({ database, degraded }: { database: Database; degraded: () => Record<string, string> }): () => Promise<Readiness> {
  let checkedAt = -Infinity;
  let check: Promise<string | null> = Promise.resolve(null);

  /** By a write, because a full disk can still be read. @returns what is wrong. */
  async function tryStore(): Promise<string | null> {
    try {
      await writeSetting(database.db, CHECK_SETTING, String(Date.now()));
      return null;
    } catch (error) {
      return error instanceof Error ? error.message : String(error);
    }
  }

  return async () => {
    if (performance.now() - checkedAt > CHECK_EVERY_MS) {
      checkedAt = performance.now();
      check = tryStore();
    }
    const problem = await check;
    return problem === null ? { ready: true, degraded: degraded() } : { ready: false, degraded: { ...degraded(), store: problem } };
  };
}
