import type { Logger } from '../logger.ts';
import type { Database } from '../store/database.ts';

const INTERVAL_MS = 10 * 60_000;

/** Removes codes, tickets and counts that have ended: nothing reads them any more. */
export interface ExpirySweep {
  start(): void;
  stop(): Promise<void>;
}

export function createExpirySweep({ database, logger, intervalMs = INTERVAL_MS }: { database: Database; logger: Logger; intervalMs?: number }): ExpirySweep {
  const { db, now } = database;
  let timer: NodeJS.Timeout | undefined;
  let running: Promise<void> = Promise.resolve();

  async function round(): Promise<void> {
    try {
      for (const table of ['passwordless_code', 'ticket', 'counter'] as const) await db.deleteFrom(table).where('expires_at', '<=', now).execute();
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
