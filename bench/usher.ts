import { createManagementClient, type ManagementClient } from '../examples/management-client.ts';
import { type OwnUsher, startUsher } from '../examples/start-usher.ts';
import { CONNECTION, PASSWORD, until } from './ledger.ts';

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

/** Binds so many Actions that do nothing. */
export async function bindTrivial({ management }: BenchUsher, count: number): Promise<void> {
  await bind(management, Array.from({ length: count }, () => 'exports.onExecutePostUserRegistration = async () => {};'));
}

/** Binds one Action that waits for the answer of a receiver. */
export async function bindCaller({ management }: BenchUsher, url: string): Promise<void> {
  await bind(management, [`exports.onExecutePostUserRegistration = async () => { await fetch('${url}', { method: 'POST' }); };`]);
}

async function bind(management: ManagementClient, codes: string[]): Promise<void> {
  const ids: string[] = [];
  for (const [index, code] of codes.entries()) {
    ids.push(await management.deployAction({ name: `Bench ${index + 1}`, triggerId: 'post-user-registration', code }));
  }
  await management.bind('post-user-registration', ids);
}
