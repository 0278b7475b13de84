import { spawnSync } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { postgresMissing, type PostgresServer, startPostgres } from '../../examples/cluster/postgres.ts';
import { startTemporalCluster, type TemporalCluster } from '../../examples/cluster/temporal-cluster.ts';
import { buildTemporalPrograms } from '../../examples/cluster/temporal-programs.ts';
import { type Receiver, startReceiver } from '../../examples/receiver.ts';
import { bindTellingActions, deliveries, parseDelivery, type ReceivedDelivery } from '../e2e/actions.ts';
import type { SeenRegistration } from '../e2e/ledger-view.ts';
import { createRandom } from '../e2e/seeded-random.ts';
import { until } from '../e2e/until.ts';
import { testCacheDir } from '../helpers/dev-server.ts';
import { type Battlefield, type Fault, FAULTS, pause, strike, type Strike } from './faults.ts';
import { type Fleet, startFleet } from './fleet.ts';
import { type FleetLedger, openFleetLedger } from './fleet-ledger.ts';

const ACTIONS = ['First', 'Second', 'Third'];
/** Fails now and then. */
const FLAKY = 'Second';
const MAX_REFUSALS = 2;
const CLIENTS = 4;
/** `CRASH_MINUTES=10` for longer; `CRASH_SEED` repeats the faults. */
const MINUTES = Number(process.env['CRASH_MINUTES'] ?? 2);
const seed = Number(process.env['CRASH_SEED'] ?? Date.now() % 1_000_000);
const DISK = '400m';
/** How long after the last fault everything must be done, on a machine that may be busy. */
const DRAIN_MS = 120_000;
/** After one of these an attempt may run again whose delivery was answered already. */
const MAY_DOUBLE: Fault[] = ['worker', 'worker-again', 'sandbox', 'postgres', 'postgres-again', 'connections-ended', 'black-hole-worker', 'disk-full'];

const missing = postgresMissing();
if (missing !== null) console.warn(`the crash test is skipped, because ${missing}`);

