import { createHash } from 'node:crypto';
import { mkdir, mkdtemp, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { openToAll } from '../builds/dependency-cache.ts';
import { type Dependency, installDependencies } from '../builds/install.ts';
import { kindOf } from './action-files.ts';
import { CommandError } from './terminal.ts';

/** Installed packages of an Action. */
export interface Packages {
  /** Folder that holds `node_modules`. */
  dir: string;
  /** Each dependency with the exact version that is there. */
  resolved: Dependency[];
  withInstallScripts: string[];
}

const RECORD = 'installed.json';
const HALF = '.half-';
/** No install takes this long. */
const LEFTOVER_MS = 10 * 60 * 1000;

/** Where all packages of the command line lie. */
export function packagesRoot(cacheDir: string): string {
  return join(cacheDir, 'packages');
}

/**
 * Installs dependencies as a build does, or takes what an earlier run installed for the same list. So `latest` stays
 * what it was then, until `anew`. Several runs can share the folder: a tree appears whole, by a rename.
 *
 * @throws {BuildFailure} when they cannot be installed, {CommandError} when there is no place to keep them.
 */
export async function installPackages(
  dependencies: Dependency[],
  { cacheDir, anew, signal, onInstall }: { cacheDir: string; anew: boolean; signal: AbortSignal; onInstall(): void },
): Promise<Packages> {
  const root = packagesRoot(cacheDir);
  const folder = join(root, keyOf(dependencies));
  if (!anew && (await kindOf(folder)) === 'folder') return await open(folder);

  onInstall();
  await mkdir(root, { recursive: true }).catch((error: NodeJS.ErrnoException) => {
    throw new CommandError(`The packages cannot be kept in ${root} (${error.code}): give this user the rights to it, or set XDG_CACHE_HOME to another folder.`, { cause: error });
  });
  await removeLeftovers(root);
  const half = await mkdtemp(join(root, HALF));
  try {
    const { archivePath, resolved, withInstallScripts } = await installDependencies({ dir: half, dependencies, lockfile: null }, { signal });
    await rm(archivePath);
    await writeFile(join(half, RECORD), JSON.stringify({ resolved, withInstallScripts }));
    await openToAll(half);
    if (anew) await rm(folder, { recursive: true, force: true });
    await rename(half, folder).catch((error: NodeJS.ErrnoException) => {
      // Another run was quicker: its tree is as good.
      if (error.code !== 'ENOTEMPTY' && error.code !== 'EEXIST') throw error;
    });
  } finally {
    await rm(half, { recursive: true, force: true });
  }
  return await open(folder);
}

async function open(folder: string): Promise<Packages> {
  const record = JSON.parse(await readFile(join(folder, RECORD), 'utf8')) as Omit<Packages, 'dir'>;
  return { dir: folder, ...record };
}

function keyOf(dependencies: Dependency[]): string {
  const list = dependencies.map(({ name, version }) => `${name}@${version}`).toSorted();
  const [nodeMajor] = process.versions.node.split('.');
  return createHash('sha256').update(JSON.stringify([list, nodeMajor, process.platform, process.arch])).digest('hex').slice(0, 32);
}

/** What runs left that were killed while they installed. */
async function removeLeftovers(root: string): Promise<void> {
  for (const name of await readdir(root)) {
    if (!name.startsWith(HALF)) continue;
    const { mtimeMs } = await stat(join(root, name));
    if (mtimeMs < Date.now() - LEFTOVER_MS) await rm(join(root, name), { recursive: true, force: true });
  }
}
