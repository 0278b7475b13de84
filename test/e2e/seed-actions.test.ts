import { readFile } from 'node:fs/promises';
import { request } from 'node:http';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Received, type Receiver, type ReceiverAnswer, startReceiver } from '../../examples/receiver.ts';
import { readRegistration, type SeenRegistration } from './ledger-view.ts';
import { until } from './until.ts';
import { startTestUsher, type TestUsher } from './usher.ts';

/** In the list of the seed's Action. */
const BAD_JA4 = 't13d1517h2_8daaf6152771_b6f405a00624';
const GOOD_JA4 = 't13d3112h2_e8f1e7e78f70_b26ce05bbdd6';
const TRUSTED = '127.0.0.1';
/** Loopback too, and not in USHER_TRUST_PROXY. */
const STRANGER = '127.0.0.2';

let receiver: Receiver;
let usher: TestUsher;
/** What the receiver answers next, by path; afterwards 200. */
const answers = new Map<string, ReceiverAnswer[]>();

beforeAll(async () => {
  receiver = await startReceiver(({ path }) => answers.get(path)?.shift() ?? { status: 200 });
  usher = await startTestUsher({ USHER_TRUST_PROXY: `${TRUSTED}/32`, USHER_JA4_HEADER: 'x-ja4' });
  const { management } = usher;

  const code = async (name: string): Promise<string> => await readFile(new URL(`../../examples/actions/${name}.js`, import.meta.url), 'utf8');
  const slack = async (version: string, path: string): Promise<string> =>
    await management.deployAction({
      name: `Notify Slack ${version}`,
      triggerId: 'post-user-registration',
      code: await code('notify-slack'),
      dependencies: [{ name: '@slack/webhook', version }],
      secrets: [{ name: 'SLACK_WEBHOOK_URL', value: `${receiver.url}${path}` }],
    });
  const actions = await Promise.all([
    slack('7.2.0', '/slack-7'),
    slack('8.0.2', '/slack-8'),
    management.deployAction({
      name: 'Store the user id',
      triggerId: 'post-user-registration',
      code: (await code('store-user-id')).replace('https://my-api.exampleco.com', receiver.url),
      dependencies: [{ name: 'axios', version: 'latest' }],
    }),
  ]);
  await management.bind('post-user-registration', actions);
  await management.bind('pre-user-registration', [
    await management.deployAction({ name: 'Deny fingerprints', triggerId: 'pre-user-registration', code: await code('deny-fingerprints') }),
  ]);
  await usher.working();
});

afterAll(async () => {
  await usher?.close();
  await receiver?.close();
});

/** Signs somebody up and waits until all three Actions have ended. */
async function run(email: string): Promise<{ registration: SeenRegistration; received: Received[] }> {
  const before = receiver.received.length;
  expect((await usher.signUp(email)).status).toBe(200);
  const registration = await until(`the registration of ${email} is closed`, () => {
    const found = readRegistration(usher.dataDir, email);
    return found?.state === 'closed' ? found : null;
  });
  return { registration, received: receiver.received.slice(before) };
}

function outcomes({ steps }: SeenRegistration): (string | null)[][] {
  return steps.map(({ attempts }) => attempts.map(({ outcome }) => outcome));
}

test("the seed's Slack Action, with @slack/webhook 7 and 8, tries until the receiver takes it: 500, 500, 200; then the axios Action", async () => {
  const email = 'retried@example.com';
  for (const path of ['/slack-7', '/slack-8']) answers.set(path, [{ status: 500 }, { status: 500 }]);

  const { registration, received } = await run(email);

  expect(registration.outcome).toBe('succeeded');
  expect(outcomes(registration)).toEqual([['failed', 'failed', 'succeeded'], ['failed', 'failed', 'succeeded'], ['succeeded']]);
  expect(received.map(({ path, status }) => `${path} ${status}`)).toEqual([
    '/slack-7 500', '/slack-7 500', '/slack-7 200',
    '/slack-8 500', '/slack-8 500', '/slack-8 200',
    '/users 200',
  ]);
  for (const { path, body } of received.filter((each) => each.path !== '/users')) {
    // @slack/webhook 7 puts its own options into the body too.
    expect(JSON.parse(body), path).toMatchObject({ text: `New User: ${email}`, channel: '#some_channel' });
  }
  const stored = received.at(-1)!;
  expect(stored.body).toBe(`{"params":{"email":"${email}"}}`);
  expect(stored.method).toBe('POST');
});

test.each(['/slack-7', '/slack-8'])('a receiver that answers %s with 429 and Retry-After: 3 is not asked again before 3 s', async (path) => {
  const email = `later${path.replace('/', '-')}@example.com`;
  answers.set(path, [{ status: 429, headers: { 'retry-after': '3' } }]);

  const { registration, received } = await run(email);

  expect(registration.outcome).toBe('succeeded');
  const [first, second] = received.filter((each) => each.path === path);
  expect([first?.status, second?.status]).toEqual([429, 200]);
  expect(second!.at - first!.at).toBeGreaterThanOrEqual(3_000);
  expect(received.map((each) => each.path)).toEqual(['/slack-7', '/slack-8', '/users'].flatMap((each) => (each === path ? [each, each] : [each])));
});

test('the fingerprint Action denies a fingerprint that a trusted proxy has set, with its message', async () => {
  const denied = await usher.signUp('denied@example.com', { 'x-ja4': BAD_JA4 });

  expect(denied.status).toBe(400);
  expect(denied.body).toEqual({ error: 'extensibility_error', error_description: 'Your TLS fingerprint has been flagged as suspicious' });
  expect(readRegistration(usher.dataDir, 'denied@example.com')).toBeUndefined();
  expect((await usher.signUp('allowed@example.com', { 'x-ja4': GOOD_JA4 })).status).toBe(200);
});

test('nobody but the trusted proxy is believed: the same header from another address changes nothing', async () => {
  // Control: what differs is the address alone.
  expect(await signUpFrom(TRUSTED, 'proxy@example.com')).toBe(400);
  expect(await signUpFrom(STRANGER, 'stranger@example.com')).toBe(200);
});

/** Signs up with the bad fingerprint over a connection from this address. @returns the answer's status. */
async function signUpFrom(localAddress: string, email: string): Promise<number> {
  return await new Promise((resolve, reject) => {
    const req = request(`${usher.api}/dbconnections/signup`, { method: 'POST', localAddress, headers: { 'content-type': 'application/json', 'x-ja4': BAD_JA4 } });
    req.once('error', reject);
    req.once('response', (response) => {
      response.resume();
      resolve(response.statusCode ?? 0);
    });
    req.end(JSON.stringify({ connection: 'Username-Password-Authentication', email, password: 'Correct-Horse-7' }));
  });
}
