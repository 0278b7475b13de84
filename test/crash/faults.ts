import { readdirSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { Client } from 'pg';
import type { PostgresServer } from '../../examples/cluster/postgres.ts';
import { SERVICES } from '../../examples/cluster/temporal-config.ts';
import type { TemporalCluster } from '../../examples/cluster/temporal-cluster.ts';
import { kill9 } from '../e2e/processes.ts';
import type { SeededRandom } from '../e2e/seeded-random.ts';
import { until } from '../e2e/until.ts';
import type { Fleet, Member } from './fleet.ts';

/** What can befall the whole. `…-again`: it is killed a second time while it recovers. */
export const FAULTS = [
  'api', 'api-again', 'worker', 'worker-again', 'sandbox', 'temporal', 'temporal-all', 'postgres', 'postgres-again',
  'connections-ended', 'black-hole-api', 'black-hole-worker', 'disk-full', 'clock-forward', 'clock-back',
] as const;
export type Fault = (typeof FAULTS)[number];

/** A fault that has struck, with what shows that it did. */
export interface Strike {
  fault: Fault;
  /** What was hit. */
  target: string;
  at: number;
  overAt: number;
  evidence: string;
}

export interface Battlefield {
  fleet: Fleet;
  postgres: PostgresServer;
  /** Of the database `postgres`, past the proxies. */
  adminUrl: string;
  temporal: TemporalCluster;
  /** Small disk that PostgreSQL's data lie on; null where none could be mounted. */
  disk: string | null;
}

const TARGET_PATIENCE_MS = 30_000;
const HOUR_MS = 3_600_000;

/** Lets one fault strike, waits until what was taken is given back, and says what was seen. */
export async function strike(fault: Fault, field: Battlefield, random: SeededRandom): Promise<Strike> {
  const at = Date.now();
  const [target, evidence] = await HOW[fault](field, random);
  return { fault, target, at, overAt: Date.now(), evidence };
}

type How = (field: Battlefield, random: SeededRandom) => Promise<[target: string, evidence: string]>;

const HOW: Record<Fault, How> = {
  'api': (field, random) => killMember('api', field, random, { again: false }),
  'api-again': (field, random) => killMember('api', field, random, { again: true }),
  'worker': (field, random) => killMember('worker', field, random, { again: false }),
  'worker-again': (field, random) => killMember('worker', field, random, { again: true }),

  async sandbox({ fleet }, random) {
    // One that ends by itself just then does not count.
    const [worker, pid] = await until('a sandbox is killed', async () => {
      const all = fleet.members.flatMap((member) => member.sandboxes().map((each) => [member.name, each] as const));
      if (all.length === 0) return null;
      const chosen = random.pick(all);
      return await kill9(chosen[1]).then(() => chosen, () => null);
    }, TARGET_PATIENCE_MS);
    return [worker, `process ${pid} is dead`];
  },

  async temporal({ temporal }, random) {
    const service = random.pick(SERVICES);
    await temporal.kill(service);
    await pause(random.between(200, 2_000));
    temporal.start(service);
    await temporal.serves();
    return [service, `the service was killed and serves again`];
  },

  async 'temporal-all'({ temporal }, random) {
    await Promise.all(SERVICES.map((service) => temporal.kill(service)));
    await pause(random.between(500, 3_000));
    for (const service of SERVICES) temporal.start(service);
    await temporal.serves();
    return ['all services', 'all were killed and serve again'];
  },

  async postgres({ postgres }, random) {
    await killPostgres(postgres, random);
    return ['PostgreSQL', 'it recovered from a crash'];
  },

  async 'postgres-again'({ postgres }, random) {
    await killPostgres(postgres, random);
    await pause(random.between(0, 500));
    await killPostgres(postgres, random);
    return ['PostgreSQL', 'it recovered from two crashes'];
  },

  async 'connections-ended'({ adminUrl }) {
    const count = await until('there are connections to end', async () => {
      const ended = await query(adminUrl, `select count(pg_terminate_backend(pid))::int as count from pg_stat_activity where application_name = 'usher'`);
      return Number(ended[0]?.['count']) || null;
    }, TARGET_PATIENCE_MS);
    return ['every process', `${count} connections were ended`];
  },

  'black-hole-api': (field, random) => blackHole('api', field, random),
  'black-hole-worker': (field, random) => blackHole('worker', field, random),

  async 'disk-full'({ disk, adminUrl, postgres }, random) {
    if (disk === null) throw new Error('There is no small disk.');
    const ballast = join(disk, 'ballast');
    const refused = fill(ballast, disk);
    // A commit needs room in the write-ahead log, which may have a little left.
    const failure = await until('PostgreSQL has no room to write', async () => {
      const error = await query(adminUrl, `create table if not exists ballast as select repeat('x', 100000) from generate_series(1, 200)`).then(() => null, (each: Error) => each);
      if (error === null) await query(adminUrl, 'drop table ballast').catch(() => undefined);
      return error;
    });
    await pause(random.between(500, 3_000));
    rmSync(ballast);
    // It ends itself when its log cannot be written.
    await postgres.start().catch(() => undefined);
    await until('PostgreSQL works again', () => query(adminUrl, 'select 1').then(() => true, () => false), TARGET_PATIENCE_MS);
    return ['the disk of PostgreSQL', `${refused}; ${failure.message}`];
  },

  'clock-forward': (field, random) => moveClock(HOUR_MS, field, random),
  'clock-back': (field, random) => moveClock(-HOUR_MS, field, random),
};

async function killMember(role: Member['role'], { fleet }: Battlefield, random: SeededRandom, { again }: { again: boolean }): Promise<[string, string]> {
  const member = random.pick(fleet.members.filter((each) => each.role === role));
  const first = await until(`${member.name} is killed`, async () => {
    const pid = member.pid();
    // One that ends by itself just then, on what an earlier fault left, does not count.
    return pid === undefined ? null : await member.kill().then(() => pid, () => null);
  }, TARGET_PATIENCE_MS);
  const second = await until(`${member.name} was started again`, () => member.pid(), TARGET_PATIENCE_MS);
  if (!again) return [member.name, `process ${first} is dead`];
  await pause(random.between(0, 1_500));
  // It may have ended by itself, on what the first kill left.
  if (member.pid() === second) await member.kill().catch(() => undefined);
  return [member.name, `processes ${first} and ${second} are dead`];
}

async function killPostgres(postgres: PostgresServer, random: SeededRandom): Promise<void> {
  await postgres.kill();
  await pause(random.between(100, 2_000));
  await postgres.start();
}

async function blackHole(role: Member['role'], { fleet }: Battlefield, random: SeededRandom): Promise<[string, string]> {
  const member = random.pick(fleet.members.filter((each) => each.role === role));
  const open = await until(`${member.name} is connected`, () => member.database.connections(), TARGET_PATIENCE_MS);
  member.database.blackHole();
  await pause(random.between(3_000, 14_000));
  member.database.heal();
  return [member.name, `${open} connections were black-holed`];
}

async function moveClock(byMs: number, { fleet }: Battlefield, random: SeededRandom): Promise<[string, string]> {
  const member = random.pick(fleet.members);
  // One that ends by itself just then, on what an earlier fault left, starts with the right time.
  const shown = await until(`the clock of ${member.name} is moved`, () => member.moveClock(byMs).catch(() => null), TARGET_PATIENCE_MS);
  const offHours = Math.round((Date.parse(shown) - Date.now()) / HOUR_MS);
  await pause(random.between(2_000, 6_000));
  await member.moveClock(0).catch(() => undefined);
  return [member.name, `its clock was off by ${offHours} h`];
}

/** @returns what the system said when it was full. */
function fill(ballast: string, disk: string): string {
  const { bavail, bsize } = statfsSync(disk);
  try {
    writeFileSync(ballast, Buffer.alloc((bavail + 1) * bsize));
  } catch (error) {
    return `${(error as NodeJS.ErrnoException).code} with ${readdirSync(disk).length} entries`;
  }
  throw new Error('The disk took more than it has room for.');
}

async function query(url: string, text: string): Promise<Record<string, unknown>[]> {
  const client = new Client({ connectionString: url, connectionTimeoutMillis: 5_000 });
  client.on('error', () => undefined);
  try {
    await client.connect();
    return (await client.query<Record<string, unknown>>(text)).rows;
  } finally {
    await client.end().catch(() => undefined);
  }
}
