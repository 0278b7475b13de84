import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { temporal } from '@temporalio/proto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { postgresMissing, type PostgresServer, startPostgres } from '../../examples/cluster/postgres.ts';
import { type Receiver, startReceiver } from '../../examples/receiver.ts';
import { workflowIdOf } from '../../workflows/messages.ts';
import { done } from '../backup/cli.ts';
import { type Fleet, startFleet } from '../crash/fleet.ts';
import { type FleetLedger, openFleetLedger } from '../crash/fleet-ledger.ts';
import { startTestDevServer, type TestDevServer } from '../helpers/dev-server.ts';
import { mustSkip } from '../helpers/must-skip.ts';
import { bindTellingActions, deliveries } from './actions.ts';
import { expectAllRanAndNothingElse, expectNothingLost } from './aftermath.ts';
import { type SignUpLoad, startSignUps } from './sign-up-load.ts';
import { until } from './until.ts';

const ACTIONS = ['First', 'Second'];
const TRIGGER = '/usher/triggers/post-user-registration';
const [OLD_KEY, NEW_KEY] = [randomBytes(32).toString('base64'), randomBytes(32).toString('base64')];
/** All processes must have heard of the new key before the old one is done without: over a minute. */
const REKEYED_WITHIN_MS = 240_000;
const GO_ON_WITHIN_MS = 120_000;
/** What went down with a process is asked about after two minutes. */
const CLOSED_WITHIN_MS = 240_000;

type EncodedPayload = { metadata: Record<string, string>; data: string };

