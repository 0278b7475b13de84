import { execFile } from 'node:child_process';
import { chmod, mkdtemp, readdir, rm, stat, truncate } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { VersionMissingError } from '../../src/builds/version-cache.ts';
import { type ActionsWorld, built, draft, makeWorld } from './harness.ts';
import { startRegistry, type TestRegistry } from './registry.ts';

let world: ActionsWorld;
let registry: TestRegistry;
let versionId: string;
const folders: string[] = [];

beforeAll(async () => {
  world = await makeWorld();
  registry = await startRegistry();
  process.env['npm_config_registry'] = registry.url;
  await registry.publish('below', '2.0.0');
  await registry.publish('used', '1.0.0', { manifest: { dependencies: { below: '^2.0.0' } }, files: { 'index.js': "module.exports = require('below');" } });
  await world.newBuilder().start();
  const { action } = await world.actions.create(
    draft({ dependencies: [{ name: 'used', version: '1.0.0' }], secrets: [{ name: 'KEY', value: 'opened' }] }),
    { deploy: false },
  );
  expect(await built(world, action.id)).toMatchObject({ status: 'built' });
  versionId = (await world.versions.deployDraft(action.id)).version.id;
  // From here on the registry is gone.
  delete process.env['npm_config_registry'];
  await registry.close();
});
afterAll(async () => {
  await world.close();
  await Promise.all(folders.map((folder) => rm(folder, { recursive: true })));
});

/** The data directory of a worker that has just been made. */
async function emptyDisk(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'usher-worker-'));
  await chmod(folder, 0o711);
  folders.push(folder);
  return folder;
}

const asNobody = (path: string) => promisify(execFile)('cat', [path], { uid: 65534, gid: 65534, cwd: '/' });

const use = (folder: string | null): unknown => createRequire(join(folder!, 'main.js'))('used');

test('a worker with an empty disk and no registry loads a version with its secrets and dependencies', async () => {
  const dir = await emptyDisk();
  const { runnable, secrets } = await world.newVersionCache(dir).load(versionId);
  expect(runnable).toMatchObject({ id: versionId, actionName: 'Notify', triggerId: 'post-user-registration', code: expect.stringContaining('exports.') });
  expect(runnable.dependenciesDir).toMatch(dir);
  expect(use(runnable.dependenciesDir)).toBe('below@2.0.0');
  expect(secrets).toEqual({ KEY: 'opened' });
});

test.runIf(process.getuid?.() === 0)('another user can read the dependencies, whatever the umask, and nothing of the store', async () => {
  const dir = await emptyDisk();
  const umask = process.umask(0o077);
  const { runnable } = await world.newVersionCache(dir).load(versionId).finally(() => process.umask(umask));
  expect((await asNobody(join(runnable.dependenciesDir!, 'node_modules/used/index.js'))).stdout).toContain('below');
  await expect(asNobody(join(world.dataDir, 'usher.db'))).rejects.toThrow(/Permission denied/);
  expect((await stat(join(runnable.dependenciesDir!, 'node_modules'))).mode & 0o022).toBe(0);
});

test('two processes that unpack the same dependencies at once leave one whole tree and nothing else', async () => {
  const dir = await emptyDisk();
  const caches = Array.from({ length: 6 }, () => world.newVersionCache(dir));
  const loaded = await Promise.all(caches.map((cache) => cache.load(versionId)));
  expect(new Set(loaded.map(({ runnable }) => runnable.dependenciesDir)).size).toBe(1);
  expect(use(loaded[0]!.runnable.dependenciesDir)).toBe('below@2.0.0');
  expect(await readdir(join(dir, 'cache/dependencies'))).toHaveLength(1);
});

test('a tree that was damaged on disk is unpacked anew at the next start', async () => {
  const dir = await emptyDisk();
  const { runnable } = await world.newVersionCache(dir).load(versionId);
  const damages = [
    () => truncate(join(runnable.dependenciesDir!, 'node_modules/below/index.js')),
    () => rm(join(runnable.dependenciesDir!, 'node_modules/below'), { recursive: true }),
    () => rm(join(runnable.dependenciesDir!, 'digest')),
    () => rm(join(runnable.dependenciesDir!, 'node_modules'), { recursive: true }),
  ];
  for (const damage of damages) {
    await damage();
    await world.newVersionCache(dir).load(versionId);
    expect(use(runnable.dependenciesDir)).toBe('below@2.0.0');
    expect(await readdir(join(dir, 'cache/dependencies'))).toHaveLength(1);
  }
});

test('a cache that is emptied while a worker runs is filled again', async () => {
  const dir = await emptyDisk();
  const cache = world.newVersionCache(dir);
  await cache.load(versionId);
  await rm(join(dir, 'cache'), { recursive: true });
  expect(use((await cache.load(versionId)).runnable.dependenciesDir)).toBe('below@2.0.0');
});

test('a whole tree on disk needs no archive in the store; without both, loading names what is missing', async () => {
  const dir = await emptyDisk();
  const first = await world.newVersionCache(dir).load(versionId);
  await world.database.db.deleteFrom('dependency_archive').execute();
  expect(await world.newVersionCache(dir).load(versionId)).toEqual(first);
  const load = world.newVersionCache(await emptyDisk()).load(versionId);
  await expect(load).rejects.toThrow(VersionMissingError);
  await expect(load).rejects.toThrow(/its dependencies \(archive [0-9a-f]{64}\) are not in the store/);
});

test('a version that is not in the store is missing', async () => {
  await expect(world.newVersionCache().load('00000000-0000-7000-8000-000000000000')).rejects.toThrow(VersionMissingError);
});
