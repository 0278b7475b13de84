import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { createManagementClient, type ManagementClient } from '../examples/management-client.ts';
import { type OwnUsher, startUsher } from '../examples/start-usher.ts';
import { CONNECTION, PASSWORD, until } from './ledger.ts';
import type { Rounds } from './statistics.ts';

/** An Usher under test, with the means to set it up. */
export interface BenchUsher extends OwnUsher {
  management: ManagementClient;
}

/** Temporal's program is there; a busy machine takes its time all the same. */
const READY_PATIENCE_MS = 60_000;

/** Starts an Usher as `npm start` does, except that it refuses nobody and does not log each request. */
export async function startBenchUsher(env: Record<string, string> = {}): Promise<BenchUsher> {
  const usher = await startUsher({ env: { USHER_RATE_LIMITS: 'off', USHER_LOG_LEVEL: 'error', ...env } });
  try {
    return { ...usher, management: await createManagementClient(usher) };
  } catch (error) {
    await usher.stop();
    throw error;
  }
}

/** Resolves when the Usher does everything that it can do: Temporal serves and the worker runs. */
export async function fullyReady({ api }: OwnUsher): Promise<void> {
  await until(READY_PATIENCE_MS, 'Usher was not ready', async () => {
    const { status } = (await (await fetch(`${api}/readyz`)).json()) as { status: string };
    return status === 'ready';
  });
}

/** Signs a new user up. @returns how long the answer took, in milliseconds. @throws when it is not 200. */
export async function signUp({ api }: OwnUsher): Promise<number> {
  const email = `bench-${process.hrtime.bigint().toString(36)}@example.com`;
  const body = JSON.stringify({ connection: CONNECTION, email, password: PASSWORD });
  const startedAt = performance.now();
  const response = await fetch(`${api}/dbconnections/signup`, { method: 'POST', headers: { 'content-type': 'application/json' }, body });
  const text = await response.text();
  const durationMs = performance.now() - startedAt;
  if (!response.ok) throw new Error(`A sign-up was answered ${response.status}: ${text}`);
  return durationMs;
}

/** As many sign-ups as are one sample of `signUpWhile`. */
const SIGN_UPS_PER_ROUND = 10;

/**
 * Signs one user up every `everyMs`, whether or not those before were answered, so that what stalls all of them counts
 * as often as it hits somebody.
 *
 * @param goesOn asked before each; a round that is not full then is left out.
 * @returns how long the answers took, in milliseconds. @throws when one was not 200.
 */
export async function signUpWhile(usher: OwnUsher, everyMs: number, goesOn: () => boolean): Promise<Rounds> {
  const answers: Promise<number | Error>[] = [];
  for (let dueAt = performance.now(); goesOn(); dueAt += everyMs) {
    answers.push(signUp(usher).catch((error: unknown) => (error instanceof Error ? error : new Error(String(error)))));
    await sleep(Math.max(0, dueAt + everyMs - performance.now()));
  }
  const durations: number[] = [];
  for (const answer of await Promise.all(answers)) {
    if (answer instanceof Error) throw answer;
    durations.push(answer);
  }
  const rounds = Math.floor(durations.length / SIGN_UPS_PER_ROUND);
  return Array.from({ length: rounds }, (_, round) => durations.slice(round * SIGN_UPS_PER_ROUND, (round + 1) * SIGN_UPS_PER_ROUND));
}

/** The process of an Usher's own Temporal server. */
export async function temporalPid({ dataDir }: OwnUsher): Promise<number> {
  const { server } = JSON.parse(await readFile(join(dataDir, 'temporal', 'server.json'), 'utf8')) as { server: { pid: number } };
  return server.pid;
}

/** Binds so many Actions that do nothing. */
export async function bindTrivial({ management }: BenchUsher, count: number): Promise<void> {
  await bind(management, Array.from({ length: count }, () => 'exports.onExecutePostUserRegistration = async () => {};'));
}

/** Binds, in this order, Actions that each wait for the answer of a receiver, to which they send their idempotency key. @returns their ids. */
export async function bindCallers({ management }: BenchUsher, urls: string[]): Promise<string[]> {
  return await bind(management, urls.map((url) => `
    exports.onExecutePostUserRegistration = async (event) => {
      await fetch('${url}', { method: 'POST', headers: { 'idempotency-key': event.usher.idempotency_key } });
    };`));
}

async function bind(management: ManagementClient, codes: string[]): Promise<string[]> {
  const ids: string[] = [];
  for (const [index, code] of codes.entries()) {
    ids.push(await management.deployAction({ name: `Bench ${index + 1}`, triggerId: 'post-user-registration', code }));
  }
  await management.bind('post-user-registration', ids);
  return ids;
}
