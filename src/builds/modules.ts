import type { RunnableModule } from '../domain/invocation.ts';
import type { Queryable } from '../store/database.ts';
import type { Keyring } from '../store/keyring.ts';
import type { ModuleReference } from '../store/module-references.ts';
import { moduleSecretsContext } from '../store/modules.ts';
import type { Row } from '../store/schema.ts';
import { BuildFailure } from './build-failure.ts';
import type { Dependency } from './install.ts';

/** A version of a module under the name that Actions require it by. */
export type NamedModule = Row<'action_module_version'> & { name: string };

/**
 * Reads the versions of modules that an Action uses, in their order.
 *
 * @throws {Error} when one is not in the store, which keeps each for as long as somebody names it.
 */
export async function readModules(db: Queryable, references: ModuleReference[]): Promise<NamedModule[]> {
  if (references.length === 0) return [];
  const rows = await db.selectFrom('action_module_version').selectAll().where('id', 'in', references.map((each) => each.module_version_id)).execute();
  return references.map(({ module_name: name, module_version_id: id, module_version_number: number }) => {
    const row = rows.find((each) => each.id === id);
    if (row === undefined) throw new Error(`Version ${number} of the module '${name}' (${id}) is not in the store. Restore it from a backup.`);
    return { ...row, name };
  });
}

/** Opens the secrets of modules, so that they can be run. */
export async function openModules(keyring: Keyring, modules: NamedModule[]): Promise<RunnableModule[]> {
  return await Promise.all(modules.map(async ({ name, code, module_id: id, key_id: keyId, secrets_sealed: sealed }) => ({
    name,
    code,
    secrets: await keyring.openJson<Record<string, string>>(keyId, moduleSecretsContext(id), sealed),
  })));
}

/**
 * The dependencies of an Action with those of its modules. There is one tree for all, as an Action and its modules may
 * hand each other objects of a package.
 *
 * @throws {BuildFailure} `dependency_conflict` when two of them ask for a package in different words.
 */
export function mergeDependencies(own: Dependency[], modules: Pick<NamedModule, 'name' | 'dependencies'>[]): Dependency[] {
  const merged = new Map(own.map((dependency) => [dependency.name, { dependency, by: 'the Action' }]));
  for (const { name: module, dependencies } of modules) {
    for (const dependency of JSON.parse(dependencies) as Dependency[]) {
      const by = `the module '${module}'`;
      const known = merged.get(dependency.name);
      if (known !== undefined && known.dependency.version !== dependency.version) {
        const [one, other] = [known.dependency, dependency].map(({ name, version }) => `${name}@${version}`);
        throw new BuildFailure('dependency_conflict', `${capitalised(known.by)} asks for ${one}, and ${by} for ${other}: name the same version in both.`);
      }
      merged.set(dependency.name, { dependency, by });
    }
  }
  return [...merged.values()].map(({ dependency }) => dependency);
}

function capitalised(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
