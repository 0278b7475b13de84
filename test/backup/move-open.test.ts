import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { postgresMissing, type PostgresServer, startPostgres } from '../../examples/cluster/postgres.ts';
import { type Receiver, startReceiver } from '../../examples/receiver.ts';
import { openPostgres } from '../../src/store/postgres.ts';
import { bindTellingActions, deliveries, parseDelivery } from '../e2e/actions.ts';
import { changePolicy, readRegistration } from '../e2e/ledger-view.ts';
import { until } from '../e2e/until.ts';
import { startTestUsher, type TestUsher } from '../e2e/usher.ts';
import { mustSkip } from '../helpers/must-skip.ts';
import { done } from './cli.ts';

/** On a machine that is busy with other things, too. */
const GO_ON_WITHIN_MS = 90_000;
let postgres: PostgresServer;
let receiver: Receiver;
let usher: TestUsher;
let isDown = true;

describe.skipIf(mustSkip('usher move-to-postgres', postgresMissing()))('usher move-to-postgres', () => {
  beforeAll(async () => {
    postgres = await startPostgres();
    receiver = await startReceiver(({ body }) => ({ status: parseDelivery(body).action === 'Down' && isDown ? 503 : 200 }));
    usher = await startTestUsher();
    const [, down] = await bindTellingActions(usher.management, receiver, ['Quick', 'Down', 'Last']);
    changePolicy(usher.dataDir, down!, { quick: { attempts: 1 }, long: { firstDelayMs: 3_000, factor: 1, maxDelayMs: 3_000 } });
    await usher.working();
  });
  afterAll(async () => {
    await usher?.close();
    await receiver?.close();
    await postgres?.stop();
  });

  test('an Usher that goes on there finishes what was open, runs nothing again, and serves everything as before', async () => {
    const email = 'open@example.com';
    expect((await usher.signUp(email)).status).toBe(200);
    await until('all but one Action have succeeded', () => readRegistration(usher.dataDir, email)?.steps.map(({ state }) => state).join() === 'succeeded,parked,succeeded', GO_ON_WITHIN_MS);
    expect(await usher.terminate()).toBe(0);

    const DATABASE_URL = await postgres.createDatabase();
    await done(usher.dataDir, ['move-to-postgres'], { DATABASE_URL });
    await usher.start({ DATABASE_URL });
    isDown = false;
    const store = openPostgres(DATABASE_URL);
    try {
      const outcomes = async () => (await store.db.selectFrom('registration').select('outcome').orderBy('id').execute()).map(({ outcome }) => outcome);
      await until('the open registration is closed', async () => (await outcomes()).join() === 'succeeded', GO_ON_WITHIN_MS);
      // A sign-up of an address that has moved, and of a new one: with the same client, bindings and Actions.
      expect((await usher.signUp(email)).status).toBe(400);
      expect((await usher.signUp('new@example.com')).status).toBe(200);
      await until('the new registration is closed, too', async () => (await outcomes()).join() === 'succeeded,succeeded', GO_ON_WITHIN_MS);
    } finally {
      await store.close();
    }

    for (const action of ['Quick', 'Down', 'Last']) {
      const of = deliveries(receiver).filter((each) => each.email === email && each.action === action);
      expect(of.filter(({ status }) => status === 200).length, action).toBe(1);
      expect(new Set(of.map(({ key }) => key)).size, action).toBe(1);
    }
  }, 300_000);
});
