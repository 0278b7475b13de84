import vm from 'node:vm';
import type { RunnableModule } from '../../domain/invocation.ts';
import { MissingDependencyError } from './action-require.ts';

/**
 * Makes the function that gives an Action its modules, by the name behind `actions:`. A module is run once in a process, when it is first required;
 * it may require packages and other modules, and sees its own secrets as `actions.secrets` (contract §1.2).
 */
export function createModuleLoader(modules: RunnableModule[], requireFor: (loadModule: (name: string) => unknown) => NodeJS.Require): (name: string) => unknown {
  const loaded = new Map<string, { exports: unknown }>();

  function load(name: string): unknown {
    const known = loaded.get(name);
    if (known !== undefined) return known.exports;
    const found = modules.find((each) => each.name === name);
    if (found === undefined) {
      throw new MissingDependencyError(`Cannot find module 'actions:${name}': add the module "${name}" to the Action's modules and deploy it again.`);
    }
    const module: { exports: unknown } = { exports: {} };
    // Before it runs, as Node does: two modules may require each other.
    loaded.set(name, module);
    try {
      const compiled = vm.compileFunction(found.code, ['module', 'exports', 'require', 'console', 'actions'], {
        filename: fileName(name),
        importModuleDynamically: vm.constants.USE_MAIN_CONTEXT_DEFAULT_LOADER,
      });
      Reflect.apply(compiled, module.exports, [module, module.exports, requireFor(load), console, { secrets: found.secrets }]);
    } catch (error) {
      loaded.delete(name);
      throw error;
    }
    return module.exports;
  }
  return load;
}

/** What stands in stack traces: a name without what would make it look like a path. */
export function fileName(name: string): string {
  return `${name.replaceAll(/[^\p{L}\p{N} ._-]/gu, '_').trim() || 'action'}.js`;
}
