import { join } from 'node:path';
import { lastLine } from './program-cache.ts';
import { type ProgressOutput, withProgress } from '../progress.ts';
import { runToEnd } from './fetch-child.ts';

/** The newest release of Temporal's command line that `go install` can build: 1.9.1 has a `replace` in its go.mod. */
export const CLI_VERSION = '1.5.1';
const CLI_PACKAGE = `github.com/temporalio/cli/cmd/temporal@v${CLI_VERSION}`;
export const GO_INSTALL = `go install ${CLI_PACKAGE}`;

/**
 * Builds Temporal's command line with Go into an empty folder; takes minutes, and shows it.
 *
 * @param go path of the `go` program.
 * @returns the program's path.
 * @throws with the last line that `go` said.
 */
export async function goInstall(
  go: string,
  folder: string,
  options: { env: NodeJS.ProcessEnv; output: ProgressOutput; signal?: AbortSignal | undefined },
): Promise<string> {
  const what = `Building Temporal's command line ${CLI_VERSION} with Go, once`;
  await withProgress({ what, usually: '3 to 5 min on two processors', output: options.output }, async (detail) => {
    let compiled = 0;
    try {
      await runToEnd({
        command: go,
        // `-v` names each package when it is compiled: a sign of life.
        args: ['install', '-v', CLI_PACKAGE],
        env: { ...options.env, GOBIN: folder },
        cwd: folder,
        signal: options.signal,
        onErrorLine: (line) => detail(line.startsWith('go: ') ? 'downloading modules' : `${++compiled} packages compiled`),
      });
    } catch (error) {
      throw new Error(lastLine((error as Error).message), { cause: error });
    }
  });
  return join(folder, 'temporal');
}
