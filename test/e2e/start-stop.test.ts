import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rm, stat } from 'node:fs/promises';
import { connect } from 'node:net';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { devServerProgram, testPorts } from '../helpers/dev-server.ts';
import { allDead, isAlive, kill9, processesOf, processorsOf } from './processes.ts';
import { until } from './until.ts';
import { apiOf, ask, follow, NO_TEMPORAL, plainEnv, signUp, spawnUsher, takePort, type UsherProcess } from './usher-process.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));

let folder: string;
/** One data directory for all: each test is a later start. */
let dataDir: string;
let usher: UsherProcess;
let clientId: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'usher-start-'));
  dataDir = join(folder, 'not', 'made', 'yet');
});
afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
});
// A test that has failed half-way must not take those after it with it.
afterEach(async () => {
  if (!isAlive(usher.pid)) return;
  const { all } = processesOf(usher.pid);
  usher.child.kill('SIGKILL');
  await usher.ended();
  await allDead(all, 10_000);
});

function start(env: Record<string, string> = {}): void {
  usher = spawnUsher({ env: { USHER_PORT: '0', USHER_DATA_DIR: dataDir, ...env } });
}

async function startWhole(env: Record<string, string> = {}): Promise<void> {
  start(env);
  await usher.prints('Usher serves sign-ups');
  await usher.prints('Ready: registrations run.');
}

async function readyz(): Promise<Record<string, string>> {
  return (await ask(apiOf(usher), '/readyz')).body.degraded;
}

/** Ends it; nothing of it may be left. */
async function end(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
  const { all } = processesOf(usher.pid);
  usher.child.kill(signal);
  expect(await usher.ended(), usher.stderr()).toBe(0);
  expect(all.filter(isAlive)).toEqual([]);
}

test('the first start makes what it needs, serves sign-ups while Temporal starts, and tells how to use it', async () => {
  start();
  await usher.prints('Usher serves sign-ups');
  const api = apiOf(usher);
  expect(await signUp(api, 'first@example.com')).toMatchObject({ status: 200, body: { email: 'first@example.com' } });
  // What is still starting is named; what is said there ends when it is there.
  const first = await ask(api, '/readyz');
  expect(first.status).toBe(200);
  for (const [name, state] of Object.entries(first.body.degraded)) expect(`${name}: ${state}`).toMatch(/^(worker: starting|temporal: (starting|not reached yet: .+))$/);
  await usher.prints('Ready: registrations run.');
  await until('nothing is degraded', async () => (await ask(api, '/readyz')).body.status === 'ready');
  expect(await ask(api, '/readyz')).toEqual({ status: 200, body: { status: 'ready', degraded: {} } });
  expect(await ask(api, '/healthz')).toEqual({ status: 200, body: { status: 'ok' } });

  const running = JSON.parse(await readFile(join(dataDir, 'running.json'), 'utf8')) as Record<string, string>;
  clientId = running['clientId']!;
  const secretFile = join(dataDir, 'client-secret');
  expect(running).toEqual({ pid: usher.pid, api, ops: expect.objectContaining({ api: expect.stringMatching(/^http:..127\.0\.0\.1:\d+$/) as unknown }) as unknown, webUi: expect.stringMatching(/^http:\/\/127\.0\.0\.1:\d+$/), clientId: expect.stringMatching(/^\S{32}$/), clientSecretFile: secretFile });
  expect((await fetch(running['webUi']!)).status).toBe(200);
  expect(usher.stdout()).toContain(`  Client     ${running['clientId']} (the secret is in ${secretFile})`);
  expect(usher.stdout()).toContain(`  Web UI     ${running['webUi']}`);
  expect(usher.stdout()).toMatch(/^ {2}Isolation {2}\S/m);

  const [, command] = /^ {2}Sign up +(curl .+)$/m.exec(usher.stdout())!;
  const curl = spawn('sh', ['-c', `${command} -s`]);
  const [answer] = (await once(curl.stdout, 'data')) as [Buffer];
  expect(JSON.parse(answer.toString())).toMatchObject({ email: 'ada@example.com' });
  await end();
});

test('the master key and the client secret stand in files of their owner alone', async () => {
  for (const name of ['master-key', 'client-secret', 'usher.db']) {
    expect(((await stat(join(dataDir, name))).mode & 0o777).toString(8), name).toBe('600');
  }
});

