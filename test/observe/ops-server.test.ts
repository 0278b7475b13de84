import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { afterEach, expect, test } from 'vitest';
import type { Readiness } from '../../src/http/health-routes.ts';
import { type OpsServer, startOpsServer } from '../../src/roles/ops-server.ts';
import { NO_TEMPORAL, spawnUsher, takePort, type UsherProcess } from '../e2e/usher-process.ts';
import { readOps } from './scrape.ts';

const ends: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).toReversed()) await end();
});

async function start(options: { port?: number; readiness?: () => Promise<Readiness>; metrics?: () => Promise<string> }): Promise<OpsServer> {
  const server = await startOpsServer({
    port: 0,
    host: '127.0.0.1',
    readiness: () => Promise.resolve({ ready: true, degraded: {} }),
    metrics: () => Promise.resolve('usher_ready 1\n'),
    logger: pino({ level: 'silent' }),
    ...options,
  });
  ends.push(() => server.close());
  return server;
}

/** A role alone, in a data directory of its own, with no Temporal. */
async function spawnRole(role: 'api' | 'worker', env: Record<string, string> = {}): Promise<UsherProcess> {
  const dir = await mkdtemp(join(tmpdir(), 'usher-ops-'));
  const usher = spawnUsher({ args: ['--role', role], env: { USHER_DATA_DIR: dir, USHER_PORT: '0', USHER_OPS_PORT: '0', ...NO_TEMPORAL, ...env } });
  ends.push(async () => {
    usher.child.kill('SIGTERM');
    await usher.ended();
    await rm(dir, { recursive: true, force: true });
  });
  return usher;
}

/** The first of two free ports in a row; nobody who takes any free port is given one of these before they are used. */
async function twoFreePorts(): Promise<{ port: number }> {
  for (let tries = 0; tries < 20; tries++) {
    const first = await takePort(30_000 + ((process.pid + tries) % 1_000) * 2);
    const second = first === null ? null : await takePort(first.port + 1);
    first?.release();
    second?.release();
    if (first !== null && second !== null) return first;
  }
  throw new Error('no two free ports in a row');
}

function opsOf(usher: UsherProcess): string {
  const line = usher.stderr().split('\n').find((each) => each.includes('serves /healthz, /readyz and /metrics'));
  return (JSON.parse(line ?? '{}') as { address: string }).address;
}

test('what is not ready answers 503 and says why', async () => {
  const { address } = await start({ readiness: () => Promise.resolve({ ready: false, degraded: { store: 'the disk is full' } }) });
  const response = await fetch(`${address}/readyz`);
  expect([response.status, await response.json()]).toEqual([503, { status: 'not ready', degraded: { store: 'the disk is full' } }]);
  expect((await fetch(`${address}/healthz`)).status).toBe(200);
});

test('metrics that cannot be read are answered with 500, and the next scrape is served again', async () => {
  let fails = true;
  const { address } = await start({ metrics: () => (fails ? Promise.reject(new Error('no')) : Promise.resolve('usher_ready 1\n')) });
  expect((await fetch(`${address}/metrics`)).status).toBe(500);
  fails = false;
  expect(await (await fetch(`${address}/metrics`)).text()).toBe('usher_ready 1\n');
});

test('a port that is named and taken is an error that names its variable', async () => {
  const taken = (await takePort(0))!;
  try {
    await expect(start({ port: taken.port })).rejects.toThrow(`Port ${taken.port} (USHER_OPS_PORT) is in use`);
  } finally {
    taken.release();
  }
});

test('under one supervisor, a port that is named is the api\'s, and the worker has the next one', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'usher-ops-'));
  const { port } = await twoFreePorts();
  const usher = spawnUsher({ env: { USHER_DATA_DIR: dir, USHER_PORT: '0', USHER_OPS_PORT: String(port), ...NO_TEMPORAL } });
  ends.push(async () => {
    usher.child.kill('SIGTERM');
    await usher.ended();
    await rm(dir, { recursive: true, force: true });
  });
  await usher.prints('Usher serves sign-ups.');
  const wanted = { api: `http://127.0.0.1:${port}`, worker: `http://127.0.0.1:${port + 1}` };
  await expect.poll(() => readOps(dir), { timeout: 20_000 }).toEqual(wanted);
  for (const origin of Object.values(wanted)) expect((await fetch(`${origin}/healthz`)).status).toBe(200);
});

test('a worker without Temporal lives, is not ready, and says so to whoever asks', async () => {
  const worker = await spawnRole('worker');
  await worker.prints('serves /healthz, /readyz and /metrics');
  const ops = opsOf(worker);
  expect((await fetch(`${ops}/healthz`)).status).toBe(200);
  const ready = await fetch(`${ops}/readyz`);
  expect([ready.status, await ready.json()]).toEqual([503, { status: 'not ready', degraded: { temporal: 'not reached yet' } }]);
  const text = await (await fetch(`${ops}/metrics`)).text();
  expect(text).toContain('\nusher_ready 0\n');
  expect(text).toContain('\nusher_temporal_reachable 0\n');
});

test('an api without Temporal is ready, and its metrics say that Temporal is away', async () => {
  const api = await spawnRole('api');
  await api.prints('the role api is ready');
  const ops = opsOf(api);
  const ready = await fetch(`${ops}/readyz`);
  expect(ready.status).toBe(200);
  expect(((await ready.json()) as { degraded: Record<string, string> }).degraded).toHaveProperty('temporal');
  expect(await (await fetch(`${ops}/metrics`)).text()).toContain('\nusher_temporal_reachable 0\n');
});
