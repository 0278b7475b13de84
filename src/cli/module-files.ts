import { readdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { mergeDependencies } from '../builds/modules.ts';
import { type ActionDefinition, type ActionFiles, kindOf, readWithCode, WITH_CODE } from './action-files.ts';

/** A module as it lies in an export: `action-modules/<name>.json`, and its code. */
export type ModuleFiles = Awaited<ReturnType<typeof readWithCode>>;

/**
 * Reads the modules that an Action names from the export that it lies in. Those that are not there are left out.
 *
 * @throws {ActionFileError} when a file of the export's modules cannot be read or is not as it should be.
 */
export async function readModules({ definition, definitionFile }: Pick<ActionFiles, 'definition' | 'definitionFile'>): Promise<ModuleFiles[]> {
  if (definition === null || definitionFile === null || definition.modules.length === 0) return [];
  const folder = join(dirname(definitionFile), '..', 'action-modules');
  if ((await kindOf(folder)) !== 'folder') return [];
  const files = (await readdir(folder)).filter((name) => name.endsWith('.json')).toSorted();
  const modules = await Promise.all(files.map((name) => readWithCode(WITH_CODE, join(folder, name), 'a module')));
  return modules.filter(({ name }) => definition.modules.some((each) => each.module_name === name));
}

/** Names of the modules that an Action names and that are not there. */
export function missingModules({ modules }: ActionDefinition, found: ModuleFiles[]): string[] {
  return modules.map(({ module_name: name }) => name).filter((name) => !found.some((each) => each.name === name));
}

/**
 * The dependencies of an Action with those of its modules, as they are installed.
 *
 * @throws {BuildFailure} when two of them ask for a package in different words.
 */
export function withThoseOfModules(own: { name: string; version: string }[], modules: ModuleFiles[]): { name: string; version: string }[] {
  return mergeDependencies(own, modules.map(({ name, definition }) => ({ name, dependencies: JSON.stringify(definition.dependencies) })));
}
