import type { Tally } from '../ledger.ts';
import { type LoadOptions, PATIENCE_MS, startLoadedUsher } from './loaded-usher.ts';
import { comparePhases, type Phase, type PhaseRow } from './phases.ts';

/*
 * Many registrations at once, as after an advertisement: what sign-ups wait for while the work drains, and whether memory
 * depends on how many there are. A small burst first, so that there is something to hold the memory of the large one
 * against.
 */

export interface BurstOptions extends LoadOptions {
  burst: number;
  smallBurst: number;
}

export interface Drain {
  registrations: number;
  /** From the first commit to the last one, and to the last close. */
  commitSeconds: number;
  seconds: number;
  tally: Tally;
}

export interface BurstResult {
  rows: PhaseRow[];
  drains: Drain[];
  phases: Phase[];
}

/** @param say gets what is being done, one call a line. @param signal ends it. */
export async function benchBurst({ burst, smallBurst, ...options }: BurstOptions, say: (line: string) => void, signal: AbortSignal): Promise<BurstResult> {
  await using ends = new AsyncDisposableStack();
  say('starting an Usher for bursts');
  const { ledger, phases, quiet, load } = await startLoadedUsher(ends, options, say, signal);
  const drains: Drain[] = [];

  async function drain(registrations: number): Promise<void> {
    const startedAt = Date.now();
    const range = await load(`${registrations} being committed`, () => ledger.register(registrations));
    const commitSeconds = (Date.now() - startedAt) / 1000;
    const closedAt = await load(`${registrations} being run`, () => ledger.allClosed(PATIENCE_MS, range));
    drains.push({ registrations, commitSeconds, seconds: (closedAt - startedAt) / 1000, tally: await ledger.tally(range) });
  }

  await quiet('before');
  await drain(smallBurst);
  await quiet('between');
  await drain(burst);
  await quiet('after');
  return { rows: comparePhases(phases), drains, phases };
}
