import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { access, chmod, constants, link, mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { asStartError, StartError } from './start-error.ts';

/** The files of `--https`. */
export interface TlsPaths {
  folder: string;
  ca: string;
  caKey: string;
  cert: string;
  key: string;
}

/** Where things stand in the data directory. */
export interface DataPaths {
  store: string;
  /** There once the store has moved to PostgreSQL, so that nobody goes on with the file. */
  moved: string;
  masterKey: string;
  clientSecret: string;
  cache: string;
  temporal: string;
  tls: TlsPaths;
  running: string;
  supervisorLock: string;
  roleLock(role: 'api' | 'worker'): string;
}

export function dataPaths(dataDir: string): DataPaths {
  const tls = join(dataDir, 'tls');
  return {
    store: join(dataDir, 'usher.db'),
    moved: join(dataDir, 'moved-to-postgres.json'),
    masterKey: join(dataDir, 'master-key'),
    clientSecret: join(dataDir, 'client-secret'),
    cache: join(dataDir, 'cache'),
    temporal: join(dataDir, 'temporal'),
    tls: { folder: tls, ca: join(tls, 'ca.pem'), caKey: join(tls, 'ca-key.pem'), cert: join(tls, 'cert.pem'), key: join(tls, 'key.pem') },
    running: join(dataDir, 'running.json'),
    supervisorLock: join(dataDir, 'usher.lock'),
    roleLock: (role) => join(dataDir, `${role}.lock`),
  };
}

/**
 * Makes the data directory. Others may pass through it, so that a sandbox under another user reaches the dependencies
 * of its Action, but read nothing: each file with a secret is its owner's only.
 *
 * @throws {StartError} when it cannot be made or written.
 */
export async function prepareDataDir(dataDir: string): Promise<DataPaths> {
  try {
    await makeFolder(dataDir, 0o711);
    await makeFolder(dataPaths(dataDir).cache, 0o755);
    const probe = join(dataDir, `.probe-${process.pid}`);
    try {
      await writeFile(probe, 'x');
    } finally {
      await rm(probe, { force: true });
    }
  } catch (error) {
    throw asStartError(error, `The data directory ${dataDir}`);
  }
  return dataPaths(dataDir);
}

async function makeFolder(path: string, mode: number): Promise<void> {
  await mkdir(path, { recursive: true });
  await chmod(path, mode).catch((error: NodeJS.ErrnoException) => {
    // Somebody else's folder in which we may write, as mounted volumes are: its rights are not ours to choose.
    if (error.code !== 'EPERM') throw error;
  });
  await access(path, constants.W_OK | constants.X_OK);
}

/** @throws {StartError} when the embedded store of the data directory has moved to PostgreSQL. */
export function refuseMoved({ store, moved }: DataPaths): void {
  if (!existsSync(moved)) return;
  throw new StartError(
    `The store ${store} has moved to PostgreSQL, as ${moved} says: set DATABASE_URL. If the move was interrupted, run \`usher move-to-postgres\` again. ` +
      'To give the move up and go on with the file, without anything that was registered in PostgreSQL, delete that note.',
  );
}

/**
 * The key under which everything is sealed: the one given, or the one kept in the data directory, made on the first start.
 *
 * @param options.isStoreMade whether the store holds what was sealed under a key already.
 * @throws {StartError} when the kept one is damaged or cannot be read, or is missing beside a store.
 */
export async function readMasterKey(paths: DataPaths, { given, store, isStoreMade }: { given: Buffer | null; store: string; isStoreMade(): Promise<boolean> }): Promise<Buffer> {
  if (given !== null) return given;
  const wasMade = await isStoreMade();
  try {
    let kept = await readIfThere(paths.masterKey);
    if (kept === null && !wasMade) kept = await makeFile(paths.masterKey, randomBytes(32).toString('base64'), 0o600);
    if (kept !== null) return parseMasterKey(kept, paths);
  } catch (error) {
    throw asStartError(error, `The master key ${paths.masterKey}`);
  }
  throw new StartError(`${store} is there, but its master key ${paths.masterKey} is not: put it back, or give it as USHER_MASTER_KEY; nothing was changed.`);
}

function parseMasterKey(text: string, paths: DataPaths): Buffer {
  const key = Buffer.from(text.trim(), 'base64');
  if (key.length === 32) return key;
  throw new StartError(`The master key in ${paths.masterKey} is damaged: put the right one back, or give it as USHER_MASTER_KEY; nothing was changed.`);
}

/**
 * Makes a file, whole or not at all; a secret without a line break, as `curl` sends a file as it is.
 *
 * @param mode `0o600` for what only its owner may read.
 * @returns what the file holds: of several processes that make it at once, all get the same.
 */
export async function makeFile(path: string, text: string, mode: 0o600 | 0o644): Promise<string> {
  const half = `${path}.${randomBytes(8).toString('hex')}`;
  try {
    await writeFile(half, text, { mode, flush: true });
    await link(half, path);
    return text;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    return await readFile(path, 'utf8');
  } finally {
    await rm(half, { force: true });
  }
}

/** Puts a file in the place of whatever stands there, whole or not at all. */
export async function replaceFile(path: string, text: string, mode: 0o600 | 0o644): Promise<void> {
  const half = `${path}.${randomBytes(8).toString('hex')}`;
  try {
    await writeFile(half, text, { mode, flush: true });
    await rename(half, path);
  } finally {
    await rm(half, { force: true });
  }
}

/** A file's text, or null when there is none. */
export async function readIfThere(path: string): Promise<string | null> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
}
