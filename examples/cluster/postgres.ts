import { type ChildProcess, execFile, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chown, mkdir, mkdtemp, readdir, rename, rm } from 'node:fs/promises';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { Client } from 'pg';
import { dieWithParent } from '../../src/temporal/die-with-parent.ts';
import { anyFreePort } from '../../src/temporal/free-port.ts';

const VERSION = '17.5.0';
const ARTIFACT = 'io.zonky.test.postgres:embedded-postgres-binaries';
/** SQLSTATE. */
const DUPLICATE_DATABASE = '42P04';
const START_TIMEOUT_MS = 60_000;
const LEFT_OVER = /pre-existing shared memory block|lock file .* already exists/;
const PORT_TAKEN = /Address already in use/;
const RECOVERS = 'automatic recovery in progress';
const run = promisify(execFile);

/** PostgreSQL refuses to run as root: then it runs as `nobody`, who cannot look into root's home. */
const isRoot = process.getuid?.() === 0;
const NOBODY = 65534;
const asUser = isRoot ? { uid: NOBODY, gid: NOBODY } : {};
const cacheDir = join(isRoot ? '/var/cache' : join(homedir(), '.cache'), 'usher');

/** Why there can be no PostgreSQL of one's own on this machine; null when there can. */
export function postgresMissing(): string | null {
  return spawnSync('mvn', ['--version']).error === undefined ? null : 'Maven, which brings PostgreSQL, is not on the PATH';
}

/** A real PostgreSQL server of one's own, which dies with this process. */
export interface PostgresServer {
  /** Makes an empty database and gives its URL. */
  createDatabase(): Promise<string>;
  /** The URL of the database of this name, made when it is not there. */
  ensureDatabase(name: string): Promise<string>;
  /** Kills the server with -9; `start` brings it back with its data. @returns its process id. @throws when it was dead before. */
  kill(): Promise<number>;
  /** Starts a server that was killed, and kills it again as soon as it says that it recovers. @returns what it has said since its start, too. */
  killWhileItRecovers(): Promise<{ pid: number; log: string }>;
  /** Resolves when it answers; does nothing while it runs. */
  start(): Promise<void>;
  port: number;
  /** Ends the server and, when its folder was made here, removes its data. */
  stop(): Promise<void>;
}

/**
 * Starts a PostgreSQL on loopback that lets everybody in. Its programs are fetched once by Maven, and kept outside the
 * clone.
 *
 * @param options.folder of its data, kept after the stop and flushed as on a real server. @default a new one that is
 *   removed, and that a power cut may damage
 * @param options.port @default a free one
 */
