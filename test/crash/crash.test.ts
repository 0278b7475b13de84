import { spawnSync } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type PostgresServer, startPostgres } from '../../examples/cluster/postgres.ts';
import { type Receiver, startReceiver } from '../../examples/receiver.ts';
import { bindTellingActions, deliveries } from '../e2e/actions.ts';
import { type Aftermath, expectAllRanAndNothingElse, expectBindingOrder, expectNothingLost, expectOneKeyForEachStep } from '../e2e/aftermath.ts';
import { createRandom } from '../e2e/seeded-random.ts';
import { refusingNowAndThen, startSignUps } from '../e2e/sign-up-load.ts';
import { until } from '../e2e/until.ts';
import { mustSkip } from '../helpers/must-skip.ts';
import { type Battlefield, FAULTS, killOneOfEach, strike, type Strike } from './faults.ts';
import { type Fleet, startFleet } from './fleet.ts';
import { type FleetLedger, openFleetLedger } from './fleet-ledger.ts';
import { clusterMissing, startTestCluster } from './test-cluster.ts';

const ACTIONS = ['First', 'Second', 'Third'];
/** Fails now and then. */
const FLAKY = 'Second';
const CLIENTS = 4;
/** `CRASH_MINUTES=10` for longer; `CRASH_SEED` repeats the faults. */
const MINUTES = Number(process.env['CRASH_MINUTES'] ?? 2);
const seed = Number(process.env['CRASH_SEED'] ?? Date.now() % 1_000_000);
/** So often at least, and so long, after that, is one of each killed. */
const ROUNDS = 4;
const ONE_OF_EACH_MS = 30_000;
const DISK = '400m';
/** How long after the last fault everything must be done, on a machine that may be busy. */
const DRAIN_MS = 120_000;