describe.skipIf(missing !== null)('two apis and three workers on PostgreSQL and a Temporal of four services, under faults', () => {
  /** Apart from the other chances, which come in another order each time, so that a seed repeats the faults. */
  const faultChance = createRandom(seed);
  const chance = createRandom(seed + 1);
  const strikes: Strike[] = [];
  /** Sign-ups that were answered 200, or `user_exists` to a client that tried again after it had got no answer. */
  const acknowledged: string[] = [];
  const begun: string[] = [];
  const others = new Map<number, number>();
  const ends: (() => Promise<unknown>)[] = [];
  let disk: string | null = null;
  let receiver: Receiver;
  let ledger: FleetLedger;
  let registrations: SeenRegistration[];
  let received: ReceivedDelivery[];

  beforeAll(async () => {
    process.stdout.write(`crash test: ${MINUTES} minutes, seed ${seed}\n`);
    await rage().catch((error: unknown) => {
      process.stdout.write(`crash test: ended by ${error instanceof Error ? error.message : String(error)}\nStrikes: ${JSON.stringify(strikes)}\n`);
      throw error;
    });
  }, MINUTES * 60_000 + 420_000);

  async function rage(): Promise<void> {
    const field = await prepare();
    const { fleet } = field;
    await bindTellingActions(fleet.management, receiver, ACTIONS);
    await patchRetries(fleet);

    let over = false;
    const failures: unknown[] = [];
    const clients = Array.from({ length: CLIENTS }, (_, index) => signUpUntil(() => over, fleet, index).catch((error: unknown) => failures.push(error)));
    const possible = FAULTS.filter((fault) => fault !== 'disk-full' || disk !== null);
    const endAt = performance.now() + MINUTES * 60_000;
    let round = faultChance.shuffle(possible);
    // Each fault at least once, however long that takes; then until the time is over.
    for (let n = 0; (n < possible.length || performance.now() < endAt) && failures.length === 0; n++) {
      if (round.length === 0) round = faultChance.shuffle(possible);
      await pause(faultChance.between(500, 3_000));
      strikes.push(await strike(round.pop()!, field, faultChance));
    }
    await pause(1_000);
    over = true;
    await Promise.all(clients);
    if (failures.length > 0) throw failures[0];

    await until('all registrations are closed', async () => (await ledger.countOpen()) === 0, DRAIN_MS).catch(async (error: unknown) => {
      const open = (await ledger.registrations()).filter(({ state }) => state === 'open');
      process.stdout.write(`${fleet.members.map((member) => `${member.name}:\n${member.output().slice(-4_000)}`).join('\n')}\nStrikes: ${JSON.stringify(strikes)}\nOpen: ${JSON.stringify(open.slice(0, 5), null, 1)}\n`);
      throw error;
    });
    registrations = await ledger.registrations();
    received = deliveries(receiver);
    process.stdout.write(`crash test: ${acknowledged.length} sign-ups, ${received.length} deliveries, ${strikes.length} faults: ${strikes.map(({ fault }) => fault).join(' ')}; answers other than 200: ${JSON.stringify(Object.fromEntries(others))}\n`);
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
    const programs = await buildTemporalPrograms({ cacheDir: testCacheDir(), env: process.env, output: process.stderr });
    const temporal: TemporalCluster = await startTemporalCluster({
      programs,
      postgresPort: temporalPostgres.port,
      folder: await mkdtemp(join(tmpdir(), 'usher-crash-temporal-')),
      port: 20_000 + (process.pid % 10_000),
      namespace: 'default',
    });
    ends.push(() => temporal.stop());
    const url = await postgres.ensureDatabase('usher');
    receiver = await startReceiver(answering());
    ends.push(() => receiver.close());
    const fleet = await startFleet({ postgresPort: postgres.port, database: 'usher', temporalAddress: temporal.address, apis: 2, workers: 3 });
    ends.push(() => fleet.stop());
    ledger = openFleetLedger(url);
    ends.push(() => ledger.close());
    return { fleet, postgres, adminUrl: url, temporal, disk };
  }

  function answering(): Parameters<typeof startReceiver>[0] {
    const refusals = new Map<string, number>();
    return ({ body }) => {
      const { action, key } = parseDelivery(body);
      const refused = refusals.get(key) ?? 0;
      const delayMs = chance.between(50, 900);
      if (action !== FLAKY || refused >= MAX_REFUSALS || chance.next() > 0.3) return { status: 200, delayMs };
      refusals.set(key, refused + 1);
      return { status: 500, delayMs };
    };
  }

  /** A client that signs up one person after another, and tries again while it gets no answer. */
  async function signUpUntil(isOver: () => boolean, fleet: Fleet, client: number): Promise<void> {
    for (let n = 1; !isOver(); n++) {
      const email = `client-${client}-person-${n}@example.com`;
      begun.push(email);
      let unanswered = 0;
      await until(`the sign-up of ${email} is answered`, async () => {
        const answer = await fleet.signUp(email);
        if (answer?.status === 200 || (unanswered > 0 && answer?.body['code'] === 'user_exists')) return true;
        if (answer !== null && answer.status !== 503) throw new Error(`The sign-up of ${email} was answered ${answer.status}: ${JSON.stringify(answer.body)}`);
        others.set(answer?.status ?? 0, (others.get(answer?.status ?? 0) ?? 0) + 1);
        unanswered++;
        await pause(300);
        return false;
      }, 120_000);
      acknowledged.push(email);
      await pause(chance.between(200, 1_200));
    }
  }

  test('control: each fault has struck, and was seen to', () => {
    const possible = FAULTS.filter((fault) => fault !== 'disk-full' || disk !== null);
    expect(new Set(strikes.map(({ fault }) => fault))).toEqual(new Set(possible));
    for (const { fault, target, evidence } of strikes) {
      expect(evidence, `${fault} of ${target}`).toMatch(/dead|killed|crash|connections were|ENOSPC|logged the hour/);
    }
    const cutShort = registrations.flatMap(({ steps }) => steps.flatMap(({ attempts }) => attempts.filter(({ outcome }) => outcome === 'lost')));
    expect(cutShort.length).toBeGreaterThan(0);
    expect(received.filter(({ status }) => status === 500).length).toBeGreaterThan(0);
    expect(others.size).toBeGreaterThan(0);
  });

  test('no acknowledged sign-up is lost: each has its user, and every bound Action got through to the receiver', async () => {
    expect(acknowledged.length).toBeGreaterThan(20);
    expect(acknowledged.toSorted()).toEqual(begun.toSorted());
    const emails = new Set(await ledger.emails());
    for (const email of acknowledged) {
      expect(emails).toContain(email);
      const through = new Set(received.filter((each) => each.email === email && each.status === 200).map(({ action }) => action));
      expect([...through].toSorted(), email).toEqual(ACTIONS);
    }
  });

  test('every committed registration ran to its end, and nothing ran for anybody else', async () => {
    const emails = await ledger.emails();
    expect(registrations.map(({ email }) => email).toSorted()).toEqual(emails.toSorted());
    for (const { email, outcome } of registrations) expect({ email, outcome }).toEqual({ email, outcome: 'succeeded' });
    const committed = new Set(emails);
    expect(received.filter(({ email }) => !committed.has(email))).toEqual([]);
  });

  test('first attempts come in binding order, each Action after the one before it got through', () => {
    for (const { email } of registrations) {
      const order = received.filter((each) => each.email === email).map(({ action }) => action);
      expect(order, email).toEqual(order.toSorted((a, b) => ACTIONS.indexOf(a) - ACTIONS.indexOf(b)));
    }
  });

  test('each duplicate delivery has the same key, and a fault explains it', () => {
    const byKey = Map.groupBy(received, ({ key }) => key);
    expect(byKey.size).toBe(registrations.length * ACTIONS.length);
    let duplicates = 0;
    for (const [key, all] of byKey) {
      expect(new Set(all.map((each) => each.attempt)).size, `each attempt with the key ${key} delivers once`).toBe(all.length);
      for (const [index, delivery] of all.entries()) {
        const next = all[index + 1];
        if (delivery.status !== 200 || next === undefined) continue;
        duplicates++;
        const why = strikes.find(({ fault, at, overAt }) => MAY_DOUBLE.includes(fault) && at <= next.at && overAt >= delivery.at - 1_000);
        expect(why, `${delivery.email} ${delivery.action}, ${new Date(delivery.at).toISOString()} and ${new Date(next.at).toISOString()}`).toBeDefined();
      }
    }
    process.stdout.write(`crash test: ${duplicates} duplicate deliveries, each explained by a fault\n`);
  });

  test('never are two attempts of one step at the receiver at once', () => {
    for (const [key, all] of Map.groupBy(received, (each) => each.key)) {
      for (const [index, delivery] of all.slice(1).entries()) {
        const before = all[index]!;
        expect(before.endedAt, key).not.toBeNull();
        expect(delivery.at, `${key}: attempt ${delivery.attempt} and attempt ${before.attempt}`).toBeGreaterThanOrEqual(before.endedAt!);
      }
    }
    for (const { steps } of registrations) {
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