export async function startPostgres(options: { folder?: string; port?: number } = {}): Promise<PostgresServer> {
  const programs = await fetchPrograms();
  const dir = options.folder ?? (await mkdtemp(join(tmpdir(), 'usher-postgres-')));
  await mkdir(dir, { recursive: true });
  if (isRoot) await chown(dir, NOBODY, NOBODY);
  const data = join(dir, 'data');
  if ((await entriesOf(data)).length === 0) {
    await run(join(programs, 'bin/initdb'), ['-D', data, '-U', 'postgres', '-A', 'trust', '-E', 'UTF8', '--locale=C', '--no-sync'], { cwd: dir, ...asUser });
  }
  let port = options.port ?? (await anyFreePort());
  let hasServed = false;
  const admin = () => `postgres://postgres@127.0.0.1:${port}`;
  const settings = () => ['listen_addresses=127.0.0.1', `port=${port}`, `unix_socket_directories=${dir}`, 'max_connections=200', ...(options.folder === undefined ? ['fsync=off'] : [])];
  let server: ChildProcess | undefined;
  /** Since its start. */
  let log = '';
  let databases = 0;

  const isAlive = () => server !== undefined && server.exitCode === null && server.signalCode === null;

  function launch(): ChildProcess {
    log = '';
    const [command, args] = dieWithParent(join(programs, 'bin/postgres'), ['-D', data, ...settings().flatMap((each) => ['-c', each])]);
    const started = spawn(command, args, { cwd: dir, stdio: ['ignore', 'ignore', 'pipe'], ...asUser });
    started.stderr.on('data', (chunk: Buffer) => {
      log = (log + chunk.toString()).slice(-10_000);
    });
    server = started;
    return started;
  }

  async function start(): Promise<void> {
    if (isAlive()) return;
    launch();
    const giveUpAt = performance.now() + START_TIMEOUT_MS;
    while (!(await answers(`${admin()}/postgres`))) {
      // Somebody took the port between our look and its own; nobody has been told of it yet.
      const isPortLost = PORT_TAKEN.test(log) && options.port === undefined && !hasServed;
      if (performance.now() > giveUpAt || (!isAlive() && !isPortLost && !LEFT_OVER.test(log))) throw new Error(`PostgreSQL does not start:\n${log}`);
      if (!isAlive()) {
        if (isPortLost) port = await anyFreePort();
        // What a server that was killed with -9 has left over ends by itself, a moment later.
        launch();
      }
      await sleep(50);
    }
    hasServed = true;
  }

  async function end(signal: NodeJS.Signals): Promise<number> {
    if (server?.pid === undefined || !isAlive()) throw new Error(`PostgreSQL is dead. It said:\n${log}`);
    const exited = once(server, 'exit');
    server.kill(signal);
    await exited;
    return server.pid;
  }

  async function killWhileItRecovers(): Promise<{ pid: number; log: string }> {
    const giveUpAt = performance.now() + START_TIMEOUT_MS;
    launch();
    while (!log.includes(RECOVERS)) {
      if (!isAlive() && LEFT_OVER.test(log)) launch();
      else if (!isAlive()) throw new Error(`PostgreSQL does not recover:\n${log}`);
      if (performance.now() > giveUpAt) throw new Error(`PostgreSQL has not recovered from anything:\n${log}`);
      await sleep(1);
    }
    return { pid: await end('SIGKILL'), log };
  }

  await start();
  return {
    async createDatabase() {
      const name = `usher_${++databases}`;
      await query(`${admin()}/postgres`, `create database ${name}`);
      return `${admin()}/${name}`;
    },
    async ensureDatabase(name) {
      await query(`${admin()}/postgres`, `create database ${name}`).catch((error: Error & { code?: string }) => {
        if (error.code !== DUPLICATE_DATABASE) throw error;
      });
      return `${admin()}/${name}`;
    },
    port,
    kill: () => end('SIGKILL'),
    killWhileItRecovers,
    start,
    async stop() {
      // Its "fast" stop keeps what is to be kept; of what is thrown away nothing needs to be.
      if (isAlive()) await end(options.folder === undefined ? 'SIGQUIT' : 'SIGINT');
      if (options.folder === undefined) await rm(dir, { recursive: true, force: true });
    },
  };
}

/** @returns the folder with `bin/postgres`. */
async function fetchPrograms(): Promise<string> {
  const platform = `${process.platform}-${process.arch === 'arm64' ? 'arm64v8' : 'amd64'}`;
  const target = join(cacheDir, `postgres-${VERSION}-${platform}`);
  if ((await entriesOf(target)).includes('bin')) return target;
  await mkdir(cacheDir, { recursive: true, mode: 0o755 });
  const work = await mkdtemp(join(cacheDir, '.postgres-'));
  try {
    await run('mvn', ['-q', '-B', 'dependency:unpack', `-Dartifact=${ARTIFACT}-${platform}:${VERSION}`, `-DoutputDirectory=${join(work, 'jar')}`], { cwd: work });
    const archive = (await readdir(join(work, 'jar'))).find((name) => name.endsWith('.txz'));
    if (archive === undefined) throw new Error(`${ARTIFACT}-${platform}:${VERSION} holds no .txz`);
    const made = join(work, 'made');
    await mkdir(made, { mode: 0o755 });
    // `go run` stands in on a machine without xz.
    const unpack = spawnSync('xz', ['--version']).error === undefined ? 'xz -dc' : 'go run github.com/ulikunitz/xz/cmd/gxz@v0.5.12 -dc';
    await run('sh', ['-c', `${unpack} "$1" | tar x -C "$2"`, 'sh', join(work, 'jar', archive), made], { cwd: work });
    if (!(await entriesOf(made)).includes('bin')) throw new Error(`${archive} could not be unpacked by ${unpack}`);
    // Of two that come here at once, the second keeps what the first has made.
    await rename(made, target).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOTEMPTY' && error.code !== 'EEXIST') throw error;
    });
    return target;
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

async function entriesOf(dir: string): Promise<string[]> {
  return await readdir(dir).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return [];
    throw error;
  });
}

async function answers(url: string): Promise<boolean> {
  try {
    await query(url, 'select 1');
    return true;
  } catch {
    return false;
  }
}

async function query(url: string, text: string): Promise<void> {
  const client = new Client({ connectionString: url });
  client.on('error', () => undefined);
  try {
    await client.connect();
    await client.query(text);
  } finally {
    await client.end();
  }
}
