import { LIMITS } from '../domain/limits.ts';
import { managementError } from '../domain/api-error.ts';
import type { Queryable } from './database.ts';

/** A module as a client names it: by id or name, and by the id or number of a version; without one, its newest. */
export interface ModuleInput {
  module_id?: string | undefined;
  module_name?: string | undefined;
  module_version_id?: string | undefined;
  module_version_number?: number | undefined;
}

/** A module that an Action uses, as it lies in the Action's row. A module's name never changes. */
export interface ModuleReference {
  module_id: string;
  module_name: string;
  module_version_id: string;
  module_version_number: number;
}

/** The modules of an Action or a version. */
export function modulesOf({ modules }: { modules: string }): ModuleReference[] {
  return JSON.parse(modules) as ModuleReference[];
}

/**
 * Finds the versions of modules that an Action asks for. In a transaction nobody can delete the modules until that ends.
 *
 * @throws {ApiError} 400 when there is no such module or version, one is named twice, or there are too many.
 */
export async function resolveModules(tx: Queryable, inputs: ModuleInput[]): Promise<ModuleReference[]> {
  const references: ModuleReference[] = [];
  for (const input of inputs) {
    const reference = await resolve(tx, input);
    if (references.some(({ module_id: id }) => id === reference.module_id)) {
      throw managementError(400, `The module '${reference.module_name}' is named more than once.`, 'invalid_body');
    }
    references.push(reference);
  }
  return references;
}

async function resolve(tx: Queryable, input: ModuleInput): Promise<ModuleReference> {
  const { module_id: id, module_name: name, module_version_id: versionId, module_version_number: number } = input;
  let modules = tx.selectFrom('action_module').select(['id', 'name']).forUpdate();
  if (id !== undefined) modules = modules.where('id', '=', id);
  else if (name !== undefined) modules = modules.where('name_key', '=', name.toLowerCase());
  else throw managementError(400, 'A module of an action needs its module_id or module_name.', 'invalid_body');
  const module = await modules.executeTakeFirst();
  if (module === undefined) throw managementError(400, `The module '${id ?? name}' does not exist.`, 'invalid_body');

  let versions = tx.selectFrom('action_module_version').select(['id', 'number']).where('module_id', '=', module.id).orderBy('number', 'desc');
  if (versionId !== undefined) versions = versions.where('id', '=', versionId);
  if (number !== undefined) versions = versions.where('number', '=', number);
  const version = await versions.executeTakeFirst();
  if (version === undefined) {
    const wanted = versionId ?? number;
    throw managementError(400, `The module '${module.name}' has no version${wanted === undefined ? ': publish it first' : ` ${wanted}`}.`, 'invalid_body');
  }
  return { module_id: module.id, module_name: module.name, module_version_id: version.id, module_version_number: version.number };
}

/** An Action whose deployed version uses a module. */
export interface ModuleUse {
  action: { id: string; name: string; trigger_id: string; trigger_version: string };
  reference: ModuleReference;
}

/** Every use of a module by what is deployed, by the Actions' age. */
export async function deployedUses(queryable: Queryable): Promise<ModuleUse[]> {
  const rows = await queryable.selectFrom('action')
    .innerJoin('action_version', 'action_version.id', 'action.deployed_version_id')
    .select(['action.id as id', 'action.name as name', 'action.trigger_id as trigger_id', 'action.trigger_version as trigger_version', 'action_version.modules as modules'])
    .where('action_version.modules', '<>', '[]')
    .orderBy('action.id')
    .limit(LIMITS.actions)
    .execute();
  return rows.flatMap(({ modules, ...action }) => modulesOf({ modules }).map((reference) => ({ action, reference })));
}

/** True when a draft or what is deployed uses the module. */
export async function isModuleUsed(tx: Queryable, moduleId: string): Promise<boolean> {
  const drafts = await tx.selectFrom('action').select('modules').where('modules', '<>', '[]').execute();
  const uses = [...drafts.flatMap(modulesOf), ...(await deployedUses(tx)).map(({ reference }) => reference)];
  return uses.some(({ module_id: id }) => id === moduleId);
}
