import type { Logger } from '../logger.ts';
import { repeat } from '../repeat.ts';
import type { Releases } from '../store/releases.ts';

const DEFAULT_INTERVAL_MS = 1_000;

/** Lets held steps go, again and again; see `Releases`. */
export interface ReleaseLoop {
  start(): void;
  stop(): Promise<void>;
  /** The names of the Actions whose receivers are taken to be down, as of the last round. */
  down(): string[];
}

/** @param deps.wake after registrations were made due; must not throw. */
export function createReleaseLoop(deps: { releases: Releases; wake(): void; logger: Logger; intervalMs?: number }): ReleaseLoop {
  const { releases, logger } = deps;
  let rounds: ReturnType<typeof repeat> | undefined;
  let down: string[] = [];

  function tellChanges(now: string[]): void {
    for (const action of now) if (!down.includes(action)) logger.warn({ action }, 'the receiver of an Action is taken to be down: its steps are held, and one at a time tries');
    for (const action of down) if (!now.includes(action)) logger.info({ action }, 'the receiver of an Action is up again: what is held is let go');
    down = now;
  }

  async function round(): Promise<void> {
    try {
      tellChanges(await releases.down());
      if ((await releases.round()) > 0) deps.wake();
    } catch (error) {
      logger.error({ err: error }, 'held steps could not be let go; trying again');
    }
  }

  return {
    start() {
      rounds = repeat(round, deps.intervalMs ?? DEFAULT_INTERVAL_MS);
    },
    async stop() {
      await rounds?.stop();
    },
    down: () => down,
  };
}
