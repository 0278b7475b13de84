import { lstat, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Arborist } from '@npmcli/arborist';
import { create } from 'tar';
import { trustAlso } from '../tls/trust.ts';
import { BuildFailure, type BuildFailureId } from './build-failure.ts';
import type { InstallAnswer, InstallMessage, InstallOrder } from './install.ts';
import { readNpmSettings } from './npm-settings.ts';

/** Of an unpacked tree; Auth0 names no limit. A tree goes through memory on its way into the store. */
const MAX_TREE_BYTES = 200 * 1024 * 1024;

// The program of a process of its own: one install, one answer, then the end. It must not outlive its parent.
process.once('disconnect', () => process.exit(1));
process.once('message', (message: InstallMessage) => {
  trustAlso(message.trusted);
  void install(message).catch(asFailure).then((answer) => process.send?.(answer, () => process.disconnect?.()));
});

/** Installs into the (empty) folder of the order and packs `node_modules` into an archive beside it; or only looks up. */
async function install({ dir, dependencies, lockfile, lookUpOnly = false, trusted }: InstallMessage): Promise<InstallAnswer> {
  // A lockfile has exact versions where the order may say `latest`.
  const wanted = lockfile === null ? Object.fromEntries(dependencies.map(({ name, version }) => [name, version])) : JSON.parse(lockfile).packages[''].dependencies;
  refuseAliases(dependencies);
  await writeFile(join(dir, 'package.json'), JSON.stringify({ name: 'action', version: '1.0.0', private: true, dependencies: wanted }));
  if (lockfile !== null) await writeFile(join(dir, 'package-lock.json'), lockfile);

  const walls = { ignoreScripts: true, allowGit: 'none', allowRemote: 'none', allowFile: 'none', allowDirectory: 'none' };
  const options = { ...(await readNpmSettings(dir, { trusted })), path: dir, binLinks: false, audit: false, fund: false, ...walls };
  const arborist = new Arborist(options);
  const tree = lookUpOnly ? await arborist.buildIdealTree() : await arborist.reify({ save: true, omit: ['dev'] });

  const resolved = dependencies.map(({ name }) => {
    const version = tree.edgesOut.get(name)?.to?.version;
    if (version === undefined) throw new BuildFailure('install_failed', `${name} was not installed. Change the Action to build it again.`);
    return { name, version };
  });
  const packages = [...tree.inventory.values()].filter((node) => !node.isRoot);
  const withInstallScripts = packages.filter((node) => node.hasInstallScript).map((node) => `${node.name}@${node.version}`);
  if (lookUpOnly) return { outcome: 'looked-up', resolved, withInstallScripts };
  for (const node of packages) {
    if (!node.optional) await refuseUncompiled(node.name, node.path);
  }
  await checkTree(join(dir, 'node_modules'));
  const archivePath = join(dir, 'node_modules.tgz');
  await create({ cwd: dir, file: archivePath, gzip: true, portable: true }, ['node_modules']);
  return {
    outcome: 'installed',
    resolved,
    lockfile: await readLockfile(dir, resolved),
    archivePath,
    withInstallScripts,
  };
}

/** `npm:other@1` would be read back as a version of `name`, which it is not. */
function refuseAliases(dependencies: InstallOrder['dependencies']): void {
  const alias = dependencies.find(({ version }) => version.startsWith('npm:'));
  if (alias === undefined) return;
  throw new BuildFailure('dependency_not_allowed', `${alias.name}@${alias.version} is an alias. Name the package itself, with a version, a range or a tag.`);
}

/** The lockfile with exact versions at its root, so that `latest` and the version it meant give the same archive. */
async function readLockfile(dir: string, resolved: { name: string; version: string }[]): Promise<string> {
  const lockfile = JSON.parse(await readFile(join(dir, 'package-lock.json'), 'utf8'));
  const byName = resolved.toSorted((a, b) => (a.name < b.name ? -1 : 1));
  lockfile.packages[''].dependencies = Object.fromEntries(byName.map(({ name, version }) => [name, version]));
  return JSON.stringify(lockfile);
}

