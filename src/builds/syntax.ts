import { compileFunction } from 'node:vm';
import { BuildFailure } from './build-failure.ts';

/**
 * Parses the code of an Action or a module as the sandbox will compile it, without running any of it.
 *
 * @param module - the module's name.
 * @throws {BuildFailure} `invalid_code` with the line at fault.
 */
export function checkSyntax(code: string, module?: string): void {
  try {
    compileFunction(code, ['module', 'exports', 'require', 'console'], { filename: 'code.js' });
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    // V8 puts the place on the first line of the stack; a RangeError (nested too deeply) has none.
    const line = /^code\.js:(\d+)/.exec(error.stack ?? '')?.[1];
    const place = line === undefined ? '' : ` (line ${line})`;
    const what = module === undefined ? 'The code' : `The code of the module '${module}'`;
    throw new BuildFailure('invalid_code', `${what} cannot be compiled: ${error.name}: ${error.message}${place}.`);
  }
}
