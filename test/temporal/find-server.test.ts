import { once } from 'node:events';
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, utimes, writeFile } from 'node:fs/promises';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { findServer, type FindServerOptions, ServerNotFoundError } from '../../src/temporal/find-server.ts';
import { isRunning, processIdentity } from '../../src/temporal/process-identity.ts';
import { downloadWithSdk, SDK_VERSION } from '../../src/temporal/sdk-download.ts';

/** For a condition that others on a busy machine may hold up. */
const PATIENT = { timeout: 30_000 };

let root: string;
let cacheDir: string;
let bin: string;
let options: FindServerOptions;
const built = () => join(cacheDir, 'temporal-cli-1.5.1', 'temporal');
const downloaded = () => join(cacheDir, `temporal-cli-sdk-${SDK_VERSION}`, 'temporal');

const TEMPORAL = 'echo temporal version 9.9.9';
/** Stands in for minutes of compiling: leaves a program where `go install` would. */
const GO = `echo "go: downloading something" >&2; echo "$$" >> "$GOBIN/../../go-runs"
printf '#!/bin/sh\\n${TEMPORAL}\\n' > "$GOBIN/temporal"`;

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'usher-find-'));
  cacheDir = join(root, 'cache');
  bin = join(root, 'bin');
  await mkdir(bin, { recursive: true });
  options = {
    address: null,
    // The proxy is a closed port, so that no download can succeed or leave the machine.
    env: { PATH: bin, HTTPS_PROXY: 'http://127.0.0.1:9', https_proxy: 'http://127.0.0.1:9' },
    cacheDir,
    output: { write: () => true },
  };
});
afterEach(() => rm(root, { recursive: true, force: true }));

async function program(path: string, script: string): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, `#!/bin/sh\n${script}\n`);
  await chmod(path, 0o755);
}

async function goRuns(): Promise<number> {
  return (await readFile(join(cacheDir, 'go-runs'), 'utf8')).trim().split('\n').length;
}

test('an address that was given is taken without looking for a program', async () => {
  await program(join(bin, 'temporal'), TEMPORAL);
  expect(await findServer({ ...options, address: 'temporal.example:7233' })).toEqual({ kind: 'address', address: 'temporal.example:7233' });
});

test('a program on the PATH goes before a download, a download before a build, and both before fetching anew', async () => {
  await program(join(bin, 'go'), GO);
  await program(built(), TEMPORAL);
  expect(await findServer(options)).toMatchObject({ source: 'build', program: built() });
  await program(downloaded(), TEMPORAL);
  expect(await findServer(options)).toMatchObject({ source: 'download', program: downloaded() });
  await program(join(bin, 'temporal'), TEMPORAL);
  expect(await findServer(options)).toMatchObject({ source: 'path', program: join(bin, 'temporal') });
  expect(await readdir(cacheDir)).not.toContain('go-runs');
});

test('what cannot be downloaded is built once, and found in the cache from then on', async () => {
  await program(join(bin, 'go'), GO);
  expect(await findServer(options)).toEqual({ kind: 'program', source: 'build', program: built() });
  expect(await findServer(options)).toEqual({ kind: 'program', source: 'build', program: built() });
  expect(await goRuns()).toBe(1);
});

test('a program in the cache or on the PATH that does not run is not taken but replaced', async () => {
  await program(join(bin, 'go'), GO);
  await program(join(bin, 'temporal'), 'echo broken >&2; exit 1');
  await mkdir(dirname(built()), { recursive: true });
  // The start of an executable, as a copy that was cut short would be.
  await writeFile(built(), Buffer.from('7f454c460201', 'hex'), { mode: 0o755 });
  await program(join(dirname(built()), '.making-of-a-killed-build', 'temporal'), TEMPORAL);
  expect(await findServer(options)).toEqual({ kind: 'program', source: 'build', program: built() });
  expect(await readFile(built(), 'utf8')).toContain(TEMPORAL);
});

test('what a killed build left behind is removed after an hour', async () => {
  await program(join(bin, 'go'), GO);
  const abandoned = join(dirname(built()), '.making-old');
  await program(join(abandoned, 'temporal'), TEMPORAL);
  const twoHoursAgo = Date.now() / 1000 - 7200;
  await utimes(abandoned, twoHoursAgo, twoHoursAgo);
  await findServer(options);
  expect(await readdir(dirname(built()))).toEqual(['temporal']);
});

test('two that build at once both end with a whole program', async () => {
  await program(join(bin, 'go'), GO);
  const found = await Promise.all([findServer(options), findServer(options)]);
  expect(found.map((server) => server.kind === 'program' && server.source)).toEqual(['build', 'build']);
  expect(await goRuns()).toBe(2);
  expect(await readdir(dirname(built()))).toEqual(['temporal']);
});

test('a build that fails leaves nothing in the cache, and one message says all that was tried and what to do', async () => {
  await program(join(bin, 'go'), 'echo "go: module not found" >&2; exit 1');
  const error = await findServer(options).catch((error: unknown) => error);
  expect(error).toBeInstanceOf(ServerNotFoundError);
  const { message } = error as Error;
  expect(message).toContain('`temporal` on the PATH: not there');
  expect(message).toMatch(/the SDK's download: .*https:\/\/temporal.download/);
  expect(message).toContain('`go install github.com/temporalio/cli/cmd/temporal@v1.5.1`: go: module not found');
  expect(message).toContain('TEMPORAL_ADDRESS');
  expect(await readdir(dirname(built()))).toEqual([]);
});

test('a stop during the build ends the compiler with what it started', async () => {
  const stop = new AbortController();
  const pidFile = join(root, 'sleeper');
  await program(join(bin, 'go'), `/bin/sleep 600 & echo "$!" > '${pidFile}'; wait`);
  const running = findServer({ ...options, signal: stop.signal });
  running.catch(() => undefined);
  await expect.poll(() => readFile(pidFile, 'utf8').catch(() => ''), PATIENT).toMatch(/\d+\n/);
  const sleeper = processIdentity(Number(await readFile(pidFile, 'utf8')));
  expect(sleeper).not.toBeNull();
  stop.abort(new Error('Usher is stopping'));
  await expect(running).rejects.toThrow('Usher is stopping');
  await expect.poll(() => isRunning(sleeper!), PATIENT).toBe(false);
  expect(await readdir(dirname(built()))).toEqual([]);
});

test('a download through a network that swallows everything is given up', async () => {
  let asked = 0;
  await using proxy = createServer((socket) => {
    asked++;
    socket.on('error', () => undefined).resume();
  }).listen(0, '127.0.0.1');
  await once(proxy, 'listening');
  const { port } = proxy.address() as AddressInfo;
  const env = { ...options.env, https_proxy: `http://127.0.0.1:${port}`, HTTPS_PROXY: `http://127.0.0.1:${port}` };
  await mkdir(cacheDir);
  await expect(downloadWithSdk('dev-server', cacheDir, { env, stalledMs: 20_000 })).rejects.toThrow('the download stood still for 20 s');
  expect(asked).toBe(1);
});
