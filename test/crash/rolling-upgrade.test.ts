import { rm } from 'node:fs/promises';
import { setTimeout as pause } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startPostgres } from '../../examples/cluster/postgres.ts';
import { type Receiver, startReceiver } from '../../examples/receiver.ts';
import { bindTellingActions, deliveries } from '../e2e/actions.ts';
import { type Aftermath, expectAllRanAndNothingElse, expectNothingLost, expectOneKeyForEachStep } from '../e2e/aftermath.ts';
import { type SignUpLoad, startSignUps } from '../e2e/sign-up-load.ts';
import { until } from '../e2e/until.ts';
import { mustSkip } from '../helpers/must-skip.ts';
import { type Fleet, type Member, startFleet } from './fleet.ts';
import { type FleetLedger, openFleetLedger } from './fleet-ledger.ts';
import { makeNextVersion } from './next-version.ts';
import { clusterMissing, startTestCluster } from './test-cluster.ts';

const ACTIONS = ['First', 'Second'];
/** So long do both versions run side by side at each step. */
const SIDE_BY_SIDE_MS = 2_000;

describe.skipIf(mustSkip('the rolling upgrade', clusterMissing()))('a rolling upgrade under load', () => {
  const ends: (() => Promise<unknown>)[] = [];
  let receiver: Receiver;
  let fleet: Fleet;
  let ledger: FleetLedger;
  let after: Aftermath;
  let oldSaid: string;
  let killed: number;

  beforeAll(async () => {
    const postgres = await startPostgres();
    ends.push(() => postgres.stop());
    const temporal = await startTestCluster(postgres.port);
    ends.push(() => temporal.stop());
    receiver = await startReceiver(() => ({ status: 200, delayMs: 300 }));
    ends.push(() => receiver.close());
    const url = await postgres.ensureDatabase('usher');
    fleet = await startFleet({ postgresPort: postgres.port, database: 'usher', temporalAddress: temporal.address, apis: 2, workers: 3 });
    ends.push(() => fleet.stop());
    ledger = openFleetLedger(url);
    ends.push(() => ledger.close());
    const next = await makeNextVersion();
    ends.push(() => rm(next, { recursive: true, force: true }));
    await bindTellingActions(fleet.management, receiver, ACTIONS);

    const load = startSignUps({ clients: 3, signUp: (email) => fleet.signUp(email), pauseMs: () => 150 });
    for (const member of fleet.members) await works(member, load);
    // Workers last: what an api of the next version starts is taken up by a worker of this one.
    for (const member of fleet.members) {
      await member.replace({ source: next });
      await pause(SIDE_BY_SIDE_MS);
      await works(member, load);
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

  /** Resolves when the present process of a worker has run an Action, or when sign-ups go on beside an api's. */
  async function works(member: Member, load: SignUpLoad): Promise<void> {
    const before = load.acknowledged.length;
    await until(`${member.name} works`, async () => (member.role === 'api' ? load.acknowledged.length > before + 5 : (await ledger.workerPids()).includes(member.pid()!)), 60_000);
  }

  /** Kills a worker of the old version when the tables are of the next one already. @returns what it says when it is started. */
  async function restartAnOldOne({ members }: Fleet): Promise<string> {
    const worker = members.find(({ role }) => role === 'worker')!;
    killed = worker.pid()!;
    await worker.kill();
    return await until('the old version says why it does not start', () => /.*made by a newer Usher.*/.exec(worker.output())?.[0]);
  }

  test('loses no sign-up, and runs every Action of each once', () => {
    expectNothingLost(after);
    expectAllRanAndNothingElse(after);
    for (const all of expectOneKeyForEachStep(after).values()) {
      const { email, action } = all[0]!;
      const { attempts } = after.registrations.find((each) => each.email === email)!.steps.find((each) => each.action === action)!;
      // Only what the killed one had under way may come again.
      expect(all.length, `${email} ${action}`).toBeLessThanOrEqual(1 + attempts.filter(({ workerPid }) => workerPid === killed).length);
    }
  });


  test('an old process does not start on the tables of the next version, and says what to do', () => {
    expect(oldSaid).toContain('Start the newer Usher again');
  });
});
