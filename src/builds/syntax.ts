import { compileFunction } from 'node:vm';
import { BuildFailure } from './build-failure.ts';

/**
 * Parses an Action's code as the sandbox will compile it, without running any of it.
 *
 * @throws {BuildFailure} `invalid_code` with the line at fault.
 */
export function checkSyntax(code: string): void {
  try {
    compileFunction(code, ['module', 'exports', 'require', 'console'], { filename: 'code.js' });
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    // V8 puts the place on the first line of the stack; a RangeError (nested too deeply) has none.
    const line = /^code\.js:(\d+)/.exec(error.stack ?? '')?.[1];
    const place = line === undefined ? '' : ` (line ${line})`;
    throw new BuildFailure('invalid_code', `The code cannot be compiled: ${error.name}: ${error.message}${place}.`);
  }
}
