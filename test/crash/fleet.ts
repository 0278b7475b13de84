import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { createManagementClient, type ManagementClient } from '../../examples/management-client.ts';
import { anyFreePort } from '../../src/temporal/free-port.ts';
import { kill9, sandboxesOf } from '../e2e/processes.ts';
import { until } from '../e2e/until.ts';
import { plainEnv, signUp } from '../e2e/usher-process.ts';
import { startTcpProxy, type TcpProxy } from '../helpers/tcp-proxy.ts';

const SOURCE = fileURLToPath(new URL('../..', import.meta.url));
const MOVED_CLOCK = fileURLToPath(new URL('moved-clock.ts', import.meta.url));
/** As a process manager does it. */
const RESPAWN_MS = 300;
const OUTPUT_KEPT = 200_000;
const CLOCK_ANSWER_MS = 3_000;

/** One process of Usher in production: a role, with its own data directory and its own way to PostgreSQL. */
export interface Member {
  name: string;
  role: 'api' | 'worker';
  /** Undefined while it is dead. */
  pid(): number | undefined;
  /** Of every process that it was, the first one first. */
  pids(): number[];
  /** Of a worker. */
  sandboxes(): number[];
  /** Its way to PostgreSQL. */
  database: TcpProxy;
  /** Kills it with -9 and resolves when it is dead; it is started again by itself. */
  kill(): Promise<void>;
  /** Moves its clock to so far from the right time. @returns what it shows then, as an ISO time. @throws when it does not answer. */
  moveClock(byMs: number): Promise<string>;
  /** Ends it in order and starts it from another source folder, or with other variables from now on; resolves when it is ready. */
  replace(change: { source?: string; env?: Record<string, string> }): Promise<void>;
  output(): string;
}

/** Several apis and workers on one PostgreSQL and one Temporal, started again whenever they end. */
export interface Fleet {
  members: Member[];
  management: ManagementClient;
  /** Signs up at the next api in turn; null when it gave no answer. */
  signUp(email: string): Promise<{ status: number; body: Record<string, unknown> } | null>;
  stop(): Promise<void>;
}

/** Starts the fleet; resolves when each api serves. */
export async function startFleet(options: {
  postgresPort: number;
  /** Of the database on that server. */
  database: string;
  temporalAddress: string;
  apis: number;
  workers: number;
  /** Of every process. */
  env?: Record<string, string>;
}): Promise<Fleet> {
  const folder = await mkdtemp(join(tmpdir(), 'usher-fleet-'));
  const client = { id: 'fleet', secret: randomBytes(32).toString('hex') };
  const shared = {
    ...plainEnv(),
    TEMPORAL_ADDRESS: options.temporalAddress,
    USHER_MASTER_KEY: randomBytes(32).toString('base64'),
    USHER_CLIENT_ID: client.id,
    USHER_CLIENT_SECRET: client.secret,
    USHER_RATE_LIMITS: 'off',
    // The receiver of the tests is on this machine.
    USHER_EGRESS_ALLOW: '127.0.0.0/8',
    ...options.env,
  };
  const stops: (() => Promise<void>)[] = [];

  async function startMember(role: Member['role'], nth: number): Promise<Member & { api: string }> {
    const name = `${role}-${nth}`;
    const database = await startTcpProxy(options.postgresPort);
    const dataDir = join(folder, name);
    await mkdir(dataDir, { recursive: true });
    const port = await anyFreePort();
    const env: Record<string, string> = {
      ...shared,
      DATABASE_URL: `postgres://postgres@127.0.0.1:${database.port}/${options.database}`,
      USHER_DATA_DIR: dataDir,
      USHER_PORT: String(port),
      NODE_OPTIONS: `--import=${MOVED_CLOCK}`,
    };
    let source = SOURCE;
    let child: ChildProcess | undefined;
    let isWanted = true;
    let output = '';
    const pids: number[] = [];

    function run(): void {
      const started = spawn(process.execPath, [join(source, 'src/main.ts'), '--role', role], { env, stdio: ['ignore', 'pipe', 'pipe', 'ipc'] });
      child = started;
      if (started.pid !== undefined) pids.push(started.pid);
      for (const stream of [started.stdout!, started.stderr!]) {
        stream.setEncoding('utf8').on('data', (text: string) => {
          output = (output + text).slice(-OUTPUT_KEPT);
        });
      }
      started.once('exit', () => {
        if (child === started) child = undefined;
        if (isWanted) setTimeout(() => isWanted && child === undefined && run(), RESPAWN_MS);
      });
    }

    async function end(): Promise<void> {
      isWanted = false;
      const ending = child;
      if (ending === undefined) return;
      const exited = once(ending, 'exit');
      ending.kill('SIGTERM');
      await exited;
    }

    run();
    stops.push(async () => {
      await end();
      await database.close();
    });
    return {
      name,
      role,
      api: `http://127.0.0.1:${port}`,
      pid: () => child?.pid,
      pids: () => [...pids],
      sandboxes: () => (child?.pid === undefined ? [] : sandboxesOf(child.pid)),
      database,
      async kill() {
        const { pid } = child ?? {};
        if (pid === undefined) throw new Error(`${name} was dead before it was killed.`);
        await kill9(pid);
      },
      async moveClock(byMs) {
        const of = child;
        if (of === undefined) throw new Error(`${name} is dead.`);
        const answer = once(of, 'message', { signal: AbortSignal.timeout(CLOCK_ANSWER_MS) });
        of.send({ moveClockMs: byMs }, () => undefined);
        const [{ shows }] = (await answer) as [{ shows: string }];
        return shows;
      },
      async replace(change) {
        await end();
        source = change.source ?? source;
        Object.assign(env, change.env);
        output = '';
        isWanted = true;
        run();
        await until(`${name} is there again`, () => output.includes(`the role ${role} is ready`), 60_000);
      },
      output: () => output,
    };
  }

  try {
    const apis = await Promise.all(Array.from({ length: options.apis }, (_, n) => startMember('api', n + 1)));
    const workers = await Promise.all(Array.from({ length: options.workers }, (_, n) => startMember('worker', n + 1)));
    for (const member of apis) await until(`${member.name} serves`, () => answers(member.api), 60_000).catch(explain(member));
    for (const member of workers) await until(`${member.name} runs registrations`, () => member.output().includes('the role worker is ready'), 60_000).catch(explain(member));
    const management = await createManagementClient({ api: apis[0]!.api, clientId: client.id, clientSecret: client.secret });
    let turn = 0;
    return {
      members: [...apis, ...workers],
      management,
      signUp: (email) => signUp(apis[turn++ % apis.length]!.api, email).catch(() => null),
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }

  async function stop(): Promise<void> {
    await Promise.all(stops.map((each) => each()));
    await rm(folder, { recursive: true, force: true });
  }
}

async function answers(api: string): Promise<boolean> {
  return await fetch(`${api}/readyz`, { headers: { connection: 'close' } }).then((response) => response.ok, () => false);
}

function explain(member: Member): (error: Error) => never {
  return (error) => {
    throw new Error(`${error.message}. It printed:\n${member.output()}`, { cause: error });
  };
}
