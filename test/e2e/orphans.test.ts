import { spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { kill9, processesOf, withVariable } from './processes.ts';
import { until } from './until.ts';

const MAIN = fileURLToPath(new URL('../../src/main.ts', import.meta.url));

let dataDir: string;

beforeEach(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'usher-e2e-'));
});

afterEach(async () => {
  for (const pid of withVariable('USHER_DATA_DIR', dataDir)) process.kill(pid, 'SIGKILL');
  await rm(dataDir, { recursive: true, force: true });
});

// While the roles load their code, open the store, wait for a lock, prove their sandboxes, and serve.
test.each([0, 100, 300, 600, 1_000, 1_500])('a supervisor killed with -9 %i ms after its roles were started leaves no process behind', async (ms) => {
  const supervisor = spawn(process.execPath, [MAIN], {
    env: { ...process.env, USHER_PORT: '0', USHER_DATA_DIR: dataDir },
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  await until('the roles are started', () => processesOf(supervisor.pid!).api);
  await new Promise((resolve) => setTimeout(resolve, ms));
  const left = processesOf(supervisor.pid!).all;
  expect(left.length).toBeGreaterThan(0);

  await kill9(supervisor.pid!);

  await until('no process of it is left', () => withVariable('USHER_DATA_DIR', dataDir).length === 0, 40_000);
});
