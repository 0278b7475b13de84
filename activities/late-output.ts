import { setTimeout as sleep } from 'node:timers/promises';
import type { LogLine } from '../src/domain/invocation.ts';

/** Each write opens, seals and writes all that the attempt has logged. */
const WRITE_EVERY_MS = 1000;

/**
 * Gathers the lines that left-over work of one attempt writes, which may be many, and writes them at most once a second.
 * They are few enough to be held: an attempt has a limit for all its output.
 *
 * @param write must not throw.
 */
export function createLateOutput(write: (lines: LogLine[]) => Promise<void>): (line: LogLine) => void {
  let waiting: LogLine[] = [];
  let isWriting = false;

  async function writeAll(): Promise<void> {
    isWriting = true;
    while (waiting.length > 0) {
      const lines = waiting;
      waiting = [];
      await write(lines);
      await sleep(WRITE_EVERY_MS, undefined, { ref: false });
    }
    isWriting = false;
  }

  return (line) => {
    waiting.push(line);
    if (!isWriting) void writeAll();
  };
}
