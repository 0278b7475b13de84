import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { fileURLToPath } from 'node:url';
import { pino } from 'pino';
import { afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { createClient } from '../../src/temporal/connection.ts';
import { createDevServer, type DataLoss, type DevServer, type DevServerPorts, prepareDevServer } from '../../src/temporal/dev-server.ts';
import { ServerInUseError } from '../../src/temporal/left-over.ts';
import { isRunning, processIdentity } from '../../src/temporal/process-identity.ts';
import { createRegistrationStarter } from '../../src/temporal/registration-starter.ts';
import { devServerProgram, testPorts } from '../helpers/dev-server.ts';

/** For a condition that others on a busy machine may hold up. */
const PATIENT = { timeout: 30_000 };

const logger = pino({ level: 'silent' });
const registration = { registrationId: 'reg_1', userId: 'auth0|1', connectionName: 'users' };
const owner = fileURLToPath(new URL('../helpers/server-owner.ts', import.meta.url));

let program: string;
let folder: string;
let losses: DataLoss[];
let states: string[];
let stops: (() => Promise<unknown>)[];

beforeAll(async () => {
  program = await devServerProgram();
});
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'usher dev?server#%20-'));
  losses = [];
  states = [];
  stops = [() => rm(folder, { recursive: true, force: true })];
});
afterEach(async () => {
  for (const stop of stops.toReversed()) await stop();
});

async function start(preferred = testPorts()): Promise<{ server: DevServer; ports: DevServerPorts }> {
  const ports = await prepareDevServer({ folder, logger, preferred });
  const server = createDevServer({
    program,
    folder,
    namespace: 'default',
    ports,
    logger,
    onState: (state) => states.push(state),
    onDataLost: (loss) => losses.push(loss),
  });
  stops.push(() => server.stop());
  await server.start();
  return { server, ports };
}

function starterFor(ports: DevServerPorts) {
  const client = createClient({ address: `127.0.0.1:${ports.grpc}`, namespace: 'default', security: {} });
  stops.push(() => client.connection.close());
  return createRegistrationStarter({ client, searchAttributes: () => ['UsherConnection', 'UsherUserId'] });
}

/** A process that owns a development server (by `mode`), as another Usher would. */
async function otherUsher(mode: 'run' | 'leave', ports: DevServerPorts): Promise<{ kill: () => Promise<void>; serverPid: number }> {
  const child = spawn(process.execPath, [owner, mode, folder, program, String(ports.grpc), String(ports.ui)], { stdio: ['pipe', 'pipe', 'inherit'] });
  const kill = async (): Promise<void> => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.kill('SIGKILL');
    await once(child, 'exit');
  };
  stops.push(kill);
  const [line] = (await once(child.stdout, 'data')) as [Buffer];
  return { kill, serverPid: Number(line.toString()) };
}

test('a server that is killed is up again at the same address with its data, and clients find it within seconds', async () => {
  const { server, ports } = await start();
  const starter = starterFor(ports);
  await starter.start(registration);
  const namespaceId = await starter.namespaceId();
  const first = server.pid()!;
  process.kill(first, 'SIGKILL');
  await expect.poll(() => states.length, PATIENT).toBe(3);
  expect(states).toEqual(['serving', expect.stringContaining('ended by SIGKILL'), 'serving']);
  expect(server.pid()).not.toBe(first);
  await expect.poll(() => starter.describe(registration.registrationId).then(({ status }) => status, String), PATIENT).toBe('running');
  expect(await starter.namespaceId()).toBe(namespaceId);
  expect(losses).toEqual([]);
});

test('a stop ends the server, and the next start goes on with its data', async () => {
  const { server, ports } = await start();
  await starterFor(ports).start(registration);
  const running = processIdentity(server.pid()!)!;
  await server.stop();
  expect(isRunning(running)).toBe(false);
  const again = await start();
  expect((await starterFor(again.ports).describe(registration.registrationId)).status).toBe('running');
  expect(losses).toEqual([]);
});

test('a stop before it serves ends everything', async () => {
  const ports = await prepareDevServer({ folder, logger, preferred: testPorts() });
  const server = createDevServer({ program: '/bin/false', folder, namespace: 'default', ports, logger, onState: (state) => states.push(state), onDataLost: () => undefined });
  const started = server.start();
  started.catch(() => undefined);
  await expect.poll(() => states.length, PATIENT).toBeGreaterThan(1);
  await server.stop();
  await expect(started).rejects.toThrow('was stopped before it served');
  expect(states[0]).toContain('did not start (exit code 1)');
});

test('taken ports are passed over', async () => {
  const preferred = testPorts();
  await using other = createServer().listen(preferred.grpc, '127.0.0.1');
  await once(other, 'listening');
  const ports = await prepareDevServer({ folder, logger, preferred });
  expect(ports.grpc).toBeGreaterThan(preferred.grpc);
  expect(ports.ui).toBe(preferred.ui);
});

