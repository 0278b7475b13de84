import { type Isolation, SANDBOX_UID } from './isolation.ts';
import type { RunnerFiles } from './runner-files.ts';

export interface MemoryLimits {
  /** V8's old space, MiB. */
  heapMiB: number;
  /** Resident memory, MiB, buffers included. */
  residentMiB: number;
}

/** Node reserves this much more than it ever touches; with less it does not start. */
const RESERVED_MIB = 768;
const OPEN_FILES = 512;

export interface SpawnCommand {
  file: string;
  args: string[];
}

/**
 * The command line of a sandbox process: `prlimit … setpriv … node --permission … main.mjs`. `--allow-net` is never
 * part of it.
 */
export function spawnCommand(isolation: Isolation, runner: RunnerFiles, memory: MemoryLimits, dependenciesDir: string | null): SpawnCommand {
  const command = [
    ...limits(isolation, memory),
    ...privileges(isolation),
    process.execPath,
    '--permission',
    `--allow-fs-read=${runner.dir}`,
    ...(dependenciesDir === null ? [] : [`--allow-fs-read=${dependenciesDir}`]),
    '--no-experimental-sqlite',
    '--no-experimental-ffi',
    '--disable-warning=ExperimentalWarning',
    `--max-old-space-size=${memory.heapMiB}`,
    runner.entry,
  ];
  return { file: command[0] ?? process.execPath, args: command.slice(1) };
}

function limits({ prlimit }: Isolation, { residentMiB }: MemoryLimits): string[] {
  if (prlimit === null) return [];
  // No core dumps: they would hold events and secrets.
  return [prlimit, `--data=${(residentMiB + RESERVED_MIB) * 1024 * 1024}`, `--nofile=${OPEN_FILES}`, '--core=0'];
}

function privileges({ setpriv, otherUser }: Isolation): string[] {
  if (setpriv === null) return [];
  const user = otherUser
    ? [`--reuid=${SANDBOX_UID}`, `--regid=${SANDBOX_UID}`, '--clear-groups', '--inh-caps=-all', '--bounding-set=-all']
    : [];
  // A change of user clears the death signal; setpriv sets it after that.
  return [setpriv, ...user, '--no-new-privs', '--pdeathsig', 'KILL', '--'];
}
