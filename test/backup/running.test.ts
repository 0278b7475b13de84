import { readFileSync } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Receiver, startReceiver } from '../../examples/receiver.ts';
import { bindTellingActions, deliveries, parseDelivery } from '../e2e/actions.ts';
import { changePolicy, openStore, readEmails, readRegistrations } from '../e2e/ledger-view.ts';
import { allDead } from '../e2e/processes.ts';
import { until } from '../e2e/until.ts';
import { startTestUsher, type TestUsher } from '../e2e/usher.ts';
import { done } from './cli.ts';

/** Between two sign-ups. */
const PAUSE_MS = 100;
const ACTIONS = ['Quick', 'Down', 'Last'];
/** On a machine that is busy with other things, too. */
const GO_ON_WITHIN_MS = 90_000;

let receiver: Receiver;
let usher: TestUsher;
let dir: string;
/** For whom the Action `Down` cannot get through; for all, it would be taken for a receiver that is down. */
const down = new Set<string>();

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'usher-running-'));
  receiver = await startReceiver(({ body }) => {
    const { action, email } = parseDelivery(body);
    return { status: action === 'Down' && down.has(email) ? 503 : 200 };
  });
  usher = await startTestUsher();
  const [, downId] = await bindTellingActions(usher.management, receiver, ACTIONS);
  changePolicy(usher.dataDir, downId!, { quick: { attempts: 1 }, long: { firstDelayMs: 4_000, factor: 1, maxDelayMs: 4_000 } });
  await usher.working();
});
afterAll(async () => {
  await usher?.close();
  await receiver?.close();
  await rm(dir, { recursive: true, force: true });
});

interface Answered {
  email: string;
  status: number;
  ms: number;
}

/** Signs people up, one after the other, until it is stopped. */
function signUpOnAndOn(prefix: string): { answered: Answered[]; stop(): Promise<void> } {
  const answered: Answered[] = [];
  const stopping = new AbortController();
  const running = (async () => {
    for (let n = 0; !stopping.signal.aborted; n++) {
      const email = `${prefix}-${n}@example.com`;
      // While a process starts again, nobody answers.
      const { status, ms } = await usher.signUp(email).catch(() => ({ status: 0, ms: 0 }));
      answered.push({ email, status, ms });
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
    }
  })();
  return {
    answered,
    async stop() {
      stopping.abort();
      await running;
    },
  };
}

function accepted(answered: Answered[]): string[] {
  return answered.filter(({ status }) => status === 200).map(({ email }) => email);
}

/** How often an Action got through for somebody, and under which keys. */
function delivered(email: string, action: string): { times: number; keys: number } {
  const all = deliveries(receiver).filter((each) => each.email === email && each.action === action);
  return { times: all.filter(({ status }) => status === 200).length, keys: new Set(all.map(({ key }) => key)).size };
}

async function allFinish(dataDir: string, { but = '' } = {}): Promise<void> {
  const open = () => readRegistrations(dataDir).filter(({ email, outcome }) => outcome !== 'succeeded' && email !== but);
  await until('every registration has succeeded', () => open().length === 0, GO_ON_WITHIN_MS);
}

test('a backup made while people sign up has each who was accepted before, whole, and holds nobody up', async () => {
  const load = signUpOnAndOn('load');
  await until('some people have signed up', () => accepted(load.answered).length >= 5);
  const before = accepted(load.answered);

  // A busy machine may make one without a sign-up coming in between.
  let file: string;
  let made = 0;
  do {
    file = join(dir, `under-load-${++made}.gz`);
    await done(usher.dataDir, ['backup', file]);
  } while (load.answered.length < before.length + 2 && made < 20);
  const during = load.answered.slice(before.length);
  await load.stop();

  expect(during.length).toBeGreaterThan(1);
  expect(load.answered.map(({ status }) => status)).toEqual(load.answered.map(() => 200));
  expect(Math.max(...during.map(({ ms }) => ms))).toBeLessThan(15_000);

  const copy = join(dir, 'copy');
  await done(copy, ['restore', file], { USHER_MASTER_KEY: await masterKey() });
  expect(readEmails(copy)).toEqual(expect.arrayContaining(before));
  const registrations = readRegistrations(copy);
  expect(registrations.map(({ email }) => email).toSorted()).toEqual(readEmails(copy).toSorted());
  for (const { email, steps } of registrations) expect(steps.map(({ action }) => action), email).toEqual(ACTIONS);
  using store = openStore(copy, { readOnly: true });
  const lost = 'select count(*) as n from registration where key_id not in (select id from data_key) or id not in (select registration_id from log where registration_id is not null)';
  expect(store.prepare(lost).get()).toEqual({ n: 0 });
}, 300_000);

async function masterKey(): Promise<string> {
  return (await readFile(join(usher.dataDir, 'master-key'), 'utf8')).trim();
}