test.runIf(process.platform === 'linux')('the server dies with an Usher that is killed', async () => {
  const ports = await prepareDevServer({ folder, logger, preferred: testPorts() });
  const other = await otherUsher('run', ports);
  const server = processIdentity(other.serverPid)!;
  expect(isRunning(server)).toBe(true);
  await other.kill();
  await expect.poll(() => isRunning(server), PATIENT).toBe(false);
});

test('a server left over from a killed Usher is ended, and the next one goes on with its data', async () => {
  const ports = await prepareDevServer({ folder, logger, preferred: testPorts() });
  const other = await otherUsher('leave', ports);
  const server = processIdentity(other.serverPid)!;
  await starterFor(ports).start(registration);
  await other.kill();
  expect(isRunning(server)).toBe(true);
  const next = await start(ports);
  expect(isRunning(server)).toBe(false);
  expect(next.ports).toEqual(ports);
  expect((await starterFor(next.ports).describe(registration.registrationId)).status).toBe('running');
  expect(losses).toEqual([]);
});

test('the server of an Usher that runs is not touched', async () => {
  const ports = await prepareDevServer({ folder, logger, preferred: testPorts() });
  const other = await otherUsher('leave', ports);
  stops.push(async () => void process.kill(other.serverPid, 'SIGKILL'));
  await expect(prepareDevServer({ folder, logger })).rejects.toThrow(ServerInUseError);
  expect(processIdentity(other.serverPid)).not.toBeNull();
});

test('a stranger that was given the pid of a left-over server is not touched', async () => {
  const stranger = spawn('sleep', ['600']);
  stops.push(async () => stranger.kill('SIGKILL'));
  const dead = { pid: stranger.pid, startedAt: 'another time' };
  await writeFile(join(folder, 'server.json'), JSON.stringify({ server: dead, owner: dead }));
  await prepareDevServer({ folder, logger });
  expect(processIdentity(stranger.pid!)).not.toBeNull();
});

test.each<[string, (database: string) => Promise<unknown> | void, string]>([
  ['is not a database', (database) => writeFile(database, 'Not a database at all. '.repeat(1000)), 'damaged'],
  ['was cut short', (database) => truncate(database, 100_000), 'damaged'],
  ['is empty, as a kill during the first start leaves it', (database) => truncate(database, 0), 'not those of this program'],
  ['lacks a table, as another version has it', dropTable, 'not those of this program'],
])('a database that %s is set aside and a new one made, and the caller is told', async (_, damage, reason) => {
  const first = await start();
  const namespaceId = await starterFor(first.ports).namespaceId();
  await first.server.stop();
  // Nothing is left in the write-ahead log that could mend it.
  using(join(folder, 'temporal.db'), (db) => db.exec('PRAGMA wal_checkpoint(TRUNCATE)'));
  await damage(join(folder, 'temporal.db'));
  await writeFile(join(folder, 'temporal.db.served-by'), 'temporal version 1.0.0 of long ago');
  const damaged = await readFile(join(folder, 'temporal.db'));

  const { ports } = await start();
  expect(losses).toEqual([{ reason: expect.stringContaining(reason), movedTo: expect.stringContaining(folder) }]);
  expect(await readFile(losses[0]!.movedTo)).toEqual(damaged);
  const starter = starterFor(ports);
  expect(await starter.namespaceId()).not.toBe(namespaceId);
  expect(await starter.describe(registration.registrationId)).toEqual({ status: 'unknown', endedAt: null });
});

test('a database with which the server keeps failing is set aside when a new one is all that it needs', async () => {
  const first = await start();
  await first.server.stop();
  // Sound for SQLite and with the right tables, but the server ends when it reads this.
  using(join(folder, 'temporal.db'), (db) => db.exec(`UPDATE cluster_metadata_info SET data = x'ffff'`));
  await start();
  expect(states.filter((state) => state !== 'serving')).toHaveLength(2);
  expect(losses).toEqual([{ reason: 'the server does not start with it, but does with a new one', movedTo: expect.any(String) }]);
});

test('another version of the program with the same tables goes on with the database', async () => {
  const first = await start();
  await starterFor(first.ports).start(registration);
  await first.server.stop();
  await writeFile(join(folder, 'temporal.db.served-by'), 'temporal version 1.0.0 of long ago');
  const { ports } = await start();
  expect((await starterFor(ports).describe(registration.registrationId)).status).toBe('running');
  expect(losses).toEqual([]);
  expect((await readdir(folder)).filter((name) => name.startsWith('trial-'))).toEqual([]);
});

function dropTable(database: string): void {
  using(database, (db) => db.exec('DROP TABLE tasks'));
}

function using(database: string, change: (db: DatabaseSync) => void): void {
  const db = new DatabaseSync(database);
  change(db);
  db.close();
}
