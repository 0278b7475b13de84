import { readFile } from 'node:fs/promises';
import { type BenchUsher, temporalPid } from '../usher.ts';
import { rolePids } from './processes.ts';

const EVERY_MS = 250;

/** Resident memory in MiB, by process. */
export type Memory = Record<'api' | 'worker' | 'temporal', number>;

/** Watches how much memory the processes of an Usher have. */
export interface MemoryWatch {
  /** The most that each had at one time since this was asked before. @throws when one of them has ended meanwhile. */
  takePeaks(): Memory;
  stop(): void;
}

/** Linux only: reads `/proc`. Sandboxes are left out: there are as many as there are slots, whatever waits. */
export async function watchMemory(usher: BenchUsher): Promise<MemoryWatch> {
  const pids = { ...(await rolePids(usher.process.pid!)), temporal: await temporalPid(usher) };
  let peaks: Memory = await readMemory(pids);
  let failure: Error | null = null;

  async function look(): Promise<void> {
    try {
      const now = await readMemory(pids);
      peaks = { api: Math.max(peaks.api, now.api), worker: Math.max(peaks.worker, now.worker), temporal: Math.max(peaks.temporal, now.temporal) };
    } catch (error) {
      failure ??= new Error(`A process of the Usher under test has ended. It printed:\n${usher.output()}`, { cause: error });
    }
  }
  const timer = setInterval(() => void look(), EVERY_MS);

  return {
    takePeaks() {
      if (failure !== null) throw failure;
      const taken = peaks;
      peaks = { api: 0, worker: 0, temporal: 0 };
      return taken;
    },
    stop: () => clearInterval(timer),
  };
}

async function readMemory(pids: Record<keyof Memory, number>): Promise<Memory> {
  const [api, worker, temporal] = await Promise.all([residentMiB(pids.api), residentMiB(pids.worker), residentMiB(pids.temporal)]);
  return { api, worker, temporal };
}

async function residentMiB(pid: number): Promise<number> {
  const [, kiB] = /^VmRSS:\s+(\d+) kB$/m.exec(await readFile(`/proc/${pid}/status`, 'utf8')) ?? [];
  // A process that has ended and was not waited for has none.
  if (kiB === undefined) throw new Error(`Process ${pid} has no memory any more.`);
  return Number(kiB) / 1024;
}
