import { access, constants } from 'node:fs/promises';
import { delimiter, join, resolve } from 'node:path';
import { type ProgressOutput, withProgress } from '../progress.ts';
import { CLI_VERSION, GO_INSTALL, goInstall } from './go-install.ts';
import { cacheProgram, programVersion } from './program-cache.ts';
import { downloadWithSdk, SDK_VERSION } from './sdk-download.ts';

/** Where Temporal is: a server that runs elsewhere, or a program with which to run a development server here. */
export type TemporalServer =
  | { kind: 'address'; address: string }
  | { kind: 'program'; program: string; source: 'path' | 'download' | 'build' };

export interface FindServerOptions {
  /** `TEMPORAL_ADDRESS`; given, nothing is looked for. */
  address: string | null;
  /** For `PATH`, and for what `go` and a proxy need. */
  env: NodeJS.ProcessEnv;
  /** Outside the clone, e.g. `~/.cache/usher`. */
  cacheDir: string;
  output: ProgressOutput;
  /** Ends a download or a build under way. */
  signal?: AbortSignal;
}

/** No Temporal server, and none could be fetched; the message says what was tried and what to do. */
export class ServerNotFoundError extends Error {
  constructor(tried: readonly string[]) {
    super(
      [
        "Temporal's development server was not found and could not be fetched. Tried:",
        ...tried.map((line) => `  - ${line}`),
        'What to do: install the Temporal CLI so that `temporal` is on the PATH (https://docs.temporal.io/cli), or install',
        'Go so that it can be built, or set TEMPORAL_ADDRESS to a Temporal server that runs elsewhere. Then start again.',
      ].join('\n'),
    );
    this.name = 'ServerNotFoundError';
  }
}

/**
 * Finds a Temporal server in this order: the address given; a `temporal` on the PATH; what an earlier start has put
 * into the cache; the SDK's own download; a `go install` of the official command line, which takes minutes, once.
 *
 * @throws {ServerNotFoundError} when nothing works.
 * @throws the signal's reason when it was ended.
 */
export async function findServer({ address, env, cacheDir, output, signal }: FindServerOptions): Promise<TemporalServer> {
  if (address !== null) return { kind: 'address', address };
  const tried: string[] = [];

  async function works(what: string, attempt: () => Promise<unknown>): Promise<boolean> {
    try {
      await attempt();
      return true;
    } catch (error) {
      signal?.throwIfAborted();
      tried.push(`${what}: ${error instanceof Error ? error.message : String(error)}`);
      return false;
    }
  }

  const installed = await onPath('temporal', env);
  if (installed === null) tried.push('`temporal` on the PATH: not there');
  else if (await works('`temporal` on the PATH', () => programVersion(installed))) {
    return { kind: 'program', program: installed, source: 'path' };
  }

  const downloaded = join(cacheDir, `temporal-cli-sdk-${SDK_VERSION}`, 'temporal');
  const built = join(cacheDir, `temporal-cli-${CLI_VERSION}`, 'temporal');
  for (const [program, source] of [[downloaded, 'download'], [built, 'build']] as const) {
    if ((await isExecutable(program)) && (await works(`the cached ${source}`, () => programVersion(program)))) {
      return { kind: 'program', program, source };
    }
  }

  const download = (folder: string) => downloadWithSdk('dev-server', folder, { env, signal });
  const showDownload = { what: "Downloading Temporal's command line", usually: 'under a minute', output };
  if (await works("the SDK's download", () => withProgress(showDownload, () => cacheProgram(downloaded, download)))) {
    return { kind: 'program', program: downloaded, source: 'download' };
  }

  const go = await onPath('go', env);
  if (go === null) tried.push(`\`${GO_INSTALL}\`: no \`go\` on the PATH`);
  else if (await works(`\`${GO_INSTALL}\``, () => cacheProgram(built, (folder) => goInstall(go, folder, { env, output, signal })))) {
    return { kind: 'program', program: built, source: 'build' };
  }
  throw new ServerNotFoundError(tried);
}

/** The whole path of a program on the PATH, or null. */
export async function onPath(name: string, env: NodeJS.ProcessEnv): Promise<string | null> {
  for (const folder of (env['PATH'] ?? '').split(delimiter)) {
    if (folder === '') continue;
    const file = resolve(folder, name);
    if (await isExecutable(file)) return file;
  }
  return null;
}

async function isExecutable(file: string): Promise<boolean> {
  return await access(file, constants.X_OK).then(() => true, () => false);
}
