import type { RunnableVersion } from '../domain/invocation.ts';
import { isTriggerId, TRIGGERS } from '../domain/triggers.ts';
import { secretsContext } from '../store/action-secrets.ts';
import { openBindingSecrets } from '../store/binding-secrets.ts';
import type { Database } from '../store/database.ts';
import type { Keyring } from '../store/keyring.ts';
import { modulesOf } from '../store/module-references.ts';
import type { Row } from '../store/schema.ts';
import { createDependencyCache } from './dependency-cache.ts';
import { openModules, readModules } from './modules.ts';

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
   * @param bindingSecretsId - secrets that win over the version's.
   * @throws {VersionMissingError} when the version, its archive or the binding's secrets are not in the store.
   */
  load(versionId: string, bindingSecretsId?: string | null): Promise<LoadedVersion>;
  /**
   * Loads a draft that is built, as it is in the row.
   *
   * @throws {VersionMissingError} when its archive is not in the store.
   */
  loadDraft(action: Row<'action'>): Promise<LoadedVersion>;
}

/** What a draft and a version have in common. */
type Content = Pick<Row<'action'>, 'name' | 'trigger_id' | 'trigger_version' | 'code' | 'modules' | 'archive_key'>;

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

  async function openSecrets(sealed: Pick<Row<'action'>, 'key_id' | 'secrets_sealed'>, actionId: string): Promise<Record<string, string>> {
    return await deps.keyring.openJson(sealed.key_id, secretsContext(actionId), sealed.secrets_sealed);
  }

  async function openOwn(versionId: string, bindingSecretsId: string | null): Promise<Record<string, string>> {
    if (bindingSecretsId === null) return {};
    const secrets = await openBindingSecrets(deps.keyring, deps.database.db, bindingSecretsId);
    if (secrets === null) throw new VersionMissingError(versionId, `the secrets of its binding (${bindingSecretsId}) are not in the store`);
    return secrets;
  }

  async function prepare(content: Content, id: string): Promise<RunnableVersion> {
    const { trigger_id: triggerId, trigger_version: triggerVersion, archive_key: archiveKey } = content;
    if (!isTriggerId(triggerId) || TRIGGERS[triggerId].version !== triggerVersion) {
      throw new VersionMissingError(id, `its trigger ${triggerId} ${triggerVersion} does not run here`);
    }
    const dependenciesDir = archiveKey === null ? null : await dependencies.folderOf(archiveKey);
    if (archiveKey !== null && dependenciesDir === null) {
      throw new VersionMissingError(id, `its dependencies (archive ${archiveKey}) are not in the store`);
    }
    const modules = await openModules(deps.keyring, await readModules(deps.database.db, modulesOf(content)));
    return { id, actionName: content.name, triggerId, code: content.code, dependenciesDir, ...(modules.length === 0 ? {} : { modules }) };
  }

  return {
    async load(versionId, bindingSecretsId = null) {
      const version = await read(versionId);
      const runnable = await prepare({ ...version, name: version.action_name }, version.id);
      return { runnable, secrets: { ...(await openSecrets(version, version.action_id)), ...(await openOwn(versionId, bindingSecretsId)) } };
    },
    async loadDraft(action) {
      return { runnable: await prepare(action, `draft-${action.id}-${action.build_seq}`), secrets: await openSecrets(action, action.id) };
    },
  };
}
