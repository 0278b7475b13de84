import type { Readiness } from '../http/health-routes.ts';
import type { Database } from '../store/database.ts';
import { writeSetting } from '../store/settings.ts';

/** When the store was last found to work. */
const CHECK_SETTING = 'readiness_check';
/** However often it is asked. */
const CHECK_EVERY_MS = 1_000;

/**
 * Answers whether a role can do its work now: the api serves sign-ups durably, the worker runs registrations.
 *
 * @param deps.degraded what does not work fully, by name.
 * @param deps.missing what it cannot do its work without, by name, beside the store. @default nothing
 */
export function createReadiness({ database, degraded = () => ({}), missing = () => Promise.resolve({}) }: {
  database: Database;
  degraded?: () => Record<string, string>;
  missing?: () => Promise<Record<string, string>>;
}): () => Promise<Readiness> {
  let checkedAt = -Infinity;
  let check: Promise<Record<string, string>> = Promise.resolve({});

  /** By a write, because a full disk can still be read. @returns what is wrong. */
  async function tryStore(): Promise<Record<string, string>> {
    try {
      await writeSetting(database.db, CHECK_SETTING, String(Date.now()));
      return {};
    } catch (error) {
      return { store: error instanceof Error ? error.message : String(error) };
    }
  }

  return async () => {
    if (performance.now() - checkedAt > CHECK_EVERY_MS) {
      checkedAt = performance.now();
      check = Promise.all([tryStore(), missing()]).then(([store, others]) => ({ ...store, ...others }));
    }
    const problems = await check;
    return { ready: Object.keys(problems).length === 0, degraded: { ...degraded(), ...problems } };
  };
}
