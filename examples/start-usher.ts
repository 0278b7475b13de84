import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import tls from 'node:tls';
import { fileURLToPath } from 'node:url';

const MAIN = fileURLToPath(new URL('../src/main.ts', import.meta.url));
const START_PATIENCE_MS = 60_000;

/** An Usher of one's own, as `npm start` runs it, on free ports and with its data in a folder that goes with it. */
export interface OwnUsher {
  api: string;
  webUi: string;
  clientId: string;
  clientSecret: string;
  dataDir: string;
  process: ChildProcess;
  /** Everything that it has printed so far. */
  output(): string;
  /** Ends it as Ctrl-C does and, when the folder was made here, deletes it. */
  stop(): Promise<void>;
}

/** What a running Usher leaves in its data directory for scripts. */
export interface RunningUsher {
  api: string;
  webUi: string | null;
  /** Where each role serves `/healthz`, `/readyz` and `/metrics`. */
  ops: { api?: string; worker?: string };
  clientId: string;
  clientSecretFile: string;
  /** With `--https`. */
  caFile?: string;
}

/** Finds the Usher that runs on this data directory; its certificate is trusted from now on. @throws when there is none. */
export async function readRunning(dataDir: string): Promise<RunningUsher> {
  const running = JSON.parse(await readFile(join(dataDir, 'running.json'), 'utf8')) as RunningUsher;
  if (running.caFile !== undefined) tls.setDefaultCACertificates([...tls.getCACertificates('default'), await readFile(running.caFile, 'utf8')]);
  return running;
}

/**
 * Starts Usher and waits until it serves sign-ups; Temporal may take longer.
 *
 * @param options.args of its command line: `--https`.
 * @param options.dataDir kept after the stop. @default a new folder that is deleted
 * @param options.show gets what Usher prints, as it comes.
 * @throws when it ends or does not serve within 60 s; the message has what it printed.
 */
export async function startUsher(options: { args?: string[]; env?: Record<string, string>; dataDir?: string; show?(text: string): void } = {}): Promise<OwnUsher> {
  const dataDir = options.dataDir ?? (await mkdtemp(join(tmpdir(), 'usher-')));
  const child = spawn(process.execPath, [MAIN, ...(options.args ?? [])], {
    env: { ...process.env, USHER_PORT: '0', USHER_DATA_DIR: dataDir, ...options.env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let printed = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      printed += text;
      options.show?.(text);
    });
  }
  const gone = new Promise<void>((resolve) => child.once('exit', () => resolve()));

  async function stop(): Promise<void> {
    child.kill('SIGTERM');
    await gone;
    if (options.dataDir === undefined) await rm(dataDir, { recursive: true, force: true });
  }

  try {
    await until(() => printed.includes('Usher serves sign-ups'), () => child.exitCode ?? child.signalCode);
    const running = await readRunning(dataDir);
    return {
      api: running.api,
      webUi: running.webUi ?? '',
      clientId: running.clientId,
      clientSecret: options.env?.['USHER_CLIENT_SECRET'] ?? (await readFile(running.clientSecretFile, 'utf8')).trim(),
      dataDir,
      process: child,
      output: () => printed,
      stop,
    };
  } catch (error) {
    await stop();
    throw new Error(`Usher did not start (${(error as Error).message}). It printed:\n${printed}`, { cause: error });
  }
}

async function until(condition: () => boolean, ended: () => number | string | null): Promise<void> {
  const giveUpAt = performance.now() + START_PATIENCE_MS;
  while (!condition()) {
    if (ended() !== null) throw new Error(`it ended with ${ended()}`);
    if (performance.now() > giveUpAt) throw new Error(`it did not serve within ${START_PATIENCE_MS / 1000} s`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
