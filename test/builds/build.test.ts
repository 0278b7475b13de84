import { existsSync } from 'node:fs';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { installDependencies } from '../../src/builds/install.ts';
import { dataPaths } from '../../src/data-dir.ts';
import { localPair, openAuthority } from '../../src/tls/local-authority.ts';
import { trustAlso } from '../../src/tls/trust.ts';
import { type ActionsWorld, built, draft, makeWorld } from './harness.ts';
import { startRegistry, type TestRegistry } from './registry.ts';

/** More than the test that waits for its end can take by itself. */
const LONG_MS = 10 * 60_000;

let world: ActionsWorld;
let names = 0;

beforeAll(async () => {
  world = await makeWorld();
  await world.newBuilder({ alone: true }).start();
});
afterAll(() => world.close());

async function buildDraft(over: Parameters<typeof draft>[0]) {
  const { action } = await world.actions.create(draft({ name: `Action ${names++}`, ...over }), { deploy: false });
  return await built(world, action.id);
}

async function requireFrom(actionId: string, name: string) {
  const { version } = await world.versions.deployDraft(actionId);
  const { runnable } = await world.newVersionCache().load(version.id);
  return createRequire(join(runnable.dependenciesDir!, 'main.js'))(name);
}

describe('code', () => {
  test('a draft without dependencies is built without being run', async () => {
    const key = `ran${Date.now()}`;
    const { status, action } = await buildDraft({ code: `globalThis.${key} = true;` });
    expect(status).toBe('built');
    expect(action).toMatchObject({ archive_key: null, built_at: expect.stringMatching(/\.\d{9}Z$/) });
    expect(key in globalThis).toBe(false);
  });

  test.each([
    ['a syntax error', 'const a = 1;\nconst b = ;\n', /SyntaxError: Unexpected token ';' \(line 2\)/],
    ['an ES module', "import axios from 'axios';", /Cannot use import statement outside a module/],
    ['a closing brace that would end a wrapper function', '}); process.exit(3); (function () {', /SyntaxError/],
    ['nesting without end', `${'['.repeat(40_000)}${']'.repeat(40_000)}`, /RangeError|SyntaxError/],
  ])('%s fails the build and says why', async (_what, code, reason) => {
    const { status, errors } = await buildDraft({ code });
    expect(status).toBe('failed');
    expect(errors).toEqual([{ id: 'invalid_code', msg: expect.stringMatching(reason), url: '' }]);
  });
});

