import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Receiver, startReceiver } from '../../examples/receiver.ts';
import { bindTellingActions, deliveries, parseDelivery } from './actions.ts';
import { changePolicy, readRegistration, readRegistrations, type SeenRegistration } from './ledger-view.ts';
import { kill9 } from './processes.ts';
import { until } from './until.ts';
import { startTestUsher, type TestUsher } from './usher.ts';

/** Longer than the worker takes to hear from the new server that it does not know the attempt. */
const SLOW_MS = 9_000;
/** Well within the grace of a worker that is asked to end. */
const SLOW_WHEN_OFF_MS = 5_000;
const GO_ON_WITHIN_MS = 90_000;

let receiver: Receiver;
let usher: TestUsher;
/** While true, the Action `Down` cannot get through. */
let isDown = true;

beforeAll(async () => {
  receiver = await startReceiver(({ body }) => {
    const { action, email } = parseDelivery(body);
    if (action === 'Slow') return { status: 200, delayMs: email.startsWith('off') ? SLOW_WHEN_OFF_MS : SLOW_MS };
    return { status: action === 'Down' && isDown ? 503 : 200 };
  });
  usher = await startTestUsher();
  const [, down] = await bindTellingActions(usher.management, receiver, ['Quick', 'Down', 'Slow', 'Last']);
  changePolicy(usher.dataDir, down!, { quick: { attempts: 1 }, long: { firstDelayMs: 4_000, factor: 1, maxDelayMs: 4_000 } });
  await usher.working();
});

afterAll(async () => {
  await usher?.close();
  await receiver?.close();
});

/** Signs somebody up and waits until one Action has succeeded, one is parked, one runs, and one has not begun. */
async function leaveOpen(email: string): Promise<void> {
  isDown = true;
  expect((await usher.signUp(email)).status).toBe(200);
  const states = () => registrationOf(email).steps.map(({ state }) => state).join();
  await until('the slow Action is at work', () => deliveries(receiver).some((each) => each.email === email && each.action === 'Slow') && states() === 'succeeded,parked,pending,pending');
}

function registrationOf(email: string): SeenRegistration {
  return readRegistration(usher.dataDir, email)!;
}

/** @param what has happened. @returns the registration when it is closed. */
async function finishedAfter(what: string, email: string): Promise<SeenRegistration> {
  isDown = false;
  const since = performance.now();
  const open = readRegistrations(usher.dataDir).filter(({ state }) => state === 'open').length;
  await until(`the registration of ${email} is closed`, () => registrationOf(email).state === 'closed', GO_ON_WITHIN_MS);
  process.stdout.write(`${what}: ${open} registration was open, and closed ${((performance.now() - since) / 1000).toFixed(0)} s later\n`);
  return registrationOf(email);
}

function deliveriesOf(email: string, action: string): number {
  return deliveries(receiver).filter((each) => each.email === email && each.action === action && each.status === 200).length;
}

test("Temporal killed and its data deleted while it runs: it comes back by itself, all finishes, nothing runs twice", async () => {
  const email = 'killed@example.com';
  await leaveOpen(email);
  const before = usher.processes().temporal!;

  await rm(join(usher.dataDir, 'temporal'), { recursive: true });
  await kill9(before);

  const { outcome, steps } = await finishedAfter("Temporal killed and its data deleted", email);
  expect(outcome).toBe('succeeded');
  expect(usher.processes().temporal).not.toBe(before);
  // Not even the attempt that was under way: the ledger knew of it when Temporal no longer did.
  for (const action of ['Quick', 'Down', 'Slow', 'Last']) expect(deliveriesOf(email, action), action).toBe(1);
  for (const { attempts } of steps) expect(attempts.filter((attempt) => attempt.outcome === 'succeeded')).toEqual([attempts.at(-1)]);
});

test("Temporal's data deleted while Usher is off: what was open goes on after the next start", async () => {
  const email = 'off@example.com';
  await leaveOpen(email);

  expect(await usher.terminate()).toBe(0);
  await rm(join(usher.dataDir, 'temporal'), { recursive: true });
  await usher.start();

  const { outcome } = await finishedAfter("Temporal's data deleted, and Usher started", email);
  expect(outcome).toBe('succeeded');
  for (const action of ['Quick', 'Down', 'Slow', 'Last']) expect(deliveriesOf(email, action), action).toBe(1);
});