function stateOf(email: string): string {
  return readRegistrations(usher.dataDir).find((each) => each.email === email)?.steps.map(({ state }) => state).join() ?? '';
}

/** Signs somebody up, and waits until only the Action `Down` has not succeeded. */
async function leaveParked(email: string): Promise<void> {
  down.add(email);
  expect((await usher.signUp(email)).status).toBe(200);
  await until('all but one Action have succeeded', () => stateOf(email) === 'succeeded,parked,succeeded', GO_ON_WITHIN_MS);
}

/** Makes the workflow look at its ledger, as somebody's wish does, and tells under which keys what Temporal has of it is encrypted. */
async function codecKeysOf(email: string): Promise<string[]> {
  using store = openStore(usher.dataDir, { readOnly: false });
  const { id } = store.prepare('select r.id from registration r join user_account u on u.id = r.user_id where email = ?').get(email) as { id: string };
  store.prepare('update registration set due_at = 1, due_seq = due_seq + 1 where id = ?').run(id);
  const { webUi } = JSON.parse(readFileSync(join(usher.dataDir, 'running.json'), 'utf8')) as { webUi: string };
  const history = await fetch(`${webUi}/api/v1/namespaces/default/workflows/${encodeURIComponent(`user-registration/${id}`)}/history`).then((response) => response.text());
  return [...history.matchAll(/"encryption-key-id":\s*"([^"]+)"/g)].map(([, key]) => Buffer.from(key!, 'base64').toString());
}

test('a restore while people sign up: the processes start again on it, what is open in the backup finishes, what had succeeded does not run again', async () => {
  const email = 'before-the-backup@example.com';
  const parked = 'parked-all-along@example.com';
  await leaveParked(email);
  await leaveParked(parked);
  const file = join(dir, 'to-restore.gz');
  await done(usher.dataDir, ['backup', file]);
  const inBackup = readRegistrations(usher.dataDir).map((each) => each.email);
  // Since then nearly everything has ended, more people have come, and the codec key was replaced.
  down.delete(email);
  await usher.management.call('POST', '/usher/keys/codec/rotate');
  await usher.signUp('after-the-backup@example.com');
  await allFinish(usher.dataDir, { but: parked });
  // The worker learns of the key within 10 s.
  await expect.poll(async () => new Set(await codecKeysOf(parked)).size, { interval: 1_000 }).toBe(2);
  const { api, worker } = usher.processes();

  const load = signUpOnAndOn('restored');
  await until('people sign up', () => accepted(load.answered).length >= 3);
  await done(usher.dataDir, ['restore', '--replace', file]);
  const restoredAt = load.answered.length;
  await until('both roles run anew', () => usher.processes().api !== undefined && usher.processes().api !== api && usher.processes().worker !== undefined && usher.processes().worker !== worker, GO_ON_WITHIN_MS);
  await until('people sign up again', () => accepted(load.answered.slice(restoredAt + 1)).length >= 5, GO_ON_WITHIN_MS);
  await load.stop();
  down.delete(parked);
  await allFinish(usher.dataDir);

  // 0: nobody listened just then.
  for (const { status } of load.answered) expect([200, 503, 0]).toContain(status);
  const there = readEmails(usher.dataDir);
  expect(there).toEqual(expect.arrayContaining(inBackup));
  expect(there).not.toContain('after-the-backup@example.com');
  // Whoever was accepted once the restore was done.
  expect(there).toEqual(expect.arrayContaining(accepted(load.answered.slice(restoredAt + 1))));
  for (const action of ['Quick', 'Last']) expect(delivered(email, action), action).toEqual({ times: 1, keys: 1 });
  // It succeeded after the backup was made: once more, and the receiver can tell.
  expect(delivered(email, 'Down')).toEqual({ times: 2, keys: 1 });
  expect(delivered(parked, 'Down')).toEqual({ times: 1, keys: 1 });
}, 300_000);

test("the store and Temporal's database lost, and the backup restored: everything that is open in it finishes, what had succeeded does not run again", async () => {
  const email = 'before-the-fire@example.com';
  await leaveParked(email);
  const file = join(dir, 'before-the-fire.gz');
  await done(usher.dataDir, ['backup', file]);

  const { all } = usher.processes();
  await usher.kill();
  await allDead(all, 30_000);
  for (const name of ['usher.db', 'usher.db-wal', 'usher.db-shm', 'temporal']) await rm(join(usher.dataDir, name), { recursive: true, force: true });
  await done(usher.dataDir, ['restore', file]);
  down.clear();
  await usher.start();
  await allFinish(usher.dataDir);

  expect(stateOf(email)).toBe('succeeded,succeeded,succeeded');
  for (const action of ACTIONS) expect(delivered(email, action), action).toEqual({ times: 1, keys: 1 });
}, 300_000);
