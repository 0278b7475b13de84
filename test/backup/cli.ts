import { fileURLToPath } from 'node:url';
import { type Ran, startProgram } from '../cli/cli.ts';
import { plainEnv } from '../e2e/usher-process.ts';

const USHER = fileURLToPath(new URL('../../src/cli/usher.ts', import.meta.url));

/** Runs the command line on a data directory, with nothing else of this process's environment. */
export async function usher(dataDir: string, args: string[], env: Record<string, string> = {}): Promise<Ran> {
  return await startProgram(process.execPath, [USHER, ...args], { cwd: fileURLToPath(new URL('../..', import.meta.url)), env: { ...plainEnv(), USHER_DATA_DIR: dataDir, ...env } }).ended;
}

/** Like `usher`; resolves with what it has said. @throws when its exit code is not 0. */
export async function done(dataDir: string, args: string[], env: Record<string, string> = {}): Promise<string> {
  const { code, out, err } = await usher(dataDir, args, env);
  if (code !== 0) throw new Error(`usher ${args.join(' ')} ended with ${code}:\n${out}${err}`);
  return out;
}