describe.skipIf(mustSkip('the crash test', clusterMissing()))('two apis and three workers on PostgreSQL and a Temporal of four services, under faults', () => {
  /** Apart from the other chances, which come in another order each time, so that a seed repeats the faults. */
  const faultChance = createRandom(seed);
  const chance = createRandom(seed + 1);
  const strikes: Strike[] = [];
  /** While one of each was killed again and again. */
  let oneOfEach: { rounds: Strike[][]; acknowledged: number };
  const ends: (() => Promise<unknown>)[] = [];
  let disk: string | null = null;
  let receiver: Receiver;
  let ledger: FleetLedger;
  let after: Aftermath;

  beforeAll(async () => {
    process.stdout.write(`crash test: ${MINUTES} minutes, seed ${seed}\n`);
    await rage().catch((error: unknown) => {
      process.stdout.write(`crash test: ended by ${error instanceof Error ? error.message : String(error)}\nStrikes: ${JSON.stringify(strikes)}\n`);
      throw error;
    });
  }, MINUTES * 60_000 + ONE_OF_EACH_MS + 420_000);

  async function rage(): Promise<void> {
    const field = await prepare();
    const { fleet } = field;
    await bindTellingActions(fleet.management, receiver, ACTIONS);
    await patchRetries(fleet);

    const load = startSignUps({ clients: CLIENTS, signUp: (email) => fleet.signUp(email), pauseMs: () => chance.between(200, 1_200) });
    const possible = FAULTS.filter((fault) => fault !== 'disk-full' || disk !== null);
    const endAt = performance.now() + MINUTES * 60_000;
    let round = faultChance.shuffle(possible);
    // Each fault at least once, however long that takes; then until the time is over.
    for (let n = 0; (n < possible.length || performance.now() < endAt) && load.failures.length === 0; n++) {
      if (round.length === 0) round = faultChance.shuffle(possible);
      await pause(faultChance.between(500, 3_000));
      strikes.push(await strike(round.pop()!, field, faultChance));
    }
    const before = load.acknowledged.length;
    oneOfEach = { rounds: await killOneOfEach({ rounds: ROUNDS, forMs: ONE_OF_EACH_MS }, field, faultChance), acknowledged: load.acknowledged.length - before };
    strikes.push(...oneOfEach.rounds.flat());
    await pause(1_000);
    await load.stop();

    const calmAt = performance.now();
    await until('all registrations are closed', async () => (await ledger.countOpen()) === 0, DRAIN_MS).catch(async (error: unknown) => {
      const open = (await ledger.registrations()).filter(({ state }) => state === 'open');
      process.stdout.write(`${fleet.members.map((member) => `${member.name}:\n${member.output().slice(-4_000)}`).join('\n')}\nStrikes: ${JSON.stringify(strikes)}\n`);
      throw new Error(`${(error as Error).message}; open are ${open.length}, among them ${JSON.stringify(open.slice(0, 2))}`, { cause: error });
    });
    const closedAfterS = Math.round((performance.now() - calmAt) / 1000);
    after = { load, actions: ACTIONS, emails: await ledger.emails(), registrations: await ledger.registrations(), received: deliveries(receiver) };
    process.stdout.write(`crash test: ${load.acknowledged.length} sign-ups, ${after.received.length} deliveries, ${strikes.length} faults: ${strikes.map(({ fault }) => fault).join(' ')}; answers other than 200: ${JSON.stringify(Object.fromEntries(load.others))}; all were closed ${closedAfterS} s after the last\n`);
  }

  afterAll(async () => {
    for (const end of ends.toReversed()) await end();
  }, 60_000);

  async function prepare(): Promise<Battlefield> {
    const folder = await mkdtemp(join(tmpdir(), 'usher-crash-'));
    ends.push(() => rm(folder, { recursive: true, force: true }));
    disk = mountDisk(folder);
    if (disk !== null) ends.push(() => Promise.resolve(spawnSync('umount', ['--lazy', folder])));
    const postgres: PostgresServer = await startPostgres({ folder: join(folder, 'postgres') });
    ends.push(() => postgres.stop());
    // Temporal's own database does not lie on the disk that fills.
    const temporalPostgres = await startPostgres();
    ends.push(() => temporalPostgres.stop());
    const temporal = await startTestCluster(temporalPostgres.port);
    ends.push(() => temporal.stop());
    const url = await postgres.ensureDatabase('usher');
    receiver = await startReceiver(refusingNowAndThen(FLAKY, chance));
    ends.push(() => receiver.close());
    const fleet = await startFleet({ postgresPort: postgres.port, database: 'usher', temporalAddress: temporal.address, apis: 2, workers: 3 });
    ends.push(() => fleet.stop());
    ledger = openFleetLedger(url);
    ends.push(() => ledger.close());
    return { fleet, postgres, adminUrl: url, temporal, disk };
  }

  test('control: each fault has struck, and was seen to', () => {
    const possible = FAULTS.filter((fault) => fault !== 'disk-full' || disk !== null);
    expect(new Set(strikes.map(({ fault }) => fault))).toEqual(new Set(possible));
    for (const { fault, target, evidence } of strikes) {
      expect(evidence, `${fault} of ${target}`).toMatch(/\bdead\b|[1-9]\d* connections were|ENOSPC|off by -?1 h/);
    }
    const cutShort = after.registrations.flatMap(({ steps }) => steps.flatMap(({ attempts }) => attempts.filter(({ outcome }) => outcome === 'lost')));
    expect(cutShort.length).toBeGreaterThan(0);
    expect(after.received.filter(({ status }) => status === 500).length).toBeGreaterThan(0);
    expect(after.load.others.size).toBeGreaterThan(0);
  });

  test('control: one of each was killed again and again, soon after all were given back, and meanwhile people signed up', () => {
    expect(oneOfEach.rounds.length).toBeGreaterThanOrEqual(ROUNDS);
    for (const [index, round] of oneOfEach.rounds.slice(1).entries()) {
      const givenBackAt = Math.max(...oneOfEach.rounds[index]!.map(({ overAt }) => overAt));
      for (const { fault, at } of round) expect(at - givenBackAt, fault).toBeLessThan(10_000);
    }
    expect(oneOfEach.acknowledged).toBeGreaterThan(5);
  });

  test('no acknowledged sign-up is lost: each has its user, and every bound Action got through to the receiver', () => expectNothingLost(after));

  test('every committed registration ran to its end, and nothing ran for anybody else', () => expectAllRanAndNothingElse(after));

  test('first attempts come in binding order, each Action after the one before it got through', () => expectBindingOrder(after));

  test('each duplicate delivery has the same key, and a fault explains it', () => {
    let duplicates = 0;
    for (const all of expectOneKeyForEachStep(after).values()) {
      const { email, action } = all[0]!;
      const attempts = after.registrations.find((each) => each.email === email)!.steps.find((each) => each.action === action)!.attempts;
      for (const [index, delivery] of all.entries()) {
        const next = all[index + 1];
        if (delivery.status !== 200 || next === undefined) continue;
        duplicates++;
        const attempt = attempts.find(({ number }) => number === delivery.attempt)!;
        const what = `${email} ${action}, ${new Date(delivery.at).toISOString()} and ${new Date(next.at).toISOString()}: ${JSON.stringify(attempt)}`;
        expect(attempt.outcome, what).not.toBe('succeeded');
        const why = strikes.find(({ workers, at, overAt }) => (workers === 'all' || workers.includes(attempt.workerPid)) && at <= next.at && overAt >= delivery.at - 1_000);
        expect(why, what).toBeDefined();
      }
    }
    process.stdout.write(`crash test: ${duplicates} duplicate deliveries, each explained by a fault\n`);
  });

  test('never are two attempts of one step at the receiver at once', () => {
    for (const [key, all] of Map.groupBy(after.received, (each) => each.key)) {
      for (const [index, delivery] of all.slice(1).entries()) {
        const before = all[index]!;
        expect(before.endedAt, key).not.toBeNull();
        expect(delivery.at, `${key}: attempt ${delivery.attempt} and attempt ${before.attempt}`).toBeGreaterThanOrEqual(before.endedAt!);
      }
    }
    for (const { steps } of after.registrations) {
      for (const { attempts } of steps) expect(attempts.map(({ number }) => number)).toEqual(attempts.map((_, index) => index + 1));
    }
  });
});

/** What the faults take must not count against the Actions: with the usual budget a step might be parked for a minute. */
async function patchRetries(fleet: Fleet): Promise<void> {
  const path = '/actions/triggers/post-user-registration/bindings';
  const { bindings } = await fleet.management.call<{ bindings: { id: string }[] }>('GET', path);
  const retry = { quick: { attempts: 20, first_delay_ms: 500, factor: 1, budget_ms: 900_000 } };
  await fleet.management.call('PATCH', path, { bindings: bindings.map(({ id }) => ({ ref: { type: 'binding_id', value: id }, usher: { retry } })) });
}

function mountDisk(folder: string): string | null {
  const works = process.getuid?.() === 0 && spawnSync('mount', ['-t', 'tmpfs', '-o', `size=${DISK},mode=755`, 'tmpfs', folder]).status === 0;
  if (!works) console.warn('crash test: no full disk, because this user may not mount a small one');
  return works ? folder : null;
}
