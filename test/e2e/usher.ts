import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createManagementClient, type ManagementClient } from '../../examples/management-client.ts';
import { type OwnUsher, startUsher } from '../../examples/start-usher.ts';
import { kill9, processesOf, type UsherProcesses } from './processes.ts';
import { until } from './until.ts';

/** A real Usher, as `npm start` runs it, that can be killed and started again on the same data. */
export interface TestUsher {
  readonly api: string;
  readonly dataDir: string;
  readonly management: ManagementClient;
  /** Of the supervisor. */
  readonly pid: number;
  processes(): UsherProcesses;
  /** Everything that the one that runs now has printed. */
  output(): string;
  signUp(email: string, headers?: Record<string, string>): Promise<SignUpAnswer>;
  readyz(): Promise<{ status: number; degraded: Record<string, string> }>;
  /** Resolves when the worker runs registrations. */
  working(): Promise<void>;
  /** Kills the supervisor alone with SIGKILL. */
  kill(): Promise<void>;
  /** Ends it with SIGTERM; resolves with its exit code. */
  terminate(): Promise<number | null>;
  /** Starts it again on the same data, after `kill` or `terminate`. @param env variables that it has besides, from now on. */
  start(env?: Record<string, string>): Promise<void>;
  /** Ends it and deletes its data. */
  close(): Promise<void>;
}

export interface SignUpAnswer {
  status: number;
  body: Record<string, unknown>;
  ms: number;
}

const PASSWORD = 'Correct-Horse-7';

/** Starts Usher on a new data directory; sign-ups are served when it resolves. */
export async function startTestUsher(env: Record<string, string> = {}): Promise<TestUsher> {
  const dataDir = await mkdtemp(join(tmpdir(), 'usher-e2e-'));
  let usher: OwnUsher;
  let management: ManagementClient;

  async function start(more: Record<string, string> = {}): Promise<void> {
    Object.assign(env, more);
    usher = await startUsher({ dataDir, env: { USHER_RATE_LIMITS: 'off', ...env } });
    management = await createManagementClient(usher);
  }

  await start();

  return {
    get api() {
      return usher.api;
    },
    dataDir,
    get management() {
      return management;
    },
    get pid() {
      return usher.process.pid!;
    },
    processes: () => processesOf(usher.process.pid!),
    output: () => usher.output(),

    async signUp(email, headers = {}) {
      const startedAt = performance.now();
      const response = await fetch(`${usher.api}/dbconnections/signup`, {
        method: 'POST',
        // A connection of its own for each: one that is kept alive may be closed by a stopping server just now.
        headers: { 'content-type': 'application/json', connection: 'close', ...headers },
        body: JSON.stringify({ connection: 'Username-Password-Authentication', email, password: PASSWORD }),
      });
      return { status: response.status, body: (await response.json()) as Record<string, unknown>, ms: performance.now() - startedAt };
    },

    async readyz() {
      const response = await fetch(`${usher.api}/readyz`, { headers: { connection: 'close' } });
      const { degraded } = (await response.json()) as { degraded: Record<string, string> };
      return { status: response.status, degraded };
    },

    async working() {
      await until('the worker is ready', () => usher.output().includes('Ready: registrations run.'), 120_000);
    },

    kill: () => kill9(usher.process.pid!),

    async terminate() {
      usher.process.kill('SIGTERM');
      await until('Usher has ended after SIGTERM', () => usher.process.exitCode !== null || usher.process.signalCode !== null);
      return usher.process.exitCode;
    },

    start,

    async close() {
      await usher.stop();
      await rm(dataDir, { recursive: true, force: true });
    },
  };
}
