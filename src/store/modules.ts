import { newId, nowIsoNanos } from '../domain/ids.ts';
import { LIMITS } from '../domain/limits.ts';
import { managementError } from '../domain/api-error.ts';
import { replaceSecrets, type SecretInput } from './action-secrets.ts';
import type { Page } from './actions.ts';
import { type Database, type Queryable, uniqueViolation } from './database.ts';
import type { Keyring } from './keyring.ts';
import { deployedUses, isModuleUsed, type ModuleUse } from './module-references.ts';
import type { Row } from './schema.ts';

/** The content of a module's draft, checked against Auth0's limits. */
export interface ModuleDraft {
  name: string;
  code: string;
  dependencies: { name: string; version: string }[];
  secrets: SecretInput[];
}

/** A change of a draft: what is undefined stays. */
export type ModuleChange = { [K in Exclude<keyof ModuleDraft, 'name'>]?: ModuleDraft[K] | undefined };

export interface ModuleWithVersion {
  module: Row<'action_module'>;
  /** Null when it was never published. */
  latest: Row<'action_module_version'> | null;
  /** Deployed Actions that use it. */
  uses: number;
}

/** Code that Actions share: a draft, and versions made by publishing it, which never change. */
export interface ModuleStore {
  /** @throws {ApiError} 400 at the limit, 409 when the name is taken. */
  create(draft: ModuleDraft, options: { publish: boolean }): Promise<ModuleWithVersion>;
  /** @throws {ApiError} 404. */
  update(id: string, change: ModuleChange): Promise<ModuleWithVersion>;
  /** @throws {ApiError} 404. */
  find(id: string): Promise<ModuleWithVersion>;
  /** Oldest first. */
  list(page: Page): Promise<{ total: number; modules: ModuleWithVersion[] }>;
  /**
   * Deletes a module. Its versions stay while a version of an Action needs them.
   *
   * @throws {ApiError} 404; 412 when an Action's draft or what is deployed of it uses it.
   */
  remove(id: string): Promise<void>;
  /**
   * Makes the draft the next version. When the draft was sent again as it is published already, that version is given.
   *
   * @throws {ApiError} 404; 409 when nothing was sent since the last version, 412 at the limit.
   */
  publish(id: string): Promise<Row<'action_module_version'>>;
  /** Makes the content of a version the draft. @throws {ApiError} 404. */
  rollback(id: string, versionId: string): Promise<ModuleWithVersion>;
  /** @throws {ApiError} 404. */
  findVersion(id: string, versionId: string): Promise<Row<'action_module_version'>>;
  /** Newest first. @throws {ApiError} 404. */
  listVersions(id: string, page: Page): Promise<{ total: number; versions: Row<'action_module_version'>[] }>;
  /** Deployed Actions that use it. @throws {ApiError} 404. */
  listUses(id: string, page: Page): Promise<{ total: number; uses: ModuleUse[] }>;
}

/** What the secrets of a module are sealed as; the same for its draft and its versions. */
export function moduleSecretsContext(moduleId: string): string {
  return `action_module/${moduleId}/secrets`;
}

