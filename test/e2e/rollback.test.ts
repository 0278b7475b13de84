import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Receiver, startReceiver } from '../../examples/receiver.ts';
import { startRegistry, type TestRegistry } from '../builds/registry.ts';
import { changePolicy, readRegistration, readRegistrations } from './ledger-view.ts';
import { kill9 } from './processes.ts';
import { until } from './until.ts';
import { startTestUsher, type TestUsher } from './usher.ts';

const POST = 'post-user-registration';
/** Sign-ups during each of the three versions, and while one takes the place of another. */
const SIGN_UPS = 5;

interface Told {
  email: string;
  /** What the dependency says of itself. */
  package: string;
  /** Of the binding's own secrets. */
  stage: string;
}

let registry: TestRegistry;
let receiver: Receiver;
let usher: TestUsher;
let isRefusing = true;
let people = 0;

beforeAll(async () => {
  registry = await startRegistry();
  for (const version of ['1.0.0', '2.0.0']) await registry.publish('greeting', version);
  receiver = await startReceiver(() => ({ status: isRefusing ? 503 : 200 }));
  usher = await startTestUsher({ npm_config_registry: registry.url });
  await usher.working();
});

afterAll(async () => {
  await usher?.close();
  await receiver?.close();
  await registry?.close();
});

const CODE = `exports.onExecutePostUserRegistration = async (event) => {
  const told = { email: event.user.email, package: require('greeting'), stage: event.secrets.STAGE };
  const { status } = await fetch(event.secrets.RECEIVER, { method: 'POST', body: JSON.stringify(told) });
  if (status !== 200) throw new Error('the receiver answered ' + status);
};`;

async function signUp(): Promise<string> {
  const email = `person${people++}@example.com`;
  expect((await usher.signUp(email)).status).toBe(200);
  return email;
}

async function signUpSome(): Promise<void> {
  for (let count = 0; count < SIGN_UPS; count++) await signUp();
}

/** Signs people up one after the other while `change` goes on, and a few more afterwards. */
async function signUpDuring(change: () => Promise<unknown>): Promise<void> {
  const ended = new AbortController();
  const changing = change().finally(() => ended.abort());
  for (let count = 0; count < 40 && !ended.signal.aborted; count++) await signUp();
  await changing;
  await signUpSome();
}

async function bind(id: string, stage: string): Promise<void> {
  await usher.management.call('PATCH', `/actions/triggers/${POST}/bindings`, { bindings: [{ ref: { type: 'action_id', value: id }, secrets: [{ name: 'STAGE', value: stage }] }] });
  changePolicy(usher.dataDir, id, { quick: { attempts: 2 }, long: { firstDelayMs: 4_000, factor: 1, maxDelayMs: 4_000 } });
}

test('an Action with a dependency is rolled back while registrations run: each keeps the version, packages and secrets of its moment', async () => {
  const { management } = usher;
  const id = await management.deployAction({
    name: 'Greet',
    triggerId: POST,
    code: CODE,
    dependencies: [{ name: 'greeting', version: '1.0.0' }],
    secrets: [{ name: 'RECEIVER', value: receiver.url }, { name: 'STAGE', value: 'of the Action' }],
  });
  await bind(id, 'first');
  const [first] = (await management.call<{ versions: { id: string }[] }>('GET', `/actions/actions/${id}/versions`)).versions;
  await signUpSome();

  await management.call('PATCH', `/actions/actions/${id}`, { dependencies: [{ name: 'greeting', version: '2.0.0' }] });
  await until('the draft is built', async () => (await management.call<{ status: string }>('GET', `/actions/actions/${id}`)).status === 'built');
  await signUpDuring(() => management.call('POST', `/actions/actions/${id}/deploy`));
  await bind(id, 'second');
  await signUpSome();
  await signUpDuring(() => management.call('POST', `/actions/actions/${id}/versions/${first!.id}/deploy`, { update_draft: true }));
  await until('the first registration is parked', () => readRegistration(usher.dataDir, 'person0@example.com')?.steps[0]?.state === 'parked', 90_000);

  // What is pinned must come from the store: no registry, an empty cache, and a worker that has never seen the Action.
  await registry.close();
  const { worker } = usher.processes();
  await kill9(worker!);
  await rm(join(usher.dataDir, 'cache', 'dependencies'), { recursive: true });
  isRefusing = false;
  await until('every registration is closed', () => readRegistrations(usher.dataDir).every(({ state }) => state === 'closed'), 120_000);

  const registrations = readRegistrations(usher.dataDir);
  const versions = new Map(registrations.map(({ email, steps }) => [email, steps[0]?.versionNumber]));
  expect(new Set(versions.values())).toEqual(new Set([1, 2, 3]));
  expect(registrations.map(({ outcome }) => outcome)).toEqual(registrations.map(() => 'succeeded'));
  const packageOf: Record<number, string> = { 1: 'greeting@1.0.0', 2: 'greeting@2.0.0', 3: 'greeting@1.0.0' };
  // Refused ones too: every attempt of a registration runs the same.
  const told = receiver.received.map(({ body }) => JSON.parse(body) as Told);
  expect(new Set(told.map(({ email }) => email)).size).toBe(people);
  for (const each of told) expect(each, each.email).toMatchObject({ package: packageOf[versions.get(each.email) ?? 0] });
  const stagesOf = (version: number) => new Set(told.filter(({ email }) => versions.get(email) === version).map(({ stage }) => stage));
  expect(stagesOf(1)).toEqual(new Set(['first']));
  expect(stagesOf(2)).toEqual(new Set(['first', 'second']));
  expect(stagesOf(3)).toEqual(new Set(['second']));
  const stagesOfOne = Map.groupBy(told, ({ email }) => email);
  for (const [email, attempts] of stagesOfOne) expect(new Set(attempts.map(({ stage }) => stage)).size, email).toBe(1);

  const action = await management.call<{ dependencies: unknown; deployed_version: { number: number } }>('GET', `/actions/actions/${id}`);
  expect(action).toMatchObject({ dependencies: [{ name: 'greeting', version: '1.0.0' }], deployed_version: { number: 3 } });
});
