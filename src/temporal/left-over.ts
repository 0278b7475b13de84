import { readFile, rename, rm, writeFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { commandLineOf, isRunning, type ProcessIdentity, processIdentity } from './process-identity.ts';

/** What is written down about a running development server, so that a later start finds it. */
interface ServerRecord {
  server: ProcessIdentity;
  /** The Usher that started it. */
  owner: ProcessIdentity;
}

const TERM_MS = 5_000;
const KILL_MS = 5_000;
const LOOK_EVERY_MS = 50;

/** Another Usher that runs now has its development server in this folder. */
export class ServerInUseError extends Error {
  constructor(folder: string, ownerPid: number) {
    super(`The Temporal development server in ${folder} belongs to an Usher that runs (pid ${ownerPid}): end that one, or set USHER_DATA_DIR to another folder.`);
    this.name = 'ServerInUseError';
  }
}

/** Writes down that this process runs the development server with this pid. */
export async function recordServer(file: string, pid: number): Promise<void> {
  const [server, owner] = [processIdentity(pid), processIdentity(process.pid)];
  // Already dead: there will be nothing to end.
  if (server === null || owner === null) return;
  const record: ServerRecord = { server, owner };
  await writeFile(`${file}.half`, JSON.stringify(record));
  await rename(`${file}.half`, file);
}

/**
 * Ends the development server that a killed Usher has left over, if it still runs.
 *
 * @returns its pid, or null when there was none.
 * @throws {ServerInUseError} when its Usher runs.
 * @throws when it does not end.
 */
export async function endLeftOver(file: string, folder: string): Promise<number | null> {
  const record = await readRecord(file);
  if (record === null) return null;
  const { server, owner } = record;
  // The command line too, because the record may come from another machine or container with the same folder.
  const runs = isRunning(server) && commandLineOf(server.pid).includes('start-dev');
  if (runs && owner.pid !== process.pid && isRunning(owner)) throw new ServerInUseError(folder, owner.pid);
  if (runs && !(await end(server))) {
    throw new Error(`A Temporal development server left over from an earlier start (pid ${server.pid}) does not end: end it and start again.`);
  }
  await rm(file, { force: true });
  return runs ? server.pid : null;
}

async function end(server: ProcessIdentity): Promise<boolean> {
  for (const [signal, patienceMs] of [['SIGTERM', TERM_MS], ['SIGKILL', KILL_MS]] as const) {
    process.kill(server.pid, signal);
    for (let waitedMs = 0; waitedMs < patienceMs; waitedMs += LOOK_EVERY_MS) {
      if (!isRunning(server)) return true;
      await sleep(LOOK_EVERY_MS);
    }
  }
  return !isRunning(server);
}

async function readRecord(file: string): Promise<ServerRecord | null> {
  try {
    const record = JSON.parse(await readFile(file, 'utf8')) as Partial<ServerRecord>;
    return record.server === undefined || record.owner === undefined ? null : { server: record.server, owner: record.owner };
  } catch (error) {
    // Not written, or cut short by a power cut, after which nothing runs any more.
    if ((error as NodeJS.ErrnoException).code === 'ENOENT' || error instanceof SyntaxError) return null;
    throw error;
  }
}
