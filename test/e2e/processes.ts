import { readdirSync, readFileSync } from 'node:fs';
import { until } from './until.ts';

/** The processes of a running Usher, by what they are; found in `/proc`, so on Linux only. */
export interface UsherProcesses {
  api: number | undefined;
  worker: number | undefined;
  temporal: number | undefined;
  /** Of the worker. */
  sandboxes: number[];
  /** Every living descendant of the supervisor. */
  all: number[];
}

interface Process {
  pid: number;
  parent: number;
  command: string;
}

/** Looks which processes descend from the supervisor now. */
export function processesOf(supervisor: number): UsherProcesses {
  const everything = livingProcesses();
  const all = descendants(everything, supervisor);
  const find = (part: string): number | undefined => all.find(({ command }) => command.includes(part))?.pid;
  const worker = find('--role worker');
  return {
    api: find('--role api'),
    worker,
    temporal: find('server start-dev'),
    sandboxes: all.filter((process) => isSandboxOf(process, worker)).map(({ pid }) => pid),
    all: all.map(({ pid }) => pid),
  };
}

/** The living sandboxes of a role's process. */
export function sandboxesOf(role: number): number[] {
  return livingProcesses().filter((process) => isSandboxOf(process, role)).map(({ pid }) => pid);
}

/** True while the process runs; one that is dead and not yet reaped does not. */
export function isAlive(pid: number): boolean {
  return readProcess(pid) !== null;
}

/** Kills the process with SIGKILL and resolves when it is dead. @throws when it was dead before. */
export async function kill9(pid: number): Promise<void> {
  if (!isAlive(pid)) throw new Error(`The process ${pid} was dead before it was killed.`);
  process.kill(pid, 'SIGKILL');
  await until(`the killed process ${pid} is dead`, () => !isAlive(pid), 5_000);
}

/** The numbers of the processors that a process may use. */
export function processorsOf(pid: number): number[] {
  const [, mask] = /^Cpus_allowed:\s*(\S+)$/m.exec(readProc(pid, 'status')!)!;
  const bits = BigInt(`0x${mask!.replaceAll(',', '')}`).toString(2).split('').toReversed();
  return bits.flatMap((bit, processor) => (bit === '1' ? [processor] : []));
}

/** Resolves when none of these runs any more. */
export async function allDead(pids: number[], limitMs: number): Promise<void> {
  await until(`the processes ${pids.join(', ')} are dead`, () => !pids.some(isAlive), limitMs);
}

/** The living processes of this user whose environment has the variable with this value, whoever their parent is now. */
export function withVariable(name: string, value: string): number[] {
  return livingProcesses()
    .map(({ pid }) => pid)
    .filter((pid) => (readProc(pid, 'environ') ?? '').split('\0').includes(`${name}=${value}`));
}

function isSandboxOf({ parent, command }: Process, role: number | undefined): boolean {
  return parent === role && command.includes('--permission');
}

function descendants(everything: Process[], root: number): Process[] {
  const found: Process[] = [];
  let parents = [root];
  while (parents.length > 0) {
    const children = everything.filter(({ parent }) => parents.includes(parent));
    found.push(...children);
    parents = children.map(({ pid }) => pid);
  }
  return found;
}

function livingProcesses(): Process[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => readProcess(Number(name)) ?? []);
}

/** Source: proc_pid_stat(5), fields 3 (state) and 4 (parent). */
function readProcess(pid: number): Process | null {
  const stat = readProc(pid, 'stat');
  const command = readProc(pid, 'cmdline');
  if (stat === null || command === null) return null;
  // The program's name stands in brackets and may hold anything, so read from behind it.
  const [state, parent] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  if (state === 'Z' || state === 'X') return null;
  return { pid, parent: Number(parent), command: command.replaceAll('\0', ' ') };
}

/** Null when the process has ended, or is another user's. */
function readProc(pid: number, file: 'stat' | 'status' | 'cmdline' | 'environ'): string | null {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'utf8');
  } catch {
    return null;
  }
}
