import { spawnSync } from 'node:child_process';
import { readdir, readFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import type { BenchUsher } from '../usher.ts';

/** The processes of an Usher under test. Linux only: reads `/proc`. */

interface Found {
  pid: number;
  parent: number;
  /** Its arguments, each with a NUL character after it. */
  command: string;
}

/** The processes that the supervisor has started for its roles. */
export async function rolePids(supervisor: number): Promise<{ api: number; worker: number }> {
  return rolesAmong(await allProcesses(), supervisor);
}

function rolesAmong(all: Found[], supervisor: number): { api: number; worker: number } {
  const found: Record<string, number> = {};
  for (const { pid, parent, command } of all) {
    const [, role] = /\0--role\0(\w+)\0/.exec(command) ?? [];
    if (role !== undefined && parent === supervisor) found[role] = pid;
  }
  const { api, worker } = found;
  if (api === undefined || worker === undefined) throw new Error('The processes of the Usher under test were not found in /proc.');
  return { api, worker };
}

/**
 * Gives the api, and us who sign up, the first processor alone, and everything else of the Usher the others: as where
 * worker and Temporal run on machines of their own.
 *
 * @throws where there is one processor only, or no `taskset` (util-linux).
 */
export async function setApart(usher: BenchUsher): Promise<void> {
  const processors = availableParallelism();
  if (processors < 2) throw new Error('--apart takes two processors.');
  const all = await allProcesses();
  const supervisor = usher.process.pid!;
  const ofApi = treeOf(rolesAmong(all, supervisor).api, all);
  for (const pid of treeOf(supervisor, all)) if (!ofApi.includes(pid)) pin(pid, `1-${processors - 1}`);
  for (const pid of [...ofApi, process.pid]) pin(pid, '0');
}

/** The process and all that it has started, and so on. */
function treeOf(pid: number, all: Found[]): number[] {
  return [pid, ...all.filter(({ parent }) => parent === pid).flatMap((child) => treeOf(child.pid, all))];
}

/** What it starts from now on stays there, too. */
function pin(pid: number, processors: string): void {
  const { error, status, stderr } = spawnSync('taskset', ['--all-tasks', '--cpu-list', '--pid', processors, String(pid)], { encoding: 'utf8' });
  if (error !== undefined || status !== 0) throw new Error(`taskset could not give process ${pid} its processors: ${error?.message ?? stderr.trim()}`);
}

async function allProcesses(): Promise<Found[]> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  const found = await Promise.all(pids.map(async (pid): Promise<Found | null> => {
    // It may have ended since.
    const [status = '', command = ''] = await Promise.all(['status', 'cmdline'].map((file) => readFile(`/proc/${pid}/${file}`, 'utf8'))).catch(() => []);
    const [, parent] = /^PPid:\t(\d+)$/m.exec(status) ?? [];
    return parent === undefined ? null : { pid: Number(pid), parent: Number(parent), command };
  }));
  return found.filter((each) => each !== null);
}
