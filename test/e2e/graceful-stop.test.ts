import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Receiver, startReceiver } from '../../examples/receiver.ts';
import { bindTellingActions, deliveries, parseDelivery } from './actions.ts';
import { readRegistration } from './ledger-view.ts';
import { isAlive } from './processes.ts';
import { until } from './until.ts';
import { startTestUsher, type TestUsher } from './usher.ts';

const SHORT_MS = 4_000;
const GRACE_MS = 10_000;
/** Above what roles and Temporal take to end beside the grace. */
const STOP_WITHIN_MS = 40_000;

let receiver: Receiver;
let usher: TestUsher;

beforeAll(async () => {
  receiver = await startReceiver(({ body }) => {
    const { email, attempt } = parseDelivery(body);
    if (email.startsWith('short')) return { status: 200, delayMs: SHORT_MS };
    return { status: 200, delayMs: email.startsWith('long') && attempt === 1 ? Infinity : 0 };
  });
  usher = await startTestUsher();
  await bindTellingActions(usher.management, receiver, ['Only']);
  await usher.working();
});

afterAll(async () => {
  await usher?.close();
  await receiver?.close();
});

test('SIGTERM during attempts: one that ends in time is recorded, another is cut short after 10 s, and nothing is left running', async () => {
  for (const email of ['short@example.com', 'long@example.com']) expect((await usher.signUp(email)).status).toBe(200);
  await until('both attempts are under way', () => deliveries(receiver).length === 2);
  const processes = usher.processes().all;
  expect(processes.length).toBeGreaterThanOrEqual(5);

  const askedAt = performance.now();
  expect(await usher.terminate()).toBe(0);
  const tookMs = performance.now() - askedAt;

  expect(tookMs).toBeGreaterThan(GRACE_MS - 1_000);
  expect(tookMs).toBeLessThan(STOP_WITHIN_MS);
  expect(processes.filter(isAlive)).toEqual([]);
  const attempts = (email: string) => readRegistration(usher.dataDir, email)!.steps[0]!.attempts;
  expect(attempts('short@example.com')).toMatchObject([{ outcome: 'succeeded' }]);
  expect(attempts('long@example.com')).toMatchObject([{ outcome: 'lost' }]);
});

test('after the next start, what was cut short runs again and what had ended does not', async () => {
  await usher.start();
  await until('the long one is closed', () => readRegistration(usher.dataDir, 'long@example.com')?.state === 'closed');
  await until('the short one is closed', () => readRegistration(usher.dataDir, 'short@example.com')?.state === 'closed');

  const keys = (email: string) => deliveries(receiver).filter((each) => each.email === email).map(({ key, attempt }) => ({ key, attempt }));
  const [first] = keys('long@example.com');
  expect(keys('long@example.com')).toEqual([{ key: first!.key, attempt: 1 }, { key: first!.key, attempt: 2 }]);
  expect(keys('short@example.com')).toHaveLength(1);
});

test('SIGTERM with nothing under way does not wait for anything', async () => {
  await usher.working();
  const askedAt = performance.now();
  expect(await usher.terminate()).toBe(0);
  expect(performance.now() - askedAt).toBeLessThan(GRACE_MS);
  await usher.start();
});

