import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
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

/** Makes this process, and what it starts from now on, give way to an api in the same session. */
export function giveWayToApi(): void {
  bestEffort(() => setPriority(BACKGROUND));
  keepTo('first', process.pid);
}

/**
 * Keeps a process, and what it starts from now on, to one half of the processors that we may use: the api to the last ones,
 * what works behind it to the first. Priorities alone do not do: the thread that hashes a password is often woken where a
 * burst of work runs, while another processor is idle, and took five times as long there.
 *
 * Best effort, as `giveWay`: Linux with util-linux or BusyBox, and two processors at least.
 */
export function keepTo(half: 'first' | 'last', pid: number): void {
  if (process.platform !== 'linux') return;
  bestEffort(() => {
    const all = usableProcessors();
    const middle = Math.floor(all.length / 2);
    if (middle === 0) return;
    const ours = half === 'first' ? all.slice(0, middle) : all.slice(middle);
    spawnSync('taskset', ['-a', '-c', '-p', ours.join(','), String(pid)], { stdio: 'ignore' });
  });
}

/** By number. */
function usableProcessors(): number[] {
  const [, list = ''] = /^Cpus_allowed_list:\s*(.+)$/m.exec(readFileSync('/proc/self/status', 'utf8')) ?? [];
  return list.split(',').flatMap((range) => {
    const [first = Number.NaN, last = first] = range.split('-').map(Number);
    return Array.from({ length: last - first + 1 }, (_, index) => first + index);
  });
}

function bestEffort(set: () => void): void {
  try {
    set();
  } catch {
    // Not allowed here, a kernel without autogroups, or the process has ended already.
  }
}
