import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { isStoreUnavailable } from '../../src/store/database.ts';
import { acquireLock, LockedError } from '../../src/store/lock.ts';

const HOLDER = new URL('processes/hold-lock.ts', import.meta.url).pathname;

let dir: string;
let path: string;
const holders: ChildProcess[] = [];

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'usher-lock-'));
  path = join(dir, 'usher.lock');
});
afterEach(async () => {
  for (const holder of holders.splice(0)) holder.kill('SIGKILL');
  await rm(dir, { recursive: true, force: true });
});

async function holdElsewhere(): Promise<ChildProcess> {
  const holder = spawn(process.execPath, [HOLDER, path], { stdio: ['ignore', 'pipe', 'inherit'] });
  holders.push(holder);
  expect(String(await once(holder.stdout, 'data'))).toContain('locked');
  return holder;
}

test('while another process holds the lock it is refused, naming that process and what to do', async () => {
  const holder = await holdElsewhere();

  expect(() => acquireLock(path)).toThrow(LockedError);
  expect(() => acquireLock(path)).toThrow(new RegExp(`process ${holder.pid}\\).*Stop it first.*USHER_DATA_DIR`));
});

test('the lock of a process that was killed with -9 is free', async () => {
  const holder = await holdElsewhere();
  const dead = once(holder, 'exit');
  holder.kill('SIGKILL');
  await dead;

  const lock = acquireLock(path);

  expect(() => acquireLock(path)).toThrow(new RegExp(`process ${process.pid}`));
  lock.release();
});

test('a released lock can be taken again, and releasing it twice takes it from nobody', async () => {
  const first = acquireLock(path);
  first.release();
  const second = acquireLock(path);

  first.release();

  expect(() => acquireLock(path)).toThrow(LockedError);
  second.release();
  await holdElsewhere();
});

test('a folder that is not there is another error than a lock that is held', () => {
  let thrown: unknown;
  try {
    acquireLock(join(dir, 'nowhere', 'usher.lock'));
  } catch (error) {
    thrown = error;
  }
  expect(thrown).not.toBeInstanceOf(LockedError);
  expect(isStoreUnavailable(thrown)).toBe(true);
});
