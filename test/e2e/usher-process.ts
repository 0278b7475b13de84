import { type ChildProcess, spawn } from 'node:child_process';
import { createServer } from 'node:net';
import { fileURLToPath } from 'node:url';
import { until } from './until.ts';

const MAIN = fileURLToPath(new URL('../../src/main.ts', import.meta.url));

/** Usher's command line as a person runs it: what it prints, and how it ends. For what happens at starts and stops. */
export interface UsherProcess {
  child: ChildProcess;
  pid: number;
  /** Everything so far, of all its processes. */
  stdout(): string;
  stderr(): string;
  /** The lines of standard error that are for people: not of the log. */
  said(): string[];
  /** Resolves once it has printed this, on either of the two. */
  prints(text: string, limitMs?: number): Promise<void>;
  /** Resolves with its exit code, or the signal that ended it. */
  ended(limitMs?: number): Promise<number | NodeJS.Signals>;
}

/** With a Temporal server that is not there: for what has nothing to do with Temporal, and would only wait for it. */
export const NO_TEMPORAL = { TEMPORAL_ADDRESS: '127.0.0.1:1' };

/**
 * Starts it in a process group of its own, as a terminal does. Its environment holds nothing of this one but what a
 * program needs, and `env`.
 *
 * @param options.via a command that starts it: `setpriv --reuid …`.
 */
export function spawnUsher(options: { args?: string[]; env?: Record<string, string>; via?: string[] }): UsherProcess {
  const [command = '', ...args] = [...(options.via ?? []), process.execPath, MAIN, ...(options.args ?? [])];
  return follow(spawn(command, args, { env: { ...plainEnv(), ...options.env }, stdio: ['ignore', 'pipe', 'pipe'], detached: true }));
}

/** What a program needs of this process's environment. */
export function plainEnv(): Record<string, string> {
  const needed = ['PATH', 'HOME', 'XDG_CACHE_HOME', 'TMPDIR', 'GOPROXY', 'GOFLAGS', 'HTTPS_PROXY', 'NO_PROXY'];
  return Object.fromEntries(needed.flatMap((name) => (process.env[name] === undefined ? [] : [[name, process.env[name]]])));
}

export function follow(child: ChildProcess): UsherProcess {
  const printed = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr'] as const) {
    child[name]!.setEncoding('utf8').on('data', (text: string) => {
      printed[name] += text;
    });
  }
  let closed = false;
  child.once('close', () => (closed = true));
  child.once('error', (error) => (printed.stderr += String(error)));
  const all = () => printed.stdout + printed.stderr;
  /** What a start tells is written line by line: who waits for one of them may look for the others. */
  const isTelling = () => printed.stdout.includes('Usher serves sign-ups') && !/^ {2}Sign up .+\n/m.test(printed.stdout);

  return {
    child,
    pid: child.pid!,
    stdout: () => printed.stdout,
    stderr: () => printed.stderr,
    said: () => printed.stderr.split('\n').filter((line) => line !== '' && !line.startsWith('{"level"')),
    async prints(text, limitMs = 120_000) {
      await until(`it prints "${text}"`, () => (all().includes(text) && !isTelling()) || closed, limitMs);
      if (!all().includes(text)) throw new Error(`It ended without printing "${text}". It printed:\n${all()}`);
    },
    async ended(limitMs = 120_000) {
      await until('it has ended', () => closed, limitMs).catch((error: Error) => {
        throw new Error(`${error.message}. It printed:\n${all()}`);
      });
      return child.exitCode ?? child.signalCode!;
    },
  };
}

/** A port that is taken until `release`. */
export async function takePort(port: number): Promise<{ port: number; release(): void } | null> {
  const server = createServer();
  return await new Promise((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => (error.code === 'EADDRINUSE' ? resolve(null) : reject(error)));
    server.listen(port, '127.0.0.1', () => {
      const address = server.address();
      resolve({ port: typeof address === 'object' && address !== null ? address.port : port, release: () => server.close() });
    });
  });
}

/** Signs somebody up. */
export async function signUp(api: string, email: string, password = 'Correct-Horse-7'): Promise<{ status: number; body: Record<string, unknown> }> {
  const response = await fetch(`${api}/dbconnections/signup`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', connection: 'close' },
    body: JSON.stringify({ connection: 'Username-Password-Authentication', email, password }),
  });
  return { status: response.status, body: (await response.json()) as Record<string, unknown> };
}

/** What `/readyz` or `/healthz` answers. */
export async function ask(api: string, path: '/readyz' | '/healthz'): Promise<{ status: number; body: { status: string; degraded: Record<string, string> } }> {
  const response = await fetch(api + path, { headers: { connection: 'close' } });
  return { status: response.status, body: (await response.json()) as { status: string; degraded: Record<string, string> } };
}

/** The API's address as the start has told it. */
export function apiOf(usher: UsherProcess): string {
  const address = /^ {2}API +(http\S+)$/m.exec(usher.stdout())?.[1] ?? /"address":"(http[^"]+)"[^\n]*the role api is ready/.exec(usher.stderr())?.[1];
  if (address === undefined) throw new Error(`It has told no address:\n${usher.stdout()}${usher.stderr()}`);
  return address;
}
