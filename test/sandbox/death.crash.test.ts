import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { until } from './harness.ts';

/** A process that has ended but that nobody has waited for is dead too: orphans in a container stay so. */
function runs(pid: number): boolean {
  try {
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'latin1'));
  } catch {
    return false;
  }
}

/** Processor time used so far, in ticks. */
const ticks = (pid: number): number => Number(readFileSync(`/proc/${pid}/stat`, 'latin1').split(' ')[13]);

describe.runIf(process.platform === 'linux')('a sandbox whose parent is killed with -9 dies', () => {
  test.each([
    ['while it waits', 'setInterval(() => {}, 1000); await new Promise(() => {});', 'all'],
    ['while it waits, without util-linux', 'setInterval(() => {}, 1000); await new Promise(() => {});', 'bare'],
    ['in an endless loop', 'for (;;);', 'all'],
  ])('%s', async (_name, body, walls) => {
    const program = new URL('orphan-parent.ts', import.meta.url).pathname;
    const parent = spawn(process.execPath, [program, body, walls], { stdio: ['ignore', 'pipe', 'inherit'] });
    const pid = Number(await new Promise<string>((resolve) => parent.stdout.once('data', (text: Buffer) => resolve(text.toString()))));
    const atStart = ticks(pid);
    if (body.startsWith('for')) await until('the loop', () => ticks(pid) > atStart + 20);
    expect(runs(pid)).toBe(true);
    parent.kill('SIGKILL');
    try {
      await until('the sandbox to be dead', () => !runs(pid));
    } finally {
      if (runs(pid)) process.kill(pid, 'SIGKILL');
    }
  });
});
