import { cp, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Receiver, startReceiver } from '../../examples/receiver.ts';
import { bindTellingActions, deliveries, parseDelivery } from './actions.ts';
import { changePolicy, openStore, readRegistration, readRegistrations, type SeenRegistration } from './ledger-view.ts';
import { until } from './until.ts';
import { startTestUsher, type TestUsher } from './usher.ts';

/** On a machine that is busy with other things, too. */
const GO_ON_WITHIN_MS = 90_000;
const ACTIONS = ['Quick', 'Down', 'Last'];

let receiver: Receiver;
let usher: TestUsher;
/** For whom the Action `Down` cannot get through. */
const down = new Set<string>();

beforeAll(async () => {
  receiver = await startReceiver(({ body }) => {
    const { action, email } = parseDelivery(body);
    return { status: action === 'Down' && down.has(email) ? 503 : 200 };
  });
  usher = await startTestUsher();
  const [, id] = await bindTellingActions(usher.management, receiver, ACTIONS);
  changePolicy(usher.dataDir, id!, { quick: { attempts: 1 }, long: { firstDelayMs: 3_000, factor: 1, maxDelayMs: 3_000 } });
  await usher.working();
});

afterAll(async () => {
  await usher?.close();
  await receiver?.close();
});

function registrationOf(email: string): SeenRegistration {
  return readRegistration(usher.dataDir, email)!;
}

async function leaveParked(email: string): Promise<void> {
  down.add(email);
  expect((await usher.signUp(email)).status).toBe(200);
  await until(`all but one Action of ${email} have succeeded`, () => registrationOf(email).steps.map(({ state }) => state).join() === 'succeeded,parked,succeeded', GO_ON_WITHIN_MS);
}

async function finished(email: string): Promise<void> {
  down.delete(email);
  await until(`the registration of ${email} is closed`, () => registrationOf(email).state === 'closed', GO_ON_WITHIN_MS);
  expect(registrationOf(email).outcome).toBe('succeeded');
}

/** The time that the sweep leaves a registration alone has passed. */
function letChecksBeDue(): void {
  using store = openStore(usher.dataDir, { readOnly: false });
  store.exec("UPDATE registration SET check_at = 1 WHERE state = 'open'");
}

test("Temporal's database put back to an older copy: everything open finishes, and nothing that has succeeded runs again", async () => {
  const [temporal, olderCopy] = [join(usher.dataDir, 'temporal'), join(usher.dataDir, 'temporal-before')];
  await leaveParked('parked-then-done@example.com');
  await leaveParked('parked-all-along@example.com');
  expect(await usher.terminate()).toBe(0);
  await cp(temporal, olderCopy, { recursive: true });

  // What the copy knows nothing of: an end, and a sign-up.
  await usher.start();
  await finished('parked-then-done@example.com');
  await leaveParked('later@example.com');
  expect(await usher.terminate()).toBe(0);
  await rm(temporal, { recursive: true });
  await rename(olderCopy, temporal);
  await usher.start();
  letChecksBeDue();

  const since = performance.now();
  const open = readRegistrations(usher.dataDir).filter(({ state }) => state === 'open').length;
  await finished('parked-all-along@example.com');
  await finished('later@example.com');
  process.stdout.write(`Temporal's database put back to an older copy: ${open} registrations were open, and all closed ${((performance.now() - since) / 1000).toFixed(0)} s after the start\n`);
  // The workflow that runs again in the old copy finds that everything is done.
  await usher.working();
  for (const email of ['parked-then-done@example.com', 'parked-all-along@example.com', 'later@example.com']) {
    for (const action of ACTIONS) {
      const delivered = deliveries(receiver).filter((each) => each.email === email && each.action === action && each.status === 200);
      expect(delivered.length, `${action} of ${email}`).toBe(1);
    }
  }
}, 300_000);