test('a later start is ready again, with the same client and its secret', async () => {
  // Scripts that look for a running Usher find none.
  expect(existsSync(join(dataDir, 'running.json'))).toBe(false);
  await startWhole();
  const secret = (await readFile(join(dataDir, 'client-secret'), 'utf8')).trim();
  const api = apiOf(usher);
  expect(usher.stdout()).toContain(`  Client     ${clientId} `);
  const body = { grant_type: 'client_credentials', client_id: clientId, client_secret: secret, audience: `${api}/api/v2/` };
  const token = await fetch(`${api}/oauth/token`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) });
  expect(token.status).toBe(200);
  await end();
});

test.runIf(availableParallelism() > 1)('sign-ups and the work behind them have half of the processors each', async () => {
  await startWhole();
  const { api, worker, temporal } = processesOf(usher.pid);
  const ours = processorsOf(process.pid);
  const middle = Math.floor(ours.length / 2);
  expect(processorsOf(api!)).toEqual(ours.slice(middle));
  for (const pid of [worker!, temporal!]) expect(processorsOf(pid)).toEqual(ours.slice(0, middle));
  await end();
});

test('two that start at once without a given port get ports of their own, for Temporal as well, and say so', async () => {
  // Somebody else may have it already, which does as well.
  const taken = await takePort(3000);
  const others = ['one', 'two'].map((name) => spawnUsher({ env: { USHER_DATA_DIR: join(folder, name) } }));
  const webUis = new Set<string>();
  const ports = new Set<number>();
  for (const other of others) {
    await other.prints('Ready: registrations run.');
    await until('nothing is degraded', async () => (await ask(apiOf(other), '/readyz')).body.status === 'ready');
    const port = Number(new URL(apiOf(other)).port);
    expect(port).toBeGreaterThan(3000);
    expect(other.stdout()).toContain(`Port 3000 is in use; taking ${port}. Set USHER_PORT to choose another one.`);
    ports.add(port);
    webUis.add(/^ {2}Web UI +(\S+)$/m.exec(other.stdout())![1]!);
  }
  expect([ports.size, webUis.size]).toEqual([2, 2]);
  for (const other of others) other.child.kill('SIGTERM');
  for (const other of others) expect(await other.ended()).toBe(0);
  taken?.release();
});

test('a role that dies is started again after a growing pause, at the same address', async () => {
  await startWhole();
  const api = apiOf(usher);
  const next = (role: 'api' | 'worker', dead: number): number | undefined => {
    const now = processesOf(usher.pid)[role];
    return now === dead ? undefined : now;
  };
  const back = (role: 'api' | 'worker', dead: number): Promise<number> => until(`the ${role} is back`, () => next(role, dead));

  let told = 0;
  for (let pause = 1; told < 2 && pause < 30; pause *= 2) {
    const dead = await until('there is a worker', () => processesOf(usher.pid).worker);
    await kill9(dead);
    // When this process was held up, the worker may work again before it is asked for: then it dies once more.
    const state = await until('it is told', async () => (await readyz())['worker'] ?? (next('worker', dead) && 'missed'));
    if (state !== 'missed') {
      expect(state).toBe(`it was ended by SIGKILL, starting again in ${pause} s`);
      told++;
    }
    await back('worker', dead);
    await until('the worker works', async () => (await readyz())['worker'] === undefined);
  }
  expect(told).toBe(2);

  let dead = processesOf(usher.pid).api!;
  await kill9(dead);
  // In its pause somebody takes its port, for a while: that is no reason to give up what has run before.
  const taken = await until('its port is free', async () => {
    const free = await takePort(Number(new URL(api).port));
    // Back before its port could be taken: it dies once more.
    const early = free === null ? next('api', dead) : undefined;
    if (early !== undefined) {
      dead = early;
      await kill9(early);
    }
    return free;
  });
  await usher.prints(`the api could not be started: Port ${taken.port} (USHER_PORT) is in use`);
  taken.release();
  await back('api', dead);
  await until('the api serves where it did', () => ask(api, '/readyz').then(({ status }) => status === 200, () => false));
  await until('it knows what the supervisor knows', async () => Object.keys(await readyz()).length === 0);
  await end();
});

test('when the supervisor is killed with -9 its processes end by themselves, and the next start works at once', async () => {
  await startWhole();
  const { all, temporal } = processesOf(usher.pid);
  expect(all.length).toBeGreaterThanOrEqual(3);
  expect(temporal).toBeDefined();
  await kill9(usher.pid);
  // At once: the children may still be dying.
  await startWhole();
  await allDead(all, 15_000);
  await end();
});

