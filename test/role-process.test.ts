import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createRoleProcess } from '../src/role-process.ts';

let dir: string;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'usher-role-'));
});
afterAll(() => rm(dir, { recursive: true, force: true }));

test('one that is told something just after its death is started again once', async () => {
  const mainPath = join(dir, 'main.js');
  await writeFile(mainPath, "process.send({ type: 'ready', facts: { pid: String(process.pid) } }); process.on('message', () => {});");
  const pids: number[] = [];
  const reasons: string[] = [];
  const role = createRoleProcess({
    role: 'worker',
    mainPath,
    args: [],
    env: {},
    logger: pino({ level: 'silent' }),
    onOpsListening() {},
    onReady: ({ pid }) => pids.push(Number(pid)),
    onDown: (reason) => reasons.push(reason),
    onFatal() {},
  });
  role.start();
  await expect.poll(() => pids.length).toBe(1);

  // Without giving way, so that nothing is known yet of its death.
  process.kill(pids[0]!, 'SIGKILL');
  while (!readFileSync(`/proc/${pids[0]}/stat`, 'latin1').includes(') Z '));
  for (let n = 0; n < 3; n++) role.send({ type: 'listening', port: 1 });

  await expect.poll(() => pids.length).toBe(2);
  expect(reasons).toEqual(['was ended by SIGKILL']);
  await role.stop();
  expect(pids).toHaveLength(2);
});