export function createModuleStore({ database, keyring }: { database: Database; keyring: Keyring }): ModuleStore {
  const { db } = database;

  return {
    async create({ name, code, dependencies, secrets }, { publish }) {
      return await refusingTakenNames(name, () => database.transaction(async (tx) => {
        if ((await count(tx)) >= LIMITS.modules) throw managementError(400, `There can be at most ${LIMITS.modules} modules: delete one that is not needed.`);
        const id = newId();
        const keyId = await keyring.newDataKey(tx);
        const now = nowIsoNanos();
        const row: Row<'action_module'> = {
          id,
          name,
          name_key: name.toLowerCase(),
          code,
          dependencies: JSON.stringify(dependencies),
          ...(await replaceSecrets(keyring, tx, { context: moduleSecretsContext(id), keyId, runs: true }, secrets, null)),
          key_id: keyId,
          created_at: now,
          updated_at: now,
        };
        await tx.insertInto('action_module').values(row).execute();
        if (publish) await addVersion(tx, row, 1);
        return await withVersion(tx, row);
      }));
    },

    async update(id, { code, dependencies, secrets }) {
      return await database.transaction(async (tx) => {
        const module = await readModule(tx, id);
        const changed = await tx.updateTable('action_module')
          .set({
            code: code ?? module.code,
            dependencies: dependencies === undefined ? module.dependencies : JSON.stringify(dependencies),
            ...(secrets === undefined ? {} : await replaceSecrets(keyring, tx, { context: moduleSecretsContext(id), keyId: module.key_id, runs: true }, secrets, module)),
            updated_at: nowIsoNanos(),
          })
          .where('id', '=', id)
          .returningAll()
          .executeTakeFirstOrThrow();
        return await withVersion(tx, changed);
      });
    },

    async find(id) {
      return await withVersion(db, await readModule(db, id));
    },

    async list({ page, perPage }) {
      const modules = await db.selectFrom('action_module').selectAll().orderBy('id').limit(perPage).offset(page * perPage).execute();
      return { total: await count(db), modules: await withVersions(db, modules) };
    },

    async remove(id) {
      await database.transaction(async (tx) => {
        const { key_id: keyId } = await readModule(tx, id);
        if (await isModuleUsed(tx, id)) throw managementError(412, 'Unable to delete a module that is used by an action.');
        await tx.deleteFrom('action_module').where('id', '=', id).execute();
        // The key of what was published goes with the versions: `removeUnused`.
        const version = await latestOf(tx, id);
        if (version === null) await tx.deleteFrom('data_key').where('id', '=', keyId).execute();
      });
    },

    async publish(id) {
      return await database.transaction(async (tx) => {
        const module = await readModule(tx, id);
        const latest = await latestOf(tx, id);
        if (latest !== null && isPublished(module, latest)) {
          if (module.updated_at > latest.created_at) return latest;
          throw managementError(409, 'The module has no draft: nothing was changed since its last version.');
        }
        const { versions } = await tx.selectFrom('action_module_version').select((eb) => eb.fn.countAll<number>().as('versions')).where('module_id', '=', id).executeTakeFirstOrThrow();
        if (versions >= LIMITS.versionsPerModule) throw managementError(412, `A module can have at most ${LIMITS.versionsPerModule} versions: make a new module.`);
        return await addVersion(tx, module, (latest?.number ?? 0) + 1);
      });
    },

    async rollback(id, versionId) {
      return await database.transaction(async (tx) => {
        await readModule(tx, id);
        const { code, dependencies, secret_names, secrets_sealed } = await readVersion(tx, id, versionId);
        const changed = await tx.updateTable('action_module')
          .set({ code, dependencies, secret_names, secrets_sealed, updated_at: nowIsoNanos() })
          .where('id', '=', id)
          .returningAll()
          .executeTakeFirstOrThrow();
        return await withVersion(tx, changed);
      });
    },

    async findVersion(id, versionId) {
      await readModule(db, id);
      return await readVersion(db, id, versionId);
    },

    async listVersions(id, { page, perPage }) {
      await readModule(db, id);
      const ofModule = db.selectFrom('action_module_version').where('module_id', '=', id);
      const { total } = await ofModule.select((eb) => eb.fn.countAll<number>().as('total')).executeTakeFirstOrThrow();
      return { total, versions: await ofModule.selectAll().orderBy('number', 'desc').limit(perPage).offset(page * perPage).execute() };
    },

    async listUses(id, { page, perPage }) {
      await readModule(db, id);
      const uses = (await deployedUses(db)).filter(({ reference }) => reference.module_id === id);
      return { total: uses.length, uses: uses.slice(page * perPage, (page + 1) * perPage) };
    },
  };
}

/** True when the version has what the draft has. */
export function isPublished(module: Row<'action_module'>, version: Row<'action_module_version'>): boolean {
  return (['code', 'dependencies', 'secret_names'] as const).every((column) => module[column] === version[column]);
}

async function addVersion(tx: Queryable, module: Row<'action_module'>, number: number): Promise<Row<'action_module_version'>> {
  const { id: moduleId, code, dependencies, secret_names, secrets_sealed, key_id } = module;
  const version = { id: newId(), module_id: moduleId, number, code, dependencies, secret_names, secrets_sealed, key_id, created_at: nowIsoNanos() };
  await tx.insertInto('action_module_version').values(version).execute();
  return version;
}

async function count(queryable: Queryable): Promise<number> {
  const { total } = await queryable.selectFrom('action_module').select((eb) => eb.fn.countAll<number>().as('total')).executeTakeFirstOrThrow();
  return total;
}

async function readModule(queryable: Queryable, id: string): Promise<Row<'action_module'>> {
  let query = queryable.selectFrom('action_module').selectAll().where('id', '=', id);
  if (queryable.isTransaction) query = query.forUpdate();
  const module = await query.executeTakeFirst();
  // Auth0's words for these two are in no public source; they follow those of a missing Action.
  if (module === undefined) throw managementError(404, 'That module does not exist.');
  return module;
}

async function readVersion(queryable: Queryable, id: string, versionId: string): Promise<Row<'action_module_version'>> {
  const version = await queryable.selectFrom('action_module_version').selectAll().where('id', '=', versionId).where('module_id', '=', id).executeTakeFirst();
  if (version === undefined) throw managementError(404, 'That module version does not exist.');
  return version;
}

async function latestOf(queryable: Queryable, moduleId: string): Promise<Row<'action_module_version'> | null> {
  return (await queryable.selectFrom('action_module_version').selectAll().where('module_id', '=', moduleId).orderBy('number', 'desc').executeTakeFirst()) ?? null;
}

async function withVersion(queryable: Queryable, module: Row<'action_module'>): Promise<ModuleWithVersion> {
  const [found] = await withVersions(queryable, [module]);
  return found!;
}

async function withVersions(queryable: Queryable, modules: Row<'action_module'>[]): Promise<ModuleWithVersion[]> {
  const uses = await deployedUses(queryable);
  const found: ModuleWithVersion[] = [];
  for (const module of modules) {
    found.push({ module, latest: await latestOf(queryable, module.id), uses: uses.filter(({ reference }) => reference.module_id === module.id).length });
  }
  return found;
}

async function refusingTakenNames<T>(name: string, write: () => Promise<T>): Promise<T> {
  try {
    return await write();
  } catch (error) {
    if (uniqueViolation(error)?.columns.includes('name_key') !== true) throw error;
    throw managementError(409, `A module with the name '${name}' already exists.`);
  }
}
