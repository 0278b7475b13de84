import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';

const SQLITE_BUSY = 5;

/** Another living process holds the lock. */
export class LockedError extends Error {
  constructor(path: string, pid: string | null) {
    super(
      `Another Usher${pid === null ? '' : ` (process ${pid})`} uses this data directory: it holds ${path}. Stop it first, ` +
        'or give this one a data directory of its own (USHER_DATA_DIR).',
    );
    this.name = 'LockedError';
  }
}

export interface Lock {
  /** Gives the lock to the next one. Needed only to outlive it: the end of the process releases it too. */
  release(): void;
}

/** Keeps the garbage collector away: closing the file would release the lock. */
const held = new Set<DatabaseSync>();

/**
 * Takes the lock file `path`, made if absent. The lock dies with the process, `kill -9` included, because it is the
 * kernel's lock on an open file: SQLite's own, so that no native module is needed.
 *
 * @throws {LockedError} when another living process has it.
 * @throws an error for which `isStoreUnavailable` is true when the file cannot be made or written.
 */
export function acquireLock(path: string): Lock {
  const file = new DatabaseSync(path, { timeout: 0 });
  const pidPath = `${path}.pid`;
  try {
    file.exec('begin exclusive');
  } catch (error) {
    file.close();
    if ((error as { errcode?: number }).errcode === SQLITE_BUSY) throw new LockedError(path, readPid(pidPath));
    throw error;
  }
  held.add(file);
  // Beside it, because reading the lock file itself would release the lock: POSIX drops a process's locks on a file as
  // soon as the process closes any descriptor of it.
  writeFileSync(pidPath, String(process.pid));
  return {
    release() {
      if (!held.delete(file)) return;
      rmSync(pidPath, { force: true });
      file.close();
    },
  };
}

/** Null when the holder has not yet written it. */
function readPid(path: string): string | null {
  try {
    return readFileSync(path, 'utf8') || null;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
}
