import { allDead, isAlive, kill9 } from './processes.ts';
import type { SeededRandom } from './seeded-random.ts';
import { until } from './until.ts';
import type { TestUsher } from './usher.ts';

/** What a crash test kills. `everything`: the supervisor alone, whose children must die with it. */
export const KINDS = ['everything', 'api', 'worker', 'sandbox', 'temporal'] as const;
export type Kind = (typeof KINDS)[number];

/** A kill that has struck. */
export interface Kill {
  kind: Kind;
  pid: number;
  at: number;
  /** When it was seen to be dead; of `everything`, the last of its children. */
  deadAt: number;
}

/** A dead role is back after its pause, which grows up to 30 s. */
const TARGET_PATIENCE_MS = 40_000;
/** Children notice by a closed channel, or are killed by the kernel. */
const CHILDREN_DIE_MS = 40_000;

/** Waits until there is such a process, kills it with -9 and sees it die; of `everything`, all descendants too. */
export async function strike(usher: TestUsher, kind: Kind, random: SeededRandom): Promise<Kill> {
  const pid = await until(`there is a process to kill: ${kind}`, () => targetOf(usher, kind, random), TARGET_PATIENCE_MS);
  const children = kind === 'everything' ? usher.processes().all : [];
  const at = Date.now();
  await kill9(pid);
  if (kind === 'everything') await allDead(children, CHILDREN_DIE_MS);
  return { kind, pid, at, deadAt: Date.now() };
}

function targetOf(usher: TestUsher, kind: Kind, random: SeededRandom): number | undefined {
  if (kind === 'everything') return isAlive(usher.pid) ? usher.pid : undefined;
  const processes = usher.processes();
  if (kind === 'sandbox') return processes.sandboxes.length === 0 ? undefined : random.pick(processes.sandboxes);
  return processes[kind];
}
