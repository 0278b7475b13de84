import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { alsoTrusted } from '../tls/trust.ts';
import { BuildFailure, type BuildFailureId } from './build-failure.ts';

const CHILD = fileURLToPath(new URL('install-child.ts', import.meta.url));

/** Of a whole install; axios and @slack/webhook take about 3 s with a cold cache. */
const INSTALL_TIMEOUT_MS = 180_000;

export interface Dependency {
  name: string;
  version: string;
}

/** What the install process is told. */
export interface InstallOrder {
  /** An empty folder. */
  dir: string;
  dependencies: Dependency[];
  /** Of an earlier install of the same dependencies, to get the same packages again. */
  lockfile: string | null;
  /** Only asks the registry what would be installed. */
  lookUpOnly?: boolean;
}

/** The order, with what that process cannot know by itself. */
export interface InstallMessage extends InstallOrder {
  /** Authorities in PEM that this process trusts beside the usual ones (`USHER_EXTRA_CA_CERTS`). */
  trusted: string[];
}

/** What the registry says about dependencies. */
export interface LookedUp {
  /** The dependencies in their order, each with the exact version that it was resolved to. */
  resolved: Dependency[];
  /** Packages whose install scripts are not run. */
  withInstallScripts: string[];
}

/** A finished install: the tree lies packed at `archivePath`, inside the order's folder. */
export interface Installed extends LookedUp {
  lockfile: string;
  archivePath: string;
}

/** What the install process answers. */
export type InstallAnswer =
  | ({ outcome: 'installed' } & Installed)
  | ({ outcome: 'looked-up' } & LookedUp)
  | { outcome: 'failed'; id: BuildFailureId; message: string };

interface InstallOptions {
  signal: AbortSignal;
  /** @default 3 min */
  timeoutMs?: number;
}

/**
 * Installs dependencies from the npm registry in a process of its own, which is killed when it takes too long, when
 * `signal` is aborted, and when this process dies.
 *
 * @throws {BuildFailure} with the reason.
 */
export async function installDependencies(order: InstallOrder, options: InstallOptions): Promise<Installed> {
  const answer = await carryOut(order, options);
  if (answer.outcome !== 'installed') throw new TypeError('the dependencies were only looked up');
  return answer;
}

/**
 * Asks the registry which packages these dependencies would bring, without fetching any.
 *
 * @param dir an empty folder.
 * @throws {BuildFailure} with the reason why they cannot be installed; one that shows only when they are, e.g. native
 *   code, is not found.
 */
export async function lookUpDependencies({ dir, dependencies }: { dir: string; dependencies: Dependency[] }, options: InstallOptions): Promise<LookedUp> {
  const answer = await carryOut({ dir, dependencies, lockfile: null, lookUpOnly: true }, options);
  if (answer.outcome !== 'looked-up') throw new TypeError('the dependencies were installed');
  return answer;
}

async function carryOut(order: InstallOrder, { signal, timeoutMs = INSTALL_TIMEOUT_MS }: InstallOptions): Promise<Exclude<InstallAnswer, { outcome: 'failed' }>> {
  signal.throwIfAborted();
  // Its own group, so that the npm that it asks for its settings goes with it.
  const child = fork(CHILD, [], { detached: true, execArgv: [], serialization: 'json', stdio: ['ignore', 'ignore', 'pipe', 'ipc'] });
  const kill = () => {
    if (child.pid !== undefined && child.exitCode === null && child.signalCode === null) process.kill(-child.pid, 'SIGKILL');
  };
  let timedOut = false;
  const timer = setTimeout(() => {
    timedOut = true;
    kill();
  }, timeoutMs);
  signal.addEventListener('abort', kill, { once: true });
  try {
    let answer: InstallAnswer | undefined;
    let errorOutput = '';
    child.on('message', (message) => (answer = message as InstallAnswer));
    child.stderr?.on('data', (chunk) => (errorOutput = (errorOutput + String(chunk)).slice(-2000)));
    child.send({ ...order, trusted: alsoTrusted() } satisfies InstallMessage);
    await once(child, 'exit');
    signal.throwIfAborted();
    if (answer?.outcome === 'failed') throw new BuildFailure(answer.id, answer.message);
    if (answer !== undefined) return answer;
    if (timedOut) throw new BuildFailure('install_timed_out', `Installing the dependencies took longer than ${timeoutMs / 1000} s. Change the Action to build it again, or use fewer dependencies.`);
    throw new BuildFailure('install_failed', `The install process ended without an answer (${child.signalCode ?? child.exitCode}): ${errorOutput}`);
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', kill);
    kill();
  }
}