describe.skipIf(mustSkip('operations on PostgreSQL', postgresMissing()))('two apis and two workers on PostgreSQL, while people sign up', () => {
  const ends: (() => Promise<unknown>)[] = [];
  let postgres: PostgresServer;
  let server: TestDevServer;
  let receiver: Receiver;
  let url: string;
  let fleet: Fleet;
  let ledger: FleetLedger;
  let load: SignUpLoad;
  let waves = 0;

  beforeAll(async () => {
    postgres = await startPostgres();
    ends.push(() => postgres.stop());
    server = await startTestDevServer();
    ends.push(() => server.stop());
    receiver = await startReceiver(() => ({ status: 200 }));
    ends.push(() => receiver.close());
    url = await postgres.ensureDatabase('usher');
    fleet = await startFleet({ postgresPort: postgres.port, database: 'usher', temporalAddress: server.address, apis: 2, workers: 2, env: { USHER_MASTER_KEY: OLD_KEY } });
    ends.push(() => fleet.stop());
    ledger = openFleetLedger(url);
    ends.push(() => ledger.close());
    await bindTellingActions(fleet.management, receiver, ACTIONS);
  });
  afterAll(async () => {
    for (const end of ends.toReversed()) await end();
  });

  function signUps(): SignUpLoad {
    return startSignUps({ clients: 2, signUp: (email) => fleet.signUp(email), pauseMs: () => 250, name: `wave-${++waves}` });
  }

  async function goesOn(): Promise<void> {
    const before = load.acknowledged.length;
    await until('people sign up', () => load.acknowledged.length >= before + 3, GO_ON_WITHIN_MS);
  }

  async function allClosed(): Promise<void> {
    await until('all registrations are closed', async () => (await ledger.countOpen()) === 0, CLOSED_WITHIN_MS);
  }

  /** What Temporal has of a registration's input: under which key, and as the decode endpoint gives it. */
  async function inputOf(registrationId: string): Promise<{ keyId: string | undefined; decoded: unknown }> {
    const { events } = await server.client.workflow.getHandle(workflowIdOf(registrationId)).fetchHistory();
    const payloads = events!.flatMap((event) => event.workflowExecutionStartedEventAttributes?.input?.payloads ?? []).map(asJson);
    expect(payloads).toHaveLength(1);
    const answer = await fleet.management.call<{ payloads: EncodedPayload[] }>('POST', '/usher/codec/decode', { payloads });
    return { keyId: payloads[0]!.metadata['encryption-key-id'], decoded: JSON.parse(Buffer.from(answer.payloads[0]!.data, 'base64').toString()) };
  }

  test('the master key and the codec key are replaced, process by process: nobody is refused, nothing fails, and the old key is not needed any more', async () => {
    load = signUps();
    await goesOn();
    const early = await until('one has run', async () => (await ledger.registrations()).find(({ outcome }) => outcome === 'succeeded'), GO_ON_WITHIN_MS);
    // As docs/data-protection.md says.
    for (const member of fleet.members) await member.replace({ env: { USHER_MASTER_KEY: NEW_KEY, USHER_MASTER_KEY_PREVIOUS: OLD_KEY } });
    await fleet.management.call('POST', '/usher/keys/master/rekey');
    await fleet.management.call('POST', '/usher/keys/codec/rotate');
    await until('all is wrapped under the new key', async () => (await fleet.management.call<{ master: { rekey: { status: string } } }>('GET', '/usher/keys')).master.rekey.status === 'done', REKEYED_WITHIN_MS);
    for (const member of fleet.members) await member.replace({ env: { USHER_MASTER_KEY_PREVIOUS: '' } });
    await goesOn();
    await load.stop();
    await allClosed();

    const after = { load, actions: ACTIONS, emails: await ledger.emails(), registrations: await ledger.registrations(), received: deliveries(receiver) };
    expectNothingLost(after);
    expectAllRanAndNothingElse(after);
    for (const { steps } of after.registrations) expect(steps.map(({ attempts }) => attempts.map(({ outcome }) => outcome)), 'no attempt has failed').toEqual(ACTIONS.map(() => ['succeeded']));
    expect(await ledger.masterKeys()).toHaveLength(1);
    const late = after.registrations.at(-1)!;
    const [before, since] = [await inputOf(early.id), await inputOf(late.id)];
    expect(before.decoded).toMatchObject({ registrationId: early.id });
    expect(since.decoded).toMatchObject({ registrationId: late.id });
    expect(since.keyId).not.toBe(before.keyId);
  }, 600_000);

  test('a backup holds all who were answered before it, and what was open in it finishes after a restore under the running processes', async () => {
    const dir = await mkdtemp(join(tmpdir(), 'usher-operations-'));
    ends.push(() => rm(dir, { recursive: true, force: true }));
    const env = { DATABASE_URL: url, USHER_MASTER_KEY: NEW_KEY };
    const file = join(dir, 'backup.gz');
    load = signUps();
    await goesOn();
    const before = [...load.acknowledged];
    const ran = new Set((await ledger.registrations()).filter(({ outcome }) => outcome === 'succeeded').map(({ id }) => id));
    // So that some are open in it.
    await fleet.management.call('POST', `${TRIGGER}/pause`);
    const held = load.acknowledged.length;
    await goesOn();
    const open = load.acknowledged.slice(held);
    await done(dir, ['backup', file], env);
    await fleet.management.call('POST', `${TRIGGER}/resume`);
    await goesOn();
    await load.stop();
    await allClosed();
    const delivered = deliveries(receiver).length;

    load = signUps();
    const pids = fleet.members.map((member) => member.pid());
    await done(dir, ['restore', '--replace', file], env);
    for (const [index, member] of fleet.members.entries()) {
      await until(`${member.name} has started anew`, () => member.pid() !== undefined && member.pid() !== pids[index], GO_ON_WITHIN_MS);
    }
    await until('api-1 serves', () => fleet.management.call('GET', '/usher/flow').then(() => true, () => false), GO_ON_WITHIN_MS);
    await goesOn();
    // It was paused when the backup was made.
    await fleet.management.call('POST', `${TRIGGER}/resume`);
    await load.stop();
    await allClosed();

    expect(await ledger.emails()).toEqual(expect.arrayContaining([...before, ...open]));
    const registrations = await ledger.registrations();
    for (const { email, outcome } of registrations) expect({ email, outcome }).toEqual({ email, outcome: 'succeeded' });
    // What had succeeded when the backup was made does not run again.
    const again = new Set(deliveries(receiver).slice(delivered).map(({ email }) => email));
    for (const { id, email } of registrations) if (ran.has(id)) expect(again).not.toContain(email);
    expect(ran.size).toBeGreaterThan(5);
    for (const email of open) expect(again).toContain(email);
  }, 600_000);
});

/** As proto3 JSON has it. */
function asJson({ metadata, data }: temporal.api.common.v1.IPayload): EncodedPayload {
  const base64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64');
  return { metadata: Object.fromEntries(Object.entries(metadata ?? {}).map(([name, value]) => [name, base64(value)])), data: base64(data ?? new Uint8Array()) };
}