test('a development server that a killed Usher has left over is ended at the next start', async () => {
  const temporalFolder = join(dataDir, 'temporal');
  await mkdir(temporalFolder, { recursive: true });
  const ports = testPorts();
  const owner = spawn(
    process.execPath,
    [fileURLToPath(new URL('../helpers/server-owner.ts', import.meta.url)), 'leave', temporalFolder, await devServerProgram(), String(ports.grpc), String(ports.ui)],
    { stdio: ['pipe', 'pipe', 'inherit'] },
  );
  const [line] = (await once(owner.stdout, 'data')) as [Buffer];
  const leftOver = Number(line.toString());
  owner.kill('SIGKILL');
  await once(owner, 'exit');
  expect(isAlive(leftOver)).toBe(true);

  await startWhole();
  expect(isAlive(leftOver)).toBe(false);
  await end();
});

test('Ctrl-C, which npm passes on once more, ends everything in order', async () => {
  await startWhole();
  const { all } = processesOf(usher.pid);
  process.kill(-usher.pid, 'SIGINT');
  usher.child.kill('SIGINT');
  expect(await usher.ended()).toBe(0);
  expect(usher.stdout()).toContain('Stopping');
  expect(usher.stderr()).not.toContain('starting it again');
  expect(all.filter(isAlive)).toEqual([]);
});

test('Ctrl-C before it serves ends it, too', async () => {
  start();
  await until('its first process is there', () => processesOf(usher.pid).all.length > 0);
  await end('SIGINT');
});

test('a second Ctrl-C ends it at once, whatever is still under way', async () => {
  start(NO_TEMPORAL);
  await usher.prints('Usher serves sign-ups');
  const hanging = await requestThatNeverEnds(apiOf(usher));
  const { all } = processesOf(usher.pid);
  process.kill(-usher.pid, 'SIGINT');
  await usher.prints('Stopping');
  const impatientAt = performance.now();
  await until('it is not the same Ctrl-C', () => performance.now() - impatientAt > 700);
  expect(isAlive(usher.pid)).toBe(true);
  usher.child.kill('SIGINT');
  // Of an end in order it would be 0.
  expect(await usher.ended()).toBe(130);
  await allDead(all, 15_000);
  hanging.destroy();
});

test('a client that never ends its request does not hold up the end', async () => {
  start(NO_TEMPORAL);
  await usher.prints('Usher serves sign-ups');
  const hanging = await requestThatNeverEnds(apiOf(usher));
  await end();
  hanging.destroy();
});

test('it goes on, and ends in order, when whoever read its output is gone', async () => {
  start(NO_TEMPORAL);
  await usher.prints('Usher serves sign-ups');
  usher.child.stdout!.destroy();
  usher.child.stderr!.destroy();
  const { all } = processesOf(usher.pid);
  expect((await signUp(apiOf(usher), 'unread@example.com')).status).toBe(200);
  usher.child.kill('SIGTERM');
  expect(await usher.ended()).toBe(0);
  expect(all.filter(isAlive)).toEqual([]);
});

test('`npm start` ends in order when npm is told to', async () => {
  const npm = follow(spawn('npm', ['start'], { cwd: ROOT, env: { ...plainEnv(), ...NO_TEMPORAL, USHER_PORT: '0', USHER_DATA_DIR: dataDir }, stdio: ['ignore', 'pipe', 'pipe'], detached: true }));
  try {
    await npm.prints('Usher serves sign-ups');
    const { all } = processesOf(npm.pid);
    npm.child.kill('SIGTERM');
    await allDead([npm.pid, ...all], 20_000);
  } finally {
    // What npm has left behind.
    if (processesInGroup(npm.pid)) process.kill(-npm.pid, 'SIGTERM');
  }
});

function processesInGroup(id: number): boolean {
  try {
    return process.kill(-id, 0);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return false;
    throw error;
  }
}

/** A request whose body never comes. */
async function requestThatNeverEnds(api: string): Promise<ReturnType<typeof connect>> {
  const { hostname, port } = new URL(api);
  const socket = connect(Number(port), hostname);
  socket.on('error', () => undefined);
  await once(socket, 'connect');
  socket.write('POST /dbconnections/signup HTTP/1.1\r\nhost: usher\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{');
  // Answered on the same server after it, so that the first one has been taken in.
  await ask(api, '/healthz');
  return socket;
}
