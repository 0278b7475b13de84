import { spawnSync } from 'node:child_process';
import { mkdir, mkdtemp, readdir, readFile, rm, stat, statfs, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { createManagementClient } from '../../examples/management-client.ts';
import { readRegistration } from './ledger-view.ts';
import { until } from './until.ts';
import { apiOf, ask, NO_TEMPORAL, signUp, spawnUsher, type UsherProcess } from './usher-process.ts';

/** Holds a used store, Temporal's database, the compiled workflow, and a few hundred sign-ups. */
const DISK = '32m';

let disk: string;
let dataDir: string;
let usher: UsherProcess | undefined;
const canMount = tryMount();

beforeAll(async () => {
  disk = await mkdtemp(join(tmpdir(), 'usher-disk-'));
  if (canMount) mount(disk, DISK);
  dataDir = join(disk, 'data');
});
afterEach(async () => {
  if (usher !== undefined && usher.child.exitCode === null && usher.child.signalCode === null) usher.child.kill('SIGTERM');
  await usher?.ended();
  usher = undefined;
});
afterAll(async () => {
  if (canMount) run('umount', disk);
  await rm(disk, { recursive: true, force: true });
});

function tryMount(): boolean {
  const works = process.getuid?.() === 0 && spawnSync('unshare', ['--mount', 'mount', '-t', 'tmpfs', 'tmpfs', tmpdir()]).status === 0;
  if (!works) console.warn('full disk: skipped, because this user may not mount a small one');
  return works;
}

function mount(folder: string, size: string): void {
  run('mount', '-t', 'tmpfs', '-o', `size=${size}`, 'tmpfs', folder);
}

function run(command: string, ...args: string[]): void {
  const { status, stderr } = spawnSync(command, args);
  if (status !== 0) throw new Error(`${command}: ${String(stderr)}`);
}

function start(env: Record<string, string> = NO_TEMPORAL): UsherProcess {
  usher = spawnUsher({ env: { USHER_PORT: '0', USHER_DATA_DIR: dataDir, USHER_RATE_LIMITS: 'off', ...env } });
  return usher;
}

/** Takes all the space that is left, but for some. */
async function fillDisk(leaveBytes = 0): Promise<void> {
  const ballast = join(disk, 'ballast');
  const { bavail, bsize } = await statfs(disk);
  // One more block than there are: it writes as far as it can.
  await expect(writeFile(ballast, Buffer.alloc((bavail + 1) * bsize))).rejects.toThrow('ENOSPC');
  await truncate(ballast, (await stat(ballast)).size - leaveBytes);
}

async function freeDisk(): Promise<void> {
  await rm(join(disk, 'ballast'));
}

async function end(): Promise<void> {
  usher!.child.kill('SIGTERM');
  expect(await usher!.ended()).toBe(0);
}

test.runIf(canMount)('a first start on a full disk is one sentence, leaves nothing half made, and works once there is space', async () => {
  await fillDisk();
  const { ended, said } = start();
  expect(await ended()).toBe(1);
  expect(said()).toEqual([expect.stringMatching(/^The data directory \S+ cannot be written, because its disk is full \(ENOSPC\): free some space and start again; nothing was changed\.$/)]);
  await freeDisk();
  await start().prints('Usher serves sign-ups');
  await end();
});

test.runIf(canMount)('a start on a disk that is full for all but a few bytes is one sentence, too', async () => {
  await rm(dataDir, { recursive: true });
  for (const roomKiB of [4, 64]) {
    await mkdir(dataDir, { recursive: true });
    await fillDisk(roomKiB * 1024);
    const { ended, said } = start();
    expect(await ended(), `with ${roomKiB} KiB`).toBe(1);
    expect(said(), `with ${roomKiB} KiB`).toEqual([expect.stringMatching(/^The \S+ .+ cannot be (written, because its disk is full|read or written \(disk I\/O error\))/)]);
    await freeDisk();
  }
  await start().prints('Usher serves sign-ups');
  await end();
  expect(await readdir(dataDir)).not.toContainEqual(expect.stringMatching(/^\.probe|\.\d+$/));
});

test.runIf(canMount)('while the disk is full sign-ups are refused with 503, nothing is damaged, and all goes on when there is space', async () => {
  // With Temporal's own database on that disk.
  await start({}).prints('Ready: registrations run.');
  const api = apiOf(usher!);
  const { clientId, clientSecretFile } = JSON.parse(await readFile(join(dataDir, 'running.json'), 'utf8')) as { clientId: string; clientSecretFile: string };
  const management = await createManagementClient({ api, clientId, clientSecret: await readFile(clientSecretFile, 'utf8') });
  const code = 'exports.onExecutePostUserRegistration = async () => undefined;';
  await management.bind('post-user-registration', [await management.deployAction({ name: 'Greet', triggerId: 'post-user-registration', code })]);
  expect((await signUp(api, 'before@example.com')).status).toBe(200);

  await fillDisk();
  // The write-ahead log may have some room of its own left.
  let count = 0;
  const refused = await until('a sign-up is refused', async () => {
    const answer = await signUp(api, `full-${count++}@example.com`);
    return answer.status === 200 ? null : answer;
  });
  expect(refused).toEqual({
    status: 503,
    body: { name: 'Error', code: 'temporarily_unavailable', description: 'The store cannot be written at the moment. Try again in a few seconds.', statusCode: 503 },
  });
  const { body } = await until('it says that it is not ready', async () => {
    const answer = await ask(api, '/readyz');
    return answer.status === 503 ? answer : null;
  });
  expect(body.degraded['store']).toMatch(/full|disk/);
  expect((await ask(api, '/healthz')).status).toBe(200);

  await freeDisk();
  await until('it is ready again', async () => (await ask(api, '/readyz')).status === 200);
  expect((await signUp(api, 'after@example.com')).status).toBe(200);
  const acknowledged = ['before@example.com', 'after@example.com', ...Array.from({ length: count - 1 }, (_, index) => `full-${index}@example.com`)];
  for (const email of acknowledged) {
    const { steps } = await until(`the registration of ${email} is closed`, () => {
      const registration = readRegistration(dataDir, email);
      return registration?.state === 'closed' ? registration : null;
    });
    expect(steps).toMatchObject([{ action: 'Greet', state: 'succeeded' }]);
  }
  expect(readRegistration(dataDir, `full-${count - 1}@example.com`)).toBeUndefined();
  expect(await readdir(join(dataDir, 'temporal'))).not.toContainEqual(expect.stringContaining('set-aside'));
  await end();
});