/** Scripts never run, so a package that must be compiled would only fail at its first `require`. */
async function refuseUncompiled(name: string, dir: string): Promise<void> {
  const files = await readdir(dir, { recursive: true });
  if (!files.includes('binding.gyp') || files.some((file) => file.endsWith('.node'))) return;
  throw new BuildFailure('native_dependency', `Compilation failed: ${name} has native code that must be compiled on installation, which is not supported. Use a package that is only JavaScript.`);
}

/** Nothing of the tree may lead out of it, and it must fit into the store. */
async function checkTree(root: string): Promise<void> {
  let bytes = 0;
  for (const entry of await readdir(root, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name);
    if (!entry.isFile() && !entry.isDirectory()) {
      throw new BuildFailure('dependency_not_allowed', `The packages hold ${path.slice(root.length + 1)}, which is neither a file nor a folder.`);
    }
    if (entry.isFile()) bytes += (await lstat(path)).size;
    if (bytes > MAX_TREE_BYTES) {
      throw new BuildFailure('dependencies_too_large', `The dependencies take more than ${MAX_TREE_BYTES / 1024 / 1024} MiB. Use fewer or smaller ones.`);
    }
  }
}

function asFailure(error: unknown): InstallAnswer {
  if (error instanceof BuildFailure) return { outcome: 'failed', id: error.id, message: error.message };
  const { code = 'no code', message = String(error) } = error as { code?: string; message?: string };
  const id = FAILURE_OF_CODE[code] ?? 'install_failed';
  return { outcome: 'failed', id, message: `${ADVICE[id]} npm says: ${message} (${code})` };
}

/** Codes of npm's libraries and of the system, by what they mean for the Action's author. */
const FAILURE_OF_CODE: Record<string, keyof typeof ADVICE> = {
  E404: 'dependency_not_found',
  ETARGET: 'dependency_not_found',
  EINVALIDPACKAGENAME: 'dependency_not_allowed',
  EINVALIDTAGNAME: 'dependency_not_allowed',
  EUNSUPPORTEDPROTOCOL: 'dependency_not_allowed',
  EALLOWGIT: 'dependency_not_allowed',
  EALLOWREMOTE: 'dependency_not_allowed',
  EALLOWFILE: 'dependency_not_allowed',
  EALLOWDIRECTORY: 'dependency_not_allowed',
  ERESOLVE: 'dependency_conflict',
  EBADPLATFORM: 'dependency_conflict',
  ENOTFOUND: 'registry_unavailable',
  EAI_AGAIN: 'registry_unavailable',
  ECONNREFUSED: 'registry_unavailable',
  ECONNRESET: 'registry_unavailable',
  ETIMEDOUT: 'registry_unavailable',
  E429: 'registry_unavailable',
  E500: 'registry_unavailable',
  E502: 'registry_unavailable',
  E503: 'registry_unavailable',
  E504: 'registry_unavailable',
  EACCES: 'disk_unavailable',
  EPERM: 'disk_unavailable',
  EROFS: 'disk_unavailable',
  ENOSPC: 'disk_unavailable',
  EDQUOT: 'disk_unavailable',
  ENOTDIR: 'disk_unavailable',
};

const ADVICE = {
  dependency_not_found: 'A dependency is not in the registry: check its name and version.',
  dependency_not_allowed: 'A dependency is not named by a version, a range or a tag of the registry; nothing else is installed.',
  dependency_conflict: 'The dependencies do not fit together or not this platform: choose other versions.',
  registry_unavailable: 'The npm registry did not answer: change the Action to build it again.',
  disk_unavailable: 'npm cannot write on this machine: give it the rights and the space that it needs, and try again.',
  install_failed: 'The dependencies cannot be installed.',
} as const satisfies Partial<Record<BuildFailureId, string>>;