describe('dependencies from the npm registry', () => {
  test('`latest` and ranges are resolved, read back as they were written, and can be required', async () => {
    const { status, dependencies, action } = await buildDraft({
      dependencies: [{ name: 'is-number', version: 'latest' }, { name: 'ms', version: '^2.1.0' }],
    });
    expect(status).toBe('built');
    expect(dependencies).toEqual([{ name: 'is-number', version: 'latest' }, { name: 'ms', version: '^2.1.0' }]);
    expect((await requireFrom(action.id, 'is-number'))(5)).toBe(true);
  });

  test('the packages of the Slack and axios Actions are installed with everything that they need', async () => {
    const { status, action } = await buildDraft({
      dependencies: [{ name: '@slack/webhook', version: '8.0.2' }, { name: 'axios', version: '1.21.1' }],
    });
    expect(status).toBe('built');
    expect((await requireFrom(action.id, '@slack/webhook')).IncomingWebhook).toBeTypeOf('function');
    expect((await requireFrom(action.id, 'axios')).post).toBeTypeOf('function');
  });

  test('two Actions with the same packages share one archive, however they name the version', async () => {
    const exact = await buildDraft({ dependencies: [{ name: 'ms', version: '2.1.3' }] });
    const range = await buildDraft({ dependencies: [{ name: 'ms', version: '~2.1.3' }] });
    expect(exact.action.archive_key).not.toBeNull();
    expect(range.action.archive_key).toBe(exact.action.archive_key);
  });

  test.each([
    ['a version that does not exist', 'is-number', '99.0.0', 'dependency_not_found', /No matching version found for is-number@99\.0\.0/],
    ['a git repository', 'is-number', 'git+https://github.com/jonschlinkert/is-number.git', 'dependency_not_allowed', /EALLOWGIT/],
    ['a GitHub shorthand', 'is-number', 'jonschlinkert/is-number', 'dependency_not_allowed', /EALLOWGIT/],
    ['a tarball', 'is-number', 'https://127.0.0.1/is-number.tgz', 'dependency_not_allowed', /EALLOWREMOTE/],
    ['a file', 'is-number', 'file:../is-number.tgz', 'dependency_not_allowed', /EALLOWFILE/],
    ['a folder', 'is-number', '/etc', 'dependency_not_allowed', /EALLOWDIRECTORY/],
    ['an alias', 'is-number', 'npm:ms@2.1.3', 'dependency_not_allowed', /is an alias/],
    ['a name that is a path', '../../is-number', '7.0.0', 'dependency_not_allowed', /Invalid package name/],
  ])('%s fails the build and says why', async (_what, name, version, id, reason) => {
    const { status, errors } = await buildDraft({ dependencies: [{ name, version }] });
    expect(status).toBe('failed');
    expect(errors).toEqual([{ id, msg: expect.stringMatching(reason), url: '' }]);
  });

  test('a draft that failed is built again when it is changed', async () => {
    const { status, action } = await buildDraft({ dependencies: [{ name: 'ms', version: '0.0.0-none' }] });
    expect(status).toBe('failed');
    await world.actions.update(action.id, { dependencies: [{ name: 'ms', version: '2.1.3' }] });
    expect(await built(world, action.id)).toMatchObject({ status: 'built', errors: [] });
  });
});

