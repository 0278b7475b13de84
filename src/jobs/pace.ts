import { setImmediate as turn, setTimeout as sleep } from 'node:timers/promises';

/** What a slow moment has held up is made up for, up to this much. */
const MAX_BEHIND_MS = 100;

/** Lets its caller go on at most `rate` times a second, and everybody else have a turn in between. */
export type Pace = () => Promise<void>;

/** @param rate - turns a second. */
export function createPace(rate: number): Pace {
  let next = performance.now();
  return async () => {
    const now = performance.now();
    next = Math.max(next, now - MAX_BEHIND_MS);
    await (next - now > 1 ? sleep(next - now) : turn());
    next += 1000 / rate;
  };
}
