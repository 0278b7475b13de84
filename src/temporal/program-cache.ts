import { execFile } from 'node:child_process';
import { chmod, mkdir, mkdtemp, open, readdir, rename, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);
const VERSION_TIMEOUT_MS = 30_000;
const WORK_PREFIX = '.making-';
/** A work folder that nothing was put into for this long is a killed process's. */
const ABANDONED_MS = 3_600_000;

/**
 * What a Temporal command line says of itself, e.g. `temporal version 1.5.1 (Server 1.29.1, UI 2.42.1)`.
 *
 * @throws when it cannot be run, which is also how a half-made program is found.
 */
export async function programVersion(program: string): Promise<string> {
  try {
    const { stdout } = await run(program, ['--version'], { timeout: VERSION_TIMEOUT_MS });
    return stdout.trim();
  } catch (error) {
    throw new Error(`${program} does not run: ${lastLine((error as Error).message)}`, { cause: error });
  }
}

/**
 * Makes a program and puts it into the cache, whole or not at all. Two that do it at once do not disturb each other:
 * the later one replaces the earlier one's file, which goes on running.
 *
 * @param make puts the program into the given empty folder and returns its path.
 * @throws what `make` throws, or that the program it made does not run.
 */
export async function cacheProgram(target: string, make: (folder: string) => Promise<string>): Promise<void> {
  const parent = dirname(target);
  await mkdir(parent, { recursive: true });
  await removeAbandoned(parent);
  const folder = await mkdtemp(join(parent, WORK_PREFIX));
  try {
    const made = await make(folder);
    await chmod(made, 0o755);
    await programVersion(made);
    // Renamed only when its bytes are on the disk: a power cut must not leave a hollow file under the final name.
    await flush(made);
    await rename(made, target);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function flush(path: string): Promise<void> {
  await using file = await open(path);
  await file.sync();
}

async function removeAbandoned(parent: string): Promise<void> {
  for (const name of await readdir(parent)) {
    if (!name.startsWith(WORK_PREFIX)) continue;
    const folder = join(parent, name);
    const { mtimeMs } = await stat(folder).catch(() => ({ mtimeMs: Date.now() }));
    if (Date.now() - mtimeMs > ABANDONED_MS) await rm(folder, { recursive: true, force: true });
  }
}

/** The last line of a text that is not empty. */
export function lastLine(text: string): string {
  return text.trim().split('\n').at(-1)?.trim() ?? '';
}
