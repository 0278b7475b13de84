import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startPostgres } from '../../examples/cluster/postgres.ts';
import type { TemporalCluster } from '../../examples/cluster/temporal-cluster.ts';
import { type Receiver, startReceiver } from '../../examples/receiver.ts';
import { bindTellingActions, deliveries, parseDelivery } from '../e2e/actions.ts';
import { type Aftermath, expectAllRanAndNothingElse, expectNothingLost, expectOneKeyForEachStep } from '../e2e/aftermath.ts';
import { type SignUpLoad, startSignUps } from '../e2e/sign-up-load.ts';
import { until } from '../e2e/until.ts';
import { mustSkip } from '../helpers/must-skip.ts';
import { type Fleet, startFleet } from './fleet.ts';
import { type FleetLedger, openFleetLedger } from './fleet-ledger.ts';
import { copyTemporalDatabases, dropTemporalDatabases, putCopyBack } from './temporal-databases.ts';
import { clusterMissing, startTestCluster } from './test-cluster.ts';

const ACTIONS = ['First', 'Goes down', 'Last'];
/** Does not get through while the receiver is down. */
const FLAKY = 'Goes down';
/** Of so many people the receiver refuses one, while it is down. */
const ONE_OF = 3;
const PARKED = 5;
/** On a machine that is busy with other things, too. */
const DRAIN_MS = 120_000;

describe.skipIf(mustSkip("the tests of Temporal's databases", clusterMissing()))('the databases of a Temporal of four services, while people sign up at two apis with three workers', () => {
  const ends: (() => Promise<unknown>)[] = [];
  let receiver: Receiver;
  let isDown: boolean;
  let postgresPort: number;
  let adminUrl: string;
  let temporal: TemporalCluster;
  let fleet: Fleet;
  let ledger: FleetLedger;

  beforeAll(async () => {
    const postgres = await startPostgres();
    ends.push(() => postgres.stop());
    postgresPort = postgres.port;
    temporal = await startTestCluster(postgresPort);
    ends.push(() => temporal.stop());
    receiver = await startReceiver(({ body }) => {
      const { action, email } = parseDelivery(body);
      return { status: isDown && action === FLAKY && numberOf(email) % ONE_OF === 0 ? 503 : 200, delayMs: 300 };
    });
    ends.push(() => receiver.close());
    adminUrl = await postgres.ensureDatabase('usher');
    fleet = await startFleet({ postgresPort, database: 'usher', temporalAddress: temporal.address, apis: 2, workers: 3 });
    ends.push(() => fleet.stop());
    ledger = openFleetLedger(adminUrl);
    ends.push(() => ledger.close());
    await bindTellingActions(fleet.management, receiver, ACTIONS);
    await parkSoon(fleet);
  }, 300_000);

  afterAll(async () => {
    for (const end of ends.toReversed()) await end();
  }, 60_000);

  function startLoad(name: string): SignUpLoad {
    isDown = true;
    return startSignUps({ name, clients: 2, signUp: (email) => fleet.signUp(email), pauseMs: () => 200 });
  }

  async function parked(): Promise<string[]> {
    return (await ledger.registrations()).filter(({ steps }) => steps.some(({ state }) => state === 'parked')).map(({ email }) => email);
  }

  /** Starts Temporal anew on what `change` makes of its databases, under load until it serves. @returns what has become of everything. */
  async function goOnAfter(what: string, load: SignUpLoad, change: () => Promise<void>): Promise<Aftermath> {
    const { address } = temporal;
    await temporal.stop();
    // What was under way is recorded without Temporal, too.
    await until('no attempt is under way', async () => (await ledger.registrations()).every(({ steps }) => steps.every(({ attempts }) => attempts.every(({ endedAt }) => endedAt !== null))));
    await change();
    isDown = false;
    const startedAt = performance.now();
    temporal = await startTestCluster(postgresPort);
    expect(temporal.address).toBe(address);
    await load.stop();
    const open = await ledger.countOpen();
    await ledger.letChecksBeDue();
    await until('all registrations are closed', async () => (await ledger.countOpen()) === 0, DRAIN_MS);
    process.stdout.write(`${what}: ${open} registrations were open when Temporal served again, and all were closed ${((performance.now() - startedAt) / 1000).toFixed(0)} s after its start\n`);
    return { load, actions: ACTIONS, emails: await ledger.emails(), registrations: await ledger.registrations(), received: deliveries(receiver) };
  }

  function expectAllRanOnce(after: Aftermath): void {
    expectNothingLost(after);
    expectAllRanAndNothingElse(after);
    for (const [key, all] of expectOneKeyForEachStep(after)) expect(all.filter(({ status }) => status === 200).length, `${key} of ${all[0]!.email}`).toBe(1);
    for (const { email, steps } of after.registrations) {
      for (const { action, attempts } of steps) expect(attempts.filter(({ outcome }) => outcome === 'succeeded'), `${action} of ${email}`).toEqual([attempts.at(-1)]);
    }
  }

  test('put back to an older copy: everything open finishes, and nothing that has succeeded runs again', async () => {
    const load = startLoad('copied');
    await until('some are parked', async () => (await parked()).length >= PARKED);
    const parkedThen = await parked();
    await copyTemporalDatabases(adminUrl);
    // What the copy knows nothing of: ends, and people who have signed up since.
    isDown = false;
    await until('what was parked has ended', async () => (await parked()).every((email) => !parkedThen.includes(email)), DRAIN_MS);
    isDown = true;
    await until('others are parked', async () => (await parked()).length >= PARKED);

    expectAllRanOnce(await goOnAfter("Temporal's databases put back to an older copy", load, async () => {
      // As docs/backup.md tells: what they remember of a workflow is newer than the copy.
      for (const member of fleet.members) if (member.role === 'worker') await member.kill();
      await putCopyBack(adminUrl);
    }));
  }, 300_000);

  test('deleted: everything open finishes, and nothing that has succeeded runs again', async () => {
    const load = startLoad('deleted');
    await until('some are parked', async () => (await parked()).length >= PARKED);

    expectAllRanOnce(await goOnAfter("Temporal's databases deleted", load, () => dropTemporalDatabases(adminUrl)));
  }, 300_000);
});

/** The number of a person of a load. */
function numberOf(email: string): number {
  return Number(/person-(\d+)@/.exec(email)![1]);
}

/** The flaky Action is parked after its first attempt, and tried again every few seconds. */
async function parkSoon(fleet: Fleet): Promise<void> {
  const path = '/actions/triggers/post-user-registration/bindings';
  const { bindings } = await fleet.management.call<{ bindings: { id: string }[] }>('GET', path);
  const retry = { quick: { attempts: 1 }, long: { first_delay_ms: 3_000, factor: 1, max_delay_ms: 3_000 } };
  const changed = bindings.map(({ id }, index) => ({ ref: { type: 'binding_id', value: id }, ...(ACTIONS[index] === FLAKY ? { usher: { retry } } : {}) }));
  await fleet.management.call('PATCH', path, { bindings: changed });
}
