import { rm } from 'node:fs/promises';
import { setTimeout as pause } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { postgresMissing, startPostgres } from '../../examples/cluster/postgres.ts';
import { type Receiver, startReceiver } from '../../examples/receiver.ts';
import { bindTellingActions, deliveries } from '../e2e/actions.ts';
import { type Aftermath, expectAllRanAndNothingElse, expectNothingLost, expectOneKeyForEachStep } from '../e2e/aftermath.ts';
import { startSignUps } from '../e2e/sign-up-load.ts';
import { until } from '../e2e/until.ts';
import { type Fleet, startFleet } from './fleet.ts';
import { type FleetLedger, openFleetLedger } from './fleet-ledger.ts';
import { makeNextVersion } from './next-version.ts';
import { startTestCluster } from './test-cluster.ts';

const ACTIONS = ['First', 'Second'];
/** So long do both versions run side by side at each step. */
const SIDE_BY_SIDE_MS = 2_000;

const missing = postgresMissing();
if (missing !== null) console.warn(`the rolling upgrade is skipped, because ${missing}`);

describe.skipIf(missing !== null)('a rolling upgrade under load', () => {
  const ends: (() => Promise<unknown>)[] = [];
  let receiver: Receiver;
  let fleet: Fleet;
  let ledger: FleetLedger;
  let after: Aftermath;
  let oldSaid: string;

  beforeAll(async () => {
    const postgres = await startPostgres();
    ends.push(() => postgres.stop());
    const temporal = await startTestCluster(postgres.port);
    ends.push(() => temporal.stop());
    receiver = await startReceiver(() => ({ status: 200, delayMs: 300 }));
    ends.push(() => receiver.close());
    const url = await postgres.ensureDatabase('usher');
    fleet = await startFleet({ postgresPort: postgres.port, database: 'usher', temporalAddress: temporal.address, apis: 2, workers: 2 });
    ends.push(() => fleet.stop());
    ledger = openFleetLedger(url);
    ends.push(() => ledger.close());
    const next = await makeNextVersion();
    ends.push(() => rm(next, { recursive: true, force: true }));
    await bindTellingActions(fleet.management, receiver, ACTIONS);

    const load = startSignUps({ clients: 2, signUp: (email) => fleet.signUp(email), pauseMs: () => 150 });
    await pause(SIDE_BY_SIDE_MS);
    // Workers last: what an api of the next version starts is taken up by a worker of this one.
    for (const member of fleet.members) {
      await member.replace(next);
      await until(`${member.name} is there again`, () => member.output().split(`the role ${member.role} is ready`).length > 2, 60_000);
      await pause(SIDE_BY_SIDE_MS);
      if (member.name === 'api-1') oldSaid = await restartAnOldOne(fleet);
    }
    await load.stop();
    await until('all registrations are closed', async () => (await ledger.countOpen()) === 0, 90_000);
    after = { load, actions: ACTIONS, emails: await ledger.emails(), registrations: await ledger.registrations(), received: deliveries(receiver) };
    process.stdout.write(`rolling upgrade: ${load.acknowledged.length} sign-ups; tries without a 200: ${JSON.stringify(Object.fromEntries(load.others))}\n`);
  }, 300_000);

  afterAll(async () => {
    for (const end of ends.toReversed()) await end();
  }, 60_000);

  /** Kills a worker of the old version when the tables are of the next one already. @returns what it says when it is started. */
  async function restartAnOldOne({ members }: Fleet): Promise<string> {
    const worker = members.find(({ role }) => role === 'worker')!;
    await worker.kill();
    return await until('the old version says why it does not start', () => /.*made by a newer Usher.*/.exec(worker.output())?.[0]);
  }

  test('loses no sign-up, and runs every Action of each once', () => {
    expectNothingLost(after);
    expectAllRanAndNothingElse(after);
    expectOneKeyForEachStep(after);
  });

  test('an old process does not start on the tables of the next version, and says what to do', () => {
    expect(oldSaid).toContain('Start the newer Usher again');
  });
});
