import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from '../logger.ts';

const INTERVAL_MS = 15_000;
/** Between two batches: what removes a million rows must not hold up sign-ups. */
const PAUSE_MS = 50;

/** Work that is done now and then in small batches, each harmless to repeat. */
export interface UpkeepTask {
  /** Ends the sentence "… could not be done; trying again". */
  name: string;
  /** One batch. @returns whether there may be more at once. */
  step(): Promise<boolean>;
}

/** Does the tasks every 15 s, in turns, each until it has nothing more to do. */
export interface Upkeep {
  start(): void;
  /** Begins now. */
  wake(): void;
  /** Ends after the batch under way. */
  stop(): Promise<void>;
}

export function createUpkeep({ tasks, logger, intervalMs = INTERVAL_MS }: { tasks: UpkeepTask[]; logger: Logger; intervalMs?: number }): Upkeep {
  const stopping = new AbortController();
  /** Those that may have something to do, the next one first. */
  const waiting = new Set<UpkeepTask>();
  let running: Promise<void> | null = null;
  let timer: NodeJS.Timeout | undefined;

  async function hasMore({ name, step }: UpkeepTask): Promise<boolean> {
    try {
      return await step();
    } catch (error) {
      logger.error({ err: error }, `${name} could not be done; trying again`);
      return false;
    }
  }

  /** One batch of each in turn: who is to be erased does not wait until a million rows are removed that are too old. */
  async function work(): Promise<void> {
    for (const task of waiting) {
      waiting.delete(task);
      if (stopping.signal.aborted || !(await hasMore(task))) continue;
      // Its next turn comes after those that wait.
      waiting.add(task);
      await sleep(PAUSE_MS, undefined, { signal: stopping.signal }).catch(() => undefined);
    }
    running = null;
  }

  function wake(): void {
    for (const task of tasks) waiting.add(task);
    running ??= work();
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
