import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Receiver, startReceiver } from '../../examples/receiver.ts';
import { bindTellingActions, deliveries, parseDelivery } from './actions.ts';
import { createForeignTemporal, type ForeignTemporal } from './foreign-temporal.ts';
import { changePolicy, readRegistration } from './ledger-view.ts';
import { until } from './until.ts';
import { startTestUsher, type TestUsher } from './usher.ts';

const GO_ON_WITHIN_MS = 90_000;
/** An answer that had waited for Temporal would take as long as its request does to fail: seconds. */
const AT_ONCE_MS = 10_000;

let receiver: Receiver;
let temporal: ForeignTemporal;
let usher: TestUsher;
let isDown = false;

beforeAll(async () => {
  receiver = await startReceiver(({ body }) => ({ status: parseDelivery(body).action === 'Down' && isDown ? 503 : 200 }));
  temporal = await createForeignTemporal();
  usher = await startTestUsher({ TEMPORAL_ADDRESS: temporal.address });
  const [, down] = await bindTellingActions(usher.management, receiver, ['First', 'Down']);
  changePolicy(usher.dataDir, down!, { quick: { attempts: 1 }, long: { firstDelayMs: 5_000, factor: 1, maxDelayMs: 5_000 } });
});

afterAll(async () => {
  await usher?.close();
  await temporal?.close();
  await receiver?.close();
});

async function signUpAtOnce(email: string): Promise<void> {
  const { status, ms } = await usher.signUp(email);
  expect(status).toBe(200);
  expect(ms).toBeLessThan(AT_ONCE_MS);
}

async function finished(email: string): Promise<void> {
  await until(`the registration of ${email} has succeeded`, () => readRegistration(usher.dataDir, email)?.outcome === 'succeeded', GO_ON_WITHIN_MS);
}

/** The deliveries that got through for somebody, in their order. */
function through(email: string): string[] {
  return deliveries(receiver).filter((each) => each.email === email && each.status === 200).map(({ action }) => action);
}

test('sign-ups are answered at once while Temporal has never been there, and run when it comes', async () => {
  for (const n of [1, 2, 3]) await signUpAtOnce(`early-${n}@example.com`);

  expect(await usher.readyz()).toMatchObject({ status: 200, degraded: { temporal: expect.stringContaining('not reached yet') as string, worker: 'starting' } });
  expect(receiver.received).toEqual([]);

  await temporal.start();
  for (const n of [1, 2, 3]) await finished(`early-${n}@example.com`);
  expect(through('early-1@example.com')).toEqual(['First', 'Down']);
  await usher.working();
  expect(await usher.readyz()).toEqual({ status: 200, degraded: {} });
});

test('a Temporal that is replaced by an empty one is noticed without a sign-up, and what was parked finishes', async () => {
  isDown = true;
  const email = 'parked@example.com';
  await signUpAtOnce(email);
  await until('the second Action is parked', () => readRegistration(usher.dataDir, email)?.steps[1]?.state === 'parked');

  await temporal.replaceByEmpty();
  isDown = false;

  await finished(email);
  expect(through(email)).toEqual(['First', 'Down']);
});

test('/readyz says that Temporal has gone although nobody signs up; sign-ups go on being answered at once and run when it is back', async () => {
  await temporal.stop();
  const { status } = await until('Temporal is degraded', async () => {
    const answer = await usher.readyz();
    return answer.degraded['temporal'] === undefined ? null : answer;
  });
  expect(status).toBe(200);

  for (const n of [1, 2, 3]) await signUpAtOnce(`late-${n}@example.com`);
  await temporal.start();

  for (const n of [1, 2, 3]) await finished(`late-${n}@example.com`);
  expect(through('late-3@example.com')).toEqual(['First', 'Down']);
  await until('nothing is degraded', async () => Object.keys((await usher.readyz()).degraded).length === 0);
});
