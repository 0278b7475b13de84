import vm from 'node:vm';
import { createActionRequire } from './action-require.ts';
import { createModuleLoader, fileName } from './load-module.ts';
import type { VersionMessage } from './messages.ts';

export type Handler = (event: unknown, api: unknown) => Promise<unknown>;

/**
 * Runs the Action's code as a CommonJS module and returns its handler. The error texts are those of Auth0's own
 * runner (contract §1.2), which also asks for an async function by its constructor's name.
 *
 * @throws what the code threw, or why its exports will not do.
 */
export function loadAction(version: VersionMessage): Handler {
  const module: { exports: unknown } = { exports: {} };
  const compiled = vm.compileFunction(version.code, ['module', 'exports', 'require', 'console'], {
    filename: fileName(version.actionName),
    importModuleDynamically: vm.constants.USE_MAIN_CONTEXT_DEFAULT_LOADER,
  });
  const requireFor = (loadModule: (name: string) => unknown) => createActionRequire(version.dependenciesDir, loadModule);
  const exported = module.exports;
  Reflect.apply(compiled, exported, [module, exported, requireFor(createModuleLoader(version.modules, requireFor)), console]);

  const { exports } = module;
  if (typeof exports !== 'object' || exports === null) throw new Error('The Action must export an object.');
  const handler = (exports as Record<string, unknown>)[version.handler];
  if (typeof handler !== 'function' || handler.constructor?.name !== 'AsyncFunction') {
    throw new Error(
      `Invalid function signature for the "${version.handler}" handler. ` +
        `Use "exports.${version.handler} = async function(event, api) { }" as the signature.`,
    );
  }
  return (event, api) => Reflect.apply(handler, exports, [event, api]) as Promise<unknown>;
}
