import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { postgresMissing, startPostgres } from '../../examples/cluster/postgres.ts';
import { startTemporalCluster } from '../../examples/cluster/temporal-cluster.ts';
import { buildTemporalPrograms } from '../../examples/cluster/temporal-programs.ts';
import { type Receiver, startReceiver } from '../../examples/receiver.ts';
import { bindTellingActions, deliveries } from '../e2e/actions.ts';
import type { SeenRegistration } from '../e2e/ledger-view.ts';
import { until } from '../e2e/until.ts';
import { testCacheDir } from '../helpers/dev-server.ts';
import { pause } from './faults.ts';
import { type Fleet, startFleet } from './fleet.ts';
import { type FleetLedger, openFleetLedger } from './fleet-ledger.ts';
import { makeNextVersion } from './next-version.ts';

const ACTIONS = ['First', 'Second'];
/** So long do both versions run side by side at each step. */
const SIDE_BY_SIDE_MS = 2_000;

const missing = postgresMissing();
if (missing !== null) console.warn(`the rolling upgrade is skipped, because ${missing}`);

describe.skipIf(missing !== null)('a rolling upgrade under load', () => {
  const ends: (() => Promise<unknown>)[] = [];
  const acknowledged: string[] = [];
  const refused: number[] = [];
  let receiver: Receiver;
  let fleet: Fleet;
  let ledger: FleetLedger;
  let registrations: SeenRegistration[];
  let oldSaid: string;

  beforeAll(async () => {
    const postgres = await startPostgres();
    ends.push(() => postgres.stop());
    const folder = await mkdtemp(join(tmpdir(), 'usher-upgrade-'));
    ends.push(() => rm(folder, { recursive: true, force: true }));
    const programs = await buildTemporalPrograms({ cacheDir: testCacheDir(), env: process.env, output: process.stderr });
    const temporal = await startTemporalCluster({ programs, postgresPort: postgres.port, folder, port: 30_000 + (process.pid % 10_000), namespace: 'default' });
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

    let over = false;
    const load = Promise.all([0, 1].map((client) => signUpUntil(() => over, client)));
    await pause(SIDE_BY_SIDE_MS);
    // Workers last: what an api of the next version starts is taken up by a worker of this one.
    for (const member of fleet.members) {
      await member.replace(next);
      await until(`${member.name} is there again`, () => member.output().split(`the role ${member.role} is ready`).length > 2, 60_000);
      await pause(SIDE_BY_SIDE_MS);
      if (member.name === 'api-1') oldSaid = await restartAnOldOne(fleet);
    }
    over = true;
    await load;
    await until('all registrations are closed', async () => (await ledger.countOpen()) === 0, 90_000);
    registrations = await ledger.registrations();
    process.stdout.write(`rolling upgrade: ${acknowledged.length} sign-ups, ${refused.length} tries without a 200\n`);
  }, 300_000);

  afterAll(async () => {
    for (const end of ends.toReversed()) await end();
  }, 60_000);

  async function signUpUntil(isOver: () => boolean, client: number): Promise<void> {
    for (let n = 1; !isOver(); n++) {
      const email = `client-${client}-person-${n}@example.com`;
      let tries = 0;
      await until(`the sign-up of ${email} is answered`, async () => {
        const answer = await fleet.signUp(email);
        if (answer?.status === 200 || (tries++ > 0 && answer?.body['code'] === 'user_exists')) return true;
        if (answer !== null && answer.status !== 503) throw new Error(`The sign-up of ${email} was answered ${answer.status}: ${JSON.stringify(answer.body)}`);
        refused.push(answer?.status ?? 0);
        await pause(100);
        return false;
      });
      acknowledged.push(email);
      await pause(150);
    }
  }

  /** Kills a worker of the old version when the tables are of the next one already. @returns what it says when it is started. */
  async function restartAnOldOne({ members }: Fleet): Promise<string> {
    const worker = members.find(({ role }) => role === 'worker')!;
    await worker.kill();
    return await until('the old version says why it does not start', () => /.*made by a newer Usher.*/.exec(worker.output())?.[0]);
  }

  test('loses no sign-up, and runs every Action of each once', () => {
    expect(acknowledged.length).toBeGreaterThan(20);
    expect(registrations.map(({ email }) => email).toSorted()).toEqual(acknowledged.toSorted());
    for (const { email, outcome } of registrations) expect({ email, outcome }).toEqual({ email, outcome: 'succeeded' });
    const delivered = deliveries(receiver);
    for (const email of acknowledged) expect(new Set(delivered.filter((each) => each.email === email).map(({ action }) => action)), email).toEqual(new Set(ACTIONS));
  });

  test('an old process does not start on the tables of the next version, and says what to do', () => {
    expect(oldSaid).toContain('Start the newer Usher again');
  });
});
