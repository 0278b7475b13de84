import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { access, chmod, constants, mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

/** A start that cannot go on, in one sentence that says what happened and what to do. */
export class StartError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'StartError';
  }
}

/** Where things stand in the data directory. */
export interface DataPaths {
  store: string;
  masterKey: string;
  clientSecret: string;
  cache: string;
  temporal: string;
  running: string;
  supervisorLock: string;
  roleLock(role: 'api' | 'worker'): string;
}

export function dataPaths(dataDir: string): DataPaths {
  return {
    store: join(dataDir, 'usher.db'),
    masterKey: join(dataDir, 'master-key'),
    clientSecret: join(dataDir, 'client-secret'),
    cache: join(dataDir, 'cache'),
    temporal: join(dataDir, 'temporal'),
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
    await mkdir(dataDir, { recursive: true });
    await chmod(dataDir, 0o711);
    await access(dataDir, constants.W_OK | constants.X_OK);
    const probe = join(dataDir, `.probe-${process.pid}`);
    await writeFile(probe, 'x');
    await rm(probe);
  } catch (error) {
    throw new StartError(whyNotWritable(dataDir, error), { cause: error });
  }
  return dataPaths(dataDir);
}

function whyNotWritable(dataDir: string, error: unknown): string {
  const code = (error as NodeJS.ErrnoException).code;
  switch (code) {
    case 'ENOSPC':
    case 'EDQUOT':
      return `The disk of the data directory ${dataDir} is full: free some space and start again; nothing was changed.`;
    case 'EACCES':
    case 'EPERM':
    case 'EROFS':
      return `The data directory ${dataDir} cannot be written (${code}): give this user the right to write there, or set USHER_DATA_DIR to another folder.`;
    case 'ENOTDIR':
    case 'EEXIST':
      return `The data directory ${dataDir} is not a folder: set USHER_DATA_DIR to one.`;
    default:
      return `The data directory ${dataDir} cannot be used (${code ?? String(error)}): set USHER_DATA_DIR to another folder.`;
  }
}

/**
 * The key under which everything is sealed: the one given, or the one kept in the data directory, made on the first start.
 *
 * @throws {StartError} when the kept one is damaged.
 */
export async function readMasterKey(paths: DataPaths, given: Buffer | null): Promise<Buffer> {
  if (given !== null) return given;
  const kept = await readIfThere(paths.masterKey);
  if (kept !== null) {
    const key = Buffer.from(kept.trim(), 'base64');
    if (key.length !== 32) {
      throw new StartError(`The master key in ${paths.masterKey} is damaged: put the right one back, or give it as USHER_MASTER_KEY.`);
    }
    return key;
  }
  if (existsSync(paths.store)) {
    throw new StartError(`The store ${paths.store} is there, but its master key ${paths.masterKey} is not: put it back, or give it as USHER_MASTER_KEY.`);
  }
  const key = randomBytes(32);
  await writeSecretFile(paths.masterKey, key.toString('base64'));
  return key;
}

/** Writes a file that only its owner can read, whole or not at all; without a line break, as `curl` sends a file as it is. */
export async function writeSecretFile(path: string, secret: string): Promise<void> {
  const half = `${path}.${process.pid}`;
  await writeFile(half, secret, { mode: 0o600, flush: true });
  await rename(half, path);
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
