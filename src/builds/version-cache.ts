import type { RunnableVersion } from '../domain/invocation.ts';
import { isTriggerId } from '../domain/triggers.ts';
import { secretsContext } from '../store/action-secrets.ts';
import type { Database } from '../store/database.ts';
import type { Keyring } from '../store/keyring.ts';
import type { Row } from '../store/schema.ts';
import { createDependencyCache } from './dependency-cache.ts';

/** Versions kept in memory, their secrets sealed; at most 100 kB of code each. */
const CACHED_VERSIONS = 200;

/** A version, or the archive of its dependencies, is not in the store. */
export class VersionMissingError extends Error {
  constructor(versionId: string, what: string) {
    super(`The Action version ${versionId} cannot be run: ${what}. Restore it from a backup, or cancel what waits for it.`);
    this.name = 'VersionMissingError';
  }
}

export interface LoadedVersion {
  runnable: RunnableVersion;
  /** Opened for this call; not kept. */
  secrets: Record<string, string>;
}

/** Makes versions ready to run, from memory and disk where it can, else from the store. Needs no npm registry. */
export interface VersionCache {
  /**
   * Loads a version, its secrets opened and its dependencies unpacked.
   *
   * @throws {VersionMissingError} when the version or its archive is not in the store.
   */
  load(versionId: string): Promise<LoadedVersion>;
}

export function createVersionCache(deps: { database: Database; keyring: Keyring; dataDir: string }): VersionCache {
  const dependencies = createDependencyCache(deps);
  const versions = new Map<string, Row<'action_version'>>();

  async function read(versionId: string): Promise<Row<'action_version'>> {
    const version = versions.get(versionId)
      ?? await deps.database.db.selectFrom('action_version').selectAll().where('id', '=', versionId).executeTakeFirst();
    if (version === undefined) throw new VersionMissingError(versionId, 'it is not in the store');
    // A Map keeps the order of insertion: the first entry is the one not used for longest.
    versions.delete(versionId);
    versions.set(versionId, version);
    if (versions.size > CACHED_VERSIONS) versions.delete(versions.keys().next().value!);
    return version;
  }

  return {
    async load(versionId) {
      const version = await read(versionId);
      const { trigger_id: triggerId, archive_key: archiveKey } = version;
      if (!isTriggerId(triggerId)) throw new VersionMissingError(versionId, `its trigger ${triggerId} does not run here`);
      const dependenciesDir = archiveKey === null ? null : await dependencies.folderOf(archiveKey);
      if (archiveKey !== null && dependenciesDir === null) {
        throw new VersionMissingError(versionId, `its dependencies (archive ${archiveKey}) are not in the store`);
      }
      return {
        runnable: { id: version.id, actionName: version.action_name, triggerId, code: version.code, dependenciesDir },
        secrets: await deps.keyring.openJson(version.key_id, secretsContext(version.action_id), version.secrets_sealed),
      };
    },
  };
}
