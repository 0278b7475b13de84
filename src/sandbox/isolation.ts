import { accessSync, constants } from 'node:fs';
import { join } from 'node:path';

/** The user that sandbox processes run as when Usher runs as root: `nobody` on most systems. */
export const SANDBOX_UID = 65534;

/** The system's programs are looked for here: the environment is not ours to read, and need not be trusted. */
const PROGRAM_FOLDERS = ['/usr/bin', '/bin', '/usr/sbin', '/sbin', '/usr/local/bin'];

/** The walls that this machine offers beside Node's own. */
export interface Isolation {
  /** Path of util-linux's `setpriv`, or null. */
  setpriv: string | null;
  /** Path of util-linux's `prlimit`, or null. */
  prlimit: string | null;
  /** Sandboxes run as `SANDBOX_UID`. */
  otherUser: boolean;
  /** Resident memory can be read from `/proc`. */
  memoryWatch: boolean;
}

/** What this machine offers; whether `otherUser` works in truth is for a first process to prove. */
export function findIsolation(): Isolation {
  const isLinux = process.platform === 'linux';
  const setpriv = isLinux ? findProgram('setpriv') : null;
  return {
    setpriv,
    prlimit: isLinux ? findProgram('prlimit') : null,
    otherUser: setpriv !== null && process.getuid?.() === 0,
    memoryWatch: isLinux,
  };
}

function findProgram(name: string): string | null {
  return PROGRAM_FOLDERS.map((folder) => join(folder, name)).find(isExecutable) ?? null;
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** One line per wall, in force or missing, for the start-up message. */
export function describeIsolation(
  isolation: Isolation,
  limits: { heapMiB: number; residentMiB: number },
  egress: { allow: string[]; loopbackOpen: boolean },
): string[] {
  const opened = [...(egress.loopbackOpen ? ['loopback'] : []), ...egress.allow];
  const user = process.getuid?.();
  return [
    'processes: each Action version in processes of its own, one call at a time',
    "permissions: Node's permission model (no files but the runner and the Action's dependencies, no child processes, workers, addons, inspector, SQLite or FFI)",
    `network: none; connections are made by the broker, which refuses private ranges except Usher's own address (open: ${opened.join(', ') || 'none'})`,
    'environment: empty',
    isolation.otherUser
      ? `user: uid ${SANDBOX_UID}, without capabilities`
      : `user: MISSING, Actions run as the user of Usher itself${user === 0 ? ' (root)' : ''}`,
    `memory: heap ${limits.heapMiB} MiB; resident ${isolation.memoryWatch ? `${limits.residentMiB} MiB, watched` : 'MISSING (needs /proc)'}; ` +
      `address space and open files ${isolation.prlimit === null ? 'MISSING (needs prlimit of util-linux)' : 'limited by the kernel'}`,
    'deadline: the process group is killed from outside',
    `death with Usher: ${isolation.setpriv === null ? 'PARTLY MISSING (needs setpriv of util-linux): an endless loop outlives a kill -9 of Usher' : 'by the kernel'}`,
    'namespaces: MISSING (bubblewrap is not used yet)',
  ];
}
