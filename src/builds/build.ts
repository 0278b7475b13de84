import { mkdir, mkdtemp, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { runsHere } from '../domain/auth0-triggers.ts';
import type { Logger } from '../logger.ts';
import type { Queryable } from '../store/database.ts';
import { modulesOf } from '../store/module-references.ts';
import type { Row } from '../store/schema.ts';
import { archiveKeyOf, findLockfile } from './archives.ts';
import { type Dependency, installDependencies } from './install.ts';
import { mergeDependencies, readModules } from './modules.ts';
import { checkSyntax } from './syntax.ts';

/** What a build gives. */
export interface Built {
  /**
   * A new install, the key of one that is in the store, or null without dependencies. Its lockfile has the exact
   * versions; the draft keeps `latest` as it was written, because tools compare it with what they sent.
   */
  archive: { lockfile: string; archive: Uint8Array } | { key: string } | null;
}

/**
 * Checks the code of a draft and its modules, and installs the dependencies of all, as far as they are not in the store already. Does neither for a
 * trigger that does not run here.
 *
 * @param workDir where it may make a folder of its own; the folder is gone afterwards.
 * @throws {BuildFailure} when the draft cannot be built, and the reason of `signal` when that is aborted.
 */
export async function build(
  draft: Row<'action'>,
  { db, workDir, signal, logger }: { db: Queryable; workDir: string; signal: AbortSignal; logger: Logger },
): Promise<Built> {
  // Kept as it is: what never runs here needs nothing of npm's, and has to be deployable for tools that bring it along.
  if (!runsHere(draft.trigger_id, draft.trigger_version)) return { archive: null };
  checkSyntax(draft.code);
  const modules = await readModules(db, modulesOf(draft));
  for (const { name, code } of modules) checkSyntax(code, name);
  const dependencies = mergeDependencies(JSON.parse(draft.dependencies) as Dependency[], modules);
  if (dependencies.length === 0) return { archive: null };

  const lockfile = draft.archive_key === null ? undefined : await findLockfile(db, draft.archive_key);
  // Only the code has changed: what was installed before stays, with the very same packages.
  if (lockfile !== undefined && archiveKeyOf(lockfile) === draft.archive_key) {
    return { archive: { key: draft.archive_key } };
  }

  await mkdir(workDir, { recursive: true });
  const dir = await mkdtemp(join(workDir, 'build-'));
  try {
    const installed = await installDependencies({ dir, dependencies, lockfile: lockfile ?? null }, { signal });
    logger.info({ packages: installed.resolved.map(({ name, version }) => `${name}@${version}`) }, 'dependencies installed');
    if (installed.withInstallScripts.length > 0) {
      logger.warn({ packages: installed.withInstallScripts }, 'dependencies have install scripts, which were not run');
    }
    const archive = await readFile(installed.archivePath);
    return { archive: { lockfile: installed.lockfile, archive } };
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}
