import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from '../logger.ts';

const INTERVAL_MS = 60_000;
/** Between two batches: what removes a million rows must not hold up sign-ups. */
const PAUSE_MS = 50;

/** Work that is done now and then in small batches, each harmless to repeat. */
export interface UpkeepTask {
  /** Ends the sentence "… could not be done; trying again". */
  name: string;
  /** One batch. @returns whether there may be more at once. */
  step(): Promise<boolean>;
}

/** Goes through the tasks once a minute, each until it has nothing more to do. */
export interface Upkeep {
  start(): void;
  /** Begins a round now. */
  wake(): void;
  /** Ends after the batch under way. */
  stop(): Promise<void>;
}

export function createUpkeep({ tasks, logger, intervalMs = INTERVAL_MS }: { tasks: UpkeepTask[]; logger: Logger; intervalMs?: number }): Upkeep {
  const stopping = new AbortController();
  let running: Promise<void> = Promise.resolve();
  let isWaiting = false;
  let timer: NodeJS.Timeout | undefined;

  async function run({ name, step }: UpkeepTask): Promise<void> {
    try {
      while (!stopping.signal.aborted && (await step())) await sleep(PAUSE_MS, undefined, { signal: stopping.signal }).catch(() => undefined);
    } catch (error) {
      logger.error({ err: error }, `${name} could not be done; trying again`);
    }
  }

  async function round(before: Promise<void>): Promise<void> {
    await before;
    isWaiting = false;
    for (const task of tasks) await run(task);
  }

  /** Of several calls during a round, one more follows it. */
  function wake(): void {
    if (isWaiting) return;
    isWaiting = true;
    running = round(running);
  }

  return {
    start() {
      timer = setInterval(wake, intervalMs);
      wake();
    },
    wake,
    async stop() {
      clearInterval(timer);
      stopping.abort();
      await running;
    },
  };
}
