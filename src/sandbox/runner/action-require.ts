import { createRequire, isBuiltin } from 'node:module';

/** A module that the Action asked for and that is not there: no retry mends it. */
export class MissingDependencyError extends Error {
  readonly code = 'MODULE_NOT_FOUND';
  override readonly name = 'MissingDependencyError';
}

/**
 * `require` for an Action's code: Node's own modules, the version's own dependencies, and the Action's modules.
 *
 * @param loadModule - gives what a module exports.
 * @throws {MissingDependencyError} for anything else, saying what to do.
 */
export function createActionRequire(dependenciesDir: string | null, loadModule: (name: string) => unknown): NodeJS.Require {
  const base = createRequire(dependenciesDir === null ? import.meta.url : `${dependenciesDir}/action.js`);

  function resolve(specifier: string, options?: { paths?: string[] }): string {
    if (typeof specifier !== 'string') throw new TypeError('require takes the name of a module as a string.');
    if (isBuiltin(specifier) || isModule(specifier)) return specifier;
    if (/^[./\\]/.test(specifier)) {
      throw new MissingDependencyError(
        `Cannot find module '${specifier}': an Action is a single file and can only require npm packages and Node's own modules.`,
      );
    }
    if (dependenciesDir === null) throw missing(specifier);
    try {
      return base.resolve(specifier, options);
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code;
      // Looking further up the disk ends at Node's permission model.
      if (code === 'MODULE_NOT_FOUND' || code === 'ERR_ACCESS_DENIED') throw missing(specifier);
      throw error;
    }
  }

  const require = ((specifier: string): unknown => (isModule(specifier) ? loadModule(specifier.slice(MODULE.length)) : base(resolve(specifier)))) as NodeJS.Require;
  require.resolve = resolve as NodeJS.RequireResolve;
  require.cache = base.cache;
  require.main = undefined;
  return require;
}

const MODULE = 'actions:';

function isModule(specifier: unknown): boolean {
  return typeof specifier === 'string' && specifier.startsWith(MODULE);
}

function missing(specifier: string): MissingDependencyError {
  const parts = specifier.split('/');
  const name = specifier.startsWith('@') ? parts.slice(0, 2).join('/') : parts[0];
  return new MissingDependencyError(
    `Cannot find module '${specifier}': add "${name}" to the Action's dependencies and deploy it again.`,
  );
}
