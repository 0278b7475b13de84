import type { Logger } from '../logger.ts';
import type { Database } from '../store/database.ts';
import { removeExpired } from '../store/expired.ts';

const INTERVAL_MS = 10 * 60_000;

/** Removes now and then what has ended by itself. */
export interface ExpirySweep {
  start(): void;
  stop(): Promise<void>;
}

export function createExpirySweep({ database, logger, intervalMs = INTERVAL_MS }: { database: Database; logger: Logger; intervalMs?: number }): ExpirySweep {
  let timer: NodeJS.Timeout | undefined;
  let running: Promise<void> = Promise.resolve();

  async function round(): Promise<void> {
    try {
      await removeExpired(database);
    } catch (error) {
      logger.error({ err: error }, 'expired codes, tickets and counts could not be removed; trying again');
    }
  }

  return {
    start() {
      timer = setInterval(() => {
        running = running.then(round);
      }, intervalMs);
    },
    async stop() {
      clearInterval(timer);
      await running;
    },
  };
}
