import { writeFileSync } from 'node:fs';
import { setPriority } from 'node:os';

/**
 * As a nice value: about a tenth of what a sign-up gets of a busy processor, and all of an idle one. Not less: a worker that
 * is held back for long inside a transaction keeps sign-ups waiting for its lock, and Actions run out of time.
 */
const BACKGROUND = 10;

/**
 * Makes a process that was started a moment ago, in a session of its own, give way to sign-ups while the processor is
 * busy.
 *
 * Best effort: where the system does not let us, everything runs all the same, and sign-ups are slower under load.
 */
export function giveWay(pid: number): void {
  bestEffort(() => setPriority(pid, BACKGROUND));
  // Linux shares the processor between sessions before it looks at their processes; source: sched(7), autogroups.
  if (process.platform === 'linux') bestEffort(() => writeFileSync(`/proc/${pid}/autogroup`, String(BACKGROUND)));
}

/** Makes this process, and the threads that it starts from now on, give way to an api in the same session. */
export function giveWayToApi(): void {
  bestEffort(() => setPriority(BACKGROUND));
}

function bestEffort(set: () => void): void {
  try {
    set();
  } catch {
    // Not allowed here, a kernel without autogroups, or the process has ended already.
  }
}
