import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';

/** Names a running process beyond its pid, which the system gives again to another process. */
export interface ProcessIdentity {
  pid: number;
  /** Differs between any two processes that had the same pid. */
  startedAt: string;
}

/** The identity of the process that has this pid now, or null when there is none or it is already dead. */
export function processIdentity(pid: number): ProcessIdentity | null {
  const startedAt = process.platform === 'linux' ? startOnLinux(pid) : askPs(pid, 'lstart=');
  return startedAt === null ? null : { pid, startedAt };
}

/** True while that very process runs. */
export function isRunning(identity: ProcessIdentity): boolean {
  return processIdentity(identity.pid)?.startedAt === identity.startedAt;
}

/** The command line of a running process; empty when there is none. */
export function commandLineOf(pid: number): string {
  if (process.platform !== 'linux') return askPs(pid, 'command=') ?? '';
  return (readProc(`/proc/${pid}/cmdline`) ?? '').replaceAll('\0', ' ');
}

/** Start in clock ticks since boot, with the boot's id. Source: proc_pid_stat(5), fields 3 and 22. */
function startOnLinux(pid: number): string | null {
  const stat = readProc(`/proc/${pid}/stat`);
  if (stat === null) return null;
  // The program's name stands in brackets and may hold anything, so count from behind it.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const [state, ticks] = [fields[0], fields[19]];
  if (state === 'Z' || state === 'X' || ticks === undefined) return null;
  return `${readProc('/proc/sys/kernel/random/boot_id')?.trim() ?? ''} ${ticks}`;
}

function readProc(path: string): string | null {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === 'ENOENT' || code === 'ESRCH') return null;
    throw error;
  }
}

function askPs(pid: number, field: string): string | null {
  try {
    return execFileSync('ps', ['-o', field, '-p', String(pid)], { encoding: 'utf8' }).trim() || null;
  } catch (error) {
    // `ps` ends with 1 when there is no such process.
    if ((error as { status?: number }).status === 1) return null;
    throw error;
  }
}