describe('dependencies from a registry that npm is configured with', () => {
  let registry: TestRegistry;
  beforeAll(async () => {
    registry = await startRegistry();
    process.env['npm_config_registry'] = registry.url;
  });
  afterAll(async () => {
    delete process.env['npm_config_registry'];
    await registry.close();
  });

  test('install scripts never run, and the packages that have some are named in the log', async () => {
    const trace = join(world.dataDir, 'script-ran');
    const scripts = Object.fromEntries(['preinstall', 'install', 'postinstall', 'prepare'].map((name) => [name, `touch ${trace}`]));
    await registry.publish('scripted', '1.0.0', { manifest: { scripts } });
    const { status } = await buildDraft({ dependencies: [{ name: 'scripted', version: '1.0.0' }] });
    expect(status).toBe('built');
    expect(existsSync(trace)).toBe(false);
    expect(world.logs).toContainEqual(expect.objectContaining({ packages: ['scripted@1.0.0'], msg: expect.stringContaining('not run') }));
  });

  test('a package that must be compiled fails the build, one that may be left out does not', async () => {
    await registry.publish('native', '1.0.0', { files: { 'binding.gyp': '{}' } });
    await registry.publish('faster-if-native', '1.0.0', { manifest: { optionalDependencies: { native: '1.0.0' } } });
    const { status, errors } = await buildDraft({ dependencies: [{ name: 'native', version: '1.0.0' }] });
    expect(status).toBe('failed');
    expect(errors).toEqual([{ id: 'native_dependency', msg: expect.stringMatching(/^Compilation failed: native /), url: '' }]);
    expect(await buildDraft({ dependencies: [{ name: 'faster-if-native', version: '1.0.0' }] })).toMatchObject({ status: 'built' });
  });

  test('a dependency of a dependency comes from the registry too, or the build fails', async () => {
    await registry.publish('git-below', '1.0.0', { manifest: { dependencies: { ms: 'git+https://127.0.0.1/ms.git' } } });
    const { status, errors } = await buildDraft({ dependencies: [{ name: 'git-below', version: '1.0.0' }] });
    expect(status).toBe('failed');
    expect(errors).toEqual([{ id: 'dependency_not_allowed', msg: expect.stringMatching(/EALLOWGIT/), url: '' }]);
  });

  test('a symbolic link in a package does not reach the sandbox', async () => {
    await registry.publish('linked', '1.0.0', { links: { 'secrets.txt': '/etc/passwd' } });
    const { status, action } = await buildDraft({ dependencies: [{ name: 'linked', version: '1.0.0' }] });
    expect(status).toBe('built');
    const { version } = await world.versions.deployDraft(action.id);
    const { runnable } = await world.newVersionCache().load(version.id);
    const files = await readdir(join(runnable.dependenciesDir!, 'node_modules', 'linked'));
    expect(files.toSorted()).toEqual(['index.js', 'package.json']);
  });

  test('a registry that cannot be reached fails the build and says so', async () => {
    process.env['npm_config_registry'] = 'http://127.0.0.1:1';
    process.env['npm_config_fetch_retries'] = '0';
    try {
      const { errors } = await buildDraft({ dependencies: [{ name: 'ms', version: '2.1.2' }] });
      expect(errors).toEqual([{ id: 'registry_unavailable', msg: expect.stringMatching(/did not answer.*ECONNREFUSED/), url: '' }]);
    } finally {
      process.env['npm_config_registry'] = registry.url;
      delete process.env['npm_config_fetch_retries'];
    }
  });

  test('come from a registry under an authority of our own, as soon as this process trusts it', async () => {
    const { tls } = dataPaths(world.dataDir);
    const authority = await openAuthority(tls);
    const secure = await startRegistry(await localPair(authority, tls, [])());
    await secure.publish('internal', '1.0.0');
    const dependencies = [{ name: 'internal', version: '1.0.0' }];
    process.env['npm_config_registry'] = secure.url;
    process.env['npm_config_fetch_retries'] = '0';
    try {
      expect((await buildDraft({ dependencies })).errors).toMatchObject([{ msg: expect.stringContaining('UNABLE_TO_VERIFY_LEAF_SIGNATURE') }]);
      trustAlso([authority.certificate]);
      expect(await buildDraft({ dependencies })).toMatchObject({ status: 'built', errors: [] });
    } finally {
      process.env['npm_config_registry'] = registry.url;
      delete process.env['npm_config_fetch_retries'];
      await secure.close();
    }
  });

  test('code alone is built anew without asking the registry, with the same packages', async () => {
    await registry.publish('stable', '1.0.0');
    const before = await buildDraft({ dependencies: [{ name: 'stable', version: 'latest' }] });
    const asked = registry.requests.length;
    await registry.publish('stable', '1.1.0');
    await world.actions.update(before.action.id, { code: 'exports.onExecutePostUserRegistration = async () => { /* new */ };' });
    const after = await built(world, before.action.id);
    expect(after.status).toBe('built');
    expect(after.action.archive_key).toBe(before.action.archive_key);
    expect(registry.requests.length).toBe(asked);

    await world.actions.update(before.action.id, { dependencies: [{ name: 'stable', version: 'latest' }] });
    const again = await built(world, before.action.id);
    expect(again.action.archive_key).not.toBe(before.action.archive_key);
    expect(again.dependencies).toEqual([{ name: 'stable', version: 'latest' }]);
  });

  test('an install that hangs is ended at its time limit', async () => {
    const release = registry.hang('hanging');
    const dir = await mkdtemp(join(tmpdir(), 'usher-install-'));
    try {
      // Its time is over only when it has asked, however long that takes.
      vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
      const install = installDependencies(
        { dir, dependencies: [{ name: 'hanging', version: '1.0.0' }], lockfile: null },
        { signal: new AbortController().signal, timeoutMs: LONG_MS },
      );
      const refused = expect(install).rejects.toMatchObject({ id: 'install_timed_out' });
      await vi.waitFor(() => expect(registry.requests).toContain('/hanging'), { timeout: 30_000 });
      vi.advanceTimersByTime(LONG_MS);
      await refused;
    } finally {
      vi.useRealTimers();
      release();
      await rm(dir, { recursive: true });
    }
  });
});
