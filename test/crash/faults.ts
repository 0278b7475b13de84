import { readdirSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import type { PostgresServer } from '../../examples/cluster/postgres.ts';
import { type Service, SERVICES } from '../../examples/cluster/temporal-config.ts';
import type { TemporalCluster } from '../../examples/cluster/temporal-cluster.ts';
import { kill9 } from '../e2e/processes.ts';
import type { SeededRandom } from '../e2e/seeded-random.ts';
import { until } from '../e2e/until.ts';
import type { Fleet, Member } from './fleet.ts';
import { query } from './query.ts';

/** What can befall the whole. `…-again`: it is killed a second time while it recovers. */
export const FAULTS = [
  'api', 'api-again', 'worker', 'worker-again', 'sandbox', 'temporal', 'temporal-all', 'postgres', 'postgres-again', 'connections-ended',
  'black-hole-api', 'black-hole-worker', 'disk-full', 'clock-forward', 'clock-back',
] as const;
export type Fault = (typeof FAULTS)[number];
/** Each kills one process of its kind. */
const ONE_OF_EACH = ['api', 'worker', 'temporal', 'postgres'] as const satisfies Fault[];

/** A fault that has struck. */
export interface Strike extends Hit {
  fault: Fault;
  at: number;
  overAt: number;
}

interface Hit {
  target: string;
  /** What shows that it was hit. */
  evidence: string;
  /** The process ids of the workers that may have been kept from recording how an attempt ended. */
  workers: number[] | 'all';
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
/** A recovery can be over before it is hit. */
const RECOVERY_TRIES = 10;

/** Lets one fault strike, waits until what was taken is given back, and says what was seen. */
export async function strike(fault: Fault, field: Battlefield, random: SeededRandom): Promise<Strike> {
  const at = Date.now();
  const hit = await HOW[fault](field, random);
  return { fault, ...hit, at, overAt: Date.now() };
}

/**
 * Kills one of each at once, and again as soon as they are given back and a moment has passed: so often at least, and for so long.
 *
 * @returns the strikes of each round.
 */
export async function killOneOfEach({ rounds, forMs }: { rounds: number; forMs: number }, field: Battlefield, random: SeededRandom): Promise<Strike[][]> {
  const struck: Strike[][] = [];
  for (const endAt = performance.now() + forMs; struck.length < rounds || performance.now() < endAt; ) {
    struck.push(await Promise.all(ONE_OF_EACH.map((fault) => strike(fault, field, random))));
    await pause(random.between(500, 2_000));
  }
  return struck;
}

type How = (field: Battlefield, random: SeededRandom) => Promise<Hit>;

const HOW: Record<Fault, How> = {
  'api': ({ fleet }, random) => killMember('api', fleet, random),
  'api-again': ({ fleet }, random) => killMemberTwice('api', fleet, random),
  'worker': ({ fleet }, random) => killMember('worker', fleet, random),
  'worker-again': ({ fleet }, random) => killMemberTwice('worker', fleet, random),

  async sandbox({ fleet }, random) {
    // One that ends by itself just then does not count.
    const [worker, pid] = await until('a sandbox is killed', async () => {
      const all = fleet.members.flatMap((member) => member.sandboxes().map((each) => [member, each] as const));
      if (all.length === 0) return null;
      const chosen = random.pick(all);
      return await kill9(chosen[1]).then(() => chosen, () => null);
    }, TARGET_PATIENCE_MS);
    return { target: worker.name, evidence: `process ${pid} is dead`, workers: worker.pids() };
  },

  temporal: ({ temporal }, random) => killTemporal(temporal, [random.pick(SERVICES)], random),
  'temporal-all': ({ temporal }, random) => killTemporal(temporal, SERVICES, random),

  async postgres({ postgres }, random) {
    const pid = await postgres.kill();
    await pause(random.between(100, 2_000));
    await postgres.start();
    return { target: 'PostgreSQL', evidence: `process ${pid} is dead`, workers: 'all' };
  },

  async 'postgres-again'({ postgres }) {
    for (let tries = 1; tries <= RECOVERY_TRIES; tries++) {
      const first = await postgres.kill();
      const { pid, log } = await postgres.killWhileItRecovers();
      const hit = !log.includes('ready to accept connections');
      await postgres.start();
      if (hit) return { target: 'PostgreSQL', evidence: `process ${first} is dead, and so is ${pid}, which recovered from that`, workers: 'all' };
    }
    throw new Error(`PostgreSQL had recovered before it was killed again, ${RECOVERY_TRIES} times.`);
  },

  async 'connections-ended'({ adminUrl }) {
    const count = await until('there are connections to end', async () => {
      const ended = await query(adminUrl, `select count(pg_terminate_backend(pid))::int as count from pg_stat_activity where application_name = 'usher'`);
      return Number(ended[0]?.['count']) || null;
    }, TARGET_PATIENCE_MS);
    return { target: 'every process', evidence: `${count} connections were ended`, workers: 'all' };
  },

  'black-hole-api': ({ fleet }, random) => blackHole('api', fleet, random),
  'black-hole-worker': ({ fleet }, random) => blackHole('worker', fleet, random),

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
    return { target: 'the disk of PostgreSQL', evidence: `${refused}; ${failure.message}`, workers: 'all' };
  },

  'clock-forward': (field, random) => moveClock(HOUR_MS, field, random),
  'clock-back': (field, random) => moveClock(-HOUR_MS, field, random),
};

/** @returns its process id. One that ends by itself just then, on what an earlier fault left, does not count. */
async function killProcess(member: Member): Promise<number> {
  return await until(`${member.name} is killed`, async () => {
    const pid = member.pid();
    return pid === undefined ? null : await member.kill().then(() => pid, () => null);
  }, TARGET_PATIENCE_MS);
}

async function killMember(role: Member['role'], fleet: Fleet, random: SeededRandom): Promise<Hit> {
  const member = pickMember(role, fleet, random);
  const pid = await killProcess(member);
  await until(`${member.name} was started again`, () => member.pid(), TARGET_PATIENCE_MS);
  return { target: member.name, evidence: `process ${pid} is dead`, workers: [pid] };
}

async function killMemberTwice(role: Member['role'], fleet: Fleet, random: SeededRandom): Promise<Hit> {
  const member = pickMember(role, fleet, random);
  const first = await killProcess(member);
  await until(`${member.name} was started again`, () => member.pid(), TARGET_PATIENCE_MS);
  await pause(random.between(0, 1_500));
  const second = await killProcess(member);
  await until(`${member.name} was started once more`, () => member.pid(), TARGET_PATIENCE_MS);
  return { target: member.name, evidence: `processes ${first} and ${second} are dead`, workers: [first, second] };
}

/** Temporal's services do not run Actions: whatever befalls them, a worker records how its attempts ended. */
async function killTemporal(temporal: TemporalCluster, services: readonly Service[], random: SeededRandom): Promise<Hit> {
  // One that ends by itself just then is started again, and does not count.
  const pids = await Promise.all(services.map((service) => until(`Temporal's ${service} service is killed`, () => temporal.kill(service).catch(() => null), TARGET_PATIENCE_MS)));
  await pause(random.between(200, 2_500));
  for (const service of services) temporal.start(service);
  await temporal.serves();
  return { target: services.join(' and '), evidence: `dead: ${pids.join(', ')}`, workers: [] };
}

async function blackHole(role: Member['role'], fleet: Fleet, random: SeededRandom): Promise<Hit> {
  const member = pickMember(role, fleet, random);
  const open = await until(`${member.name} is connected`, () => member.database.connections() || null, TARGET_PATIENCE_MS);
  member.database.blackHole();
  await pause(random.between(3_000, 14_000));
  member.database.heal();
  return { target: member.name, evidence: `${open} connections were black-holed`, workers: member.pids() };
}

async function moveClock(byMs: number, { fleet, adminUrl }: Battlefield, random: SeededRandom): Promise<Hit> {
  const member = random.pick(fleet.members);
  // One that ends by itself just then, on what an earlier fault left, starts with the right time.
  const shown = await until(`the clock of ${member.name} is moved`, () => member.moveClock(byMs).catch(() => null), TARGET_PATIENCE_MS);
  const offHours = Math.round((Date.parse(shown) - Date.now()) / HOUR_MS);
  await pause(random.between(2_000, 6_000));
  await member.moveClock(0).catch(() => undefined);
  // Either way there is a jump ahead, after which a worker takes its leases for over and kills its attempts.
  const before = Date.now();
  const open = `select 1 from attempt where ended_at is null and started_at <= ${before} and split_part(worker_id, '-', -2)::int = ${member.pids().at(-1)}`;
  await until(`what ${member.name} ran has ended`, async () => (await query(adminUrl, open)).length === 0);
  return { target: member.name, evidence: `its clock was off by ${offHours} h`, workers: member.pids() };
}

function pickMember(role: Member['role'], { members }: Fleet, random: SeededRandom): Member {
  return random.pick(members.filter((each) => each.role === role));
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
