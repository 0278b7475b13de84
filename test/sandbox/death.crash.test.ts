import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { until } from './harness.ts';

/** A process that has ended but that nobody has waited for is dead too: orphans in a container stay so. */
function runs(pid: number): boolean {
  try {
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'latin1'));
  } catch {
    return false;
  }
}

test.runIf(process.platform === 'linux')('sandboxes die with a parent that is killed with -9, even in an endless loop', async () => {
  const program = new URL('orphan-parent.ts', import.meta.url).pathname;
  const parent = spawn(process.execPath, [program], { stdio: ['ignore', 'pipe', 'inherit'] });
  const line = await new Promise<string>((resolve) => parent.stdout.once('data', (text: Buffer) => resolve(text.toString())));
  const pids = JSON.parse(line) as number[];
  expect(pids.map(runs)).toEqual([true, true]);
  parent.kill('SIGKILL');
  await until('both sandboxes to be dead', () => !pids.some(runs));
});
