import { createHash } from 'node:crypto';
import { chmod, mkdir, mkdtemp, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { Readable } from 'node:stream';
import { extract } from 'tar';
import type { Database } from '../store/database.ts';

/** Somebody else may put the same tree in place at the same moment; more often than this it is something else. */
const MAX_TRIES = 3;

/** Trees of installed packages, unpacked from the store to where they are needed. */
export interface DependencyCache {
  /**
   * The folder that holds `node_modules` of the archive; unpacked when it is not there yet or not whole any more.
   * Users other than ours can read it, as far as they may pass through the data directory.
   *
   * @returns null when the archive is neither here nor in the store.
   */
  folderOf(archiveKey: string): Promise<string | null>;
}

/**
 * Keeps the trees in `<dataDir>/cache/dependencies/<key>`. Two processes can share it: a tree appears whole, by a
 * rename. A tree is trusted only after its contents were compared, once in a process's life, with the digest written
 * beside it: after a power cut a file can be there and be empty, and an Action must not fail for that.
 */
export function createDependencyCache({ database, dataDir }: { database: Database; dataDir: string }): DependencyCache {
  const root = join(dataDir, 'cache', 'dependencies');
  /** Keys whose trees were compared in this process's life. */
  const compared = new Set<string>();
  const underWay = new Map<string, Promise<string | null>>();

  async function prepare(key: string): Promise<string | null> {
    const folder = join(root, key);
    for (let tries = 0; tries < MAX_TRIES; tries++) {
      const state = await stateOf(folder);
      if (state === 'whole') {
        compared.add(key);
        return folder;
      }
      const row = await database.db.selectFrom('dependency_archive').select('archive').where('key', '=', key).executeTakeFirst();
      if (row === undefined) return null;
      if (state === 'damaged') await moveAway(root, folder);
      await unpack(row.archive, root, folder);
    }
    throw new Error(`The dependencies in ${folder} do not stay as they were unpacked: is something else writing there?`);
  }

  return {
    async folderOf(key) {
      const folder = join(root, key);
      // Looked at each time: a cache can be emptied while we run.
      if (compared.has(key) && (await exists(join(folder, DIGEST)))) return folder;
      let found = underWay.get(key);
      if (found === undefined) {
        found = prepare(key).finally(() => underWay.delete(key));
        underWay.set(key, found);
      }
      return await found;
    },
  };
}

const DIGEST = 'digest';
const HALF = '.half-';
/** No unpacking takes this long. */
const LEFTOVER_MS = 10 * 60 * 1000;

/** When another process is faster, its tree stays: the caller looks again. */
async function unpack(archive: Uint8Array, root: string, folder: string): Promise<void> {
  await mkdir(root, { recursive: true });
  await chmod(join(root, '..'), 0o755);
  await chmod(root, 0o755);
  await removeLeftovers(root);
  const half = await mkdtemp(join(root, HALF));
  try {
    await pipeline(Readable.from([archive]), extract({ cwd: half, strict: true, preserveOwner: false }));
    await writeFile(join(half, DIGEST), await digestOf(half));
    await openToAll(half);
    await rename(half, folder).catch(unless('ENOTEMPTY', 'EEXIST'));
  } finally {
    await rm(half, { recursive: true, force: true });
  }
}

/** Takes a damaged tree out of the way, in one move. */
async function moveAway(root: string, folder: string): Promise<void> {
  const damaged = await mkdtemp(join(root, HALF));
  await rename(folder, damaged).catch(unless('ENOENT'));
  await rm(damaged, { recursive: true, force: true });
}

/** What processes left that were killed while they unpacked. */
async function removeLeftovers(root: string): Promise<void> {
  for (const name of await readdir(root)) {
    if (!name.startsWith(HALF)) continue;
    const path = join(root, name);
    const left = await stat(path).catch(unless('ENOENT'));
    if (left !== undefined && left.mtimeMs < Date.now() - LEFTOVER_MS) await rm(path, { recursive: true, force: true });
  }
}

/** Lets a sandbox of another user read a tree, whatever the operator's umask. */
export async function openToAll(folder: string): Promise<void> {
  await chmod(folder, 0o755);
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    await chmod(join(entry.parentPath, entry.name), entry.isDirectory() ? 0o755 : 0o644);
  }
}

async function stateOf(folder: string): Promise<'whole' | 'damaged' | 'absent'> {
  if (!(await exists(folder))) return 'absent';
  try {
    return (await readFile(join(folder, DIGEST), 'utf8')) === (await digestOf(folder)) ? 'whole' : 'damaged';
  } catch (error) {
    unless('ENOENT')(error as NodeJS.ErrnoException);
    return 'damaged';
  }
}

async function exists(path: string): Promise<boolean> {
  return (await stat(path).catch(unless('ENOENT'))) !== undefined;
}

/** SHA-256 over the names and contents of all files below `node_modules`. */
async function digestOf(folder: string): Promise<string> {
  const entries = await readdir(join(folder, 'node_modules'), { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => !entry.isDirectory()).map((entry) => join(entry.parentPath, entry.name));
  const hash = createHash('sha256');
  for (const file of files.toSorted()) {
    const content = await readFile(file);
    hash.update(JSON.stringify([relative(folder, file), content.length])).update(content);
  }
  return hash.digest('hex');
}

/** Handles the errors that are expected, by their codes; throws the others on. */
function unless(...codes: string[]): (error: NodeJS.ErrnoException) => undefined {
  return (error) => {
    if (!codes.includes(error.code ?? '')) throw error;
    return undefined;
  };
}
