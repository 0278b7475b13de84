import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Receiver, startReceiver } from '../../examples/receiver.ts';
import { deliveries, deployCode, parseDelivery, tellingAction } from './actions.ts';
import { changePolicy, readRegistration, type SeenRegistration } from './ledger-view.ts';
import { kill9 } from './processes.ts';
import { until } from './until.ts';
import { startTestUsher, type TestUsher } from './usher.ts';

let receiver: Receiver;
let usher: TestUsher;
/** E-mails that the receiver refuses for now. */
const refused = new Set<string>();

beforeAll(async () => {
  receiver = await startReceiver(({ body }) => ({ status: refused.has(parseDelivery(body).email) ? 503 : 200 }));
  usher = await startTestUsher();
  await usher.working();
});

afterAll(async () => {
  await usher?.close();
  await receiver?.close();
});

/** Signs somebody up whom the receiver refuses, and waits until the second attempt has failed, so that the step is parked. */
async function leaveParked(email: string): Promise<void> {
  refused.add(email);
  expect((await usher.signUp(email)).status).toBe(200);
  await until('the step is parked', () => registrationOf(email)?.steps[0]?.state === 'parked');
}

function registrationOf(email: string): SeenRegistration | undefined {
  return readRegistration(usher.dataDir, email);
}

/** Lets the receiver take somebody and waits for the end. @returns which Actions got through for this e-mail. */
async function takenNow(email: string): Promise<string[]> {
  refused.delete(email);
  await until(`the registration of ${email} is closed`, () => registrationOf(email)?.state === 'closed');
  expect(registrationOf(email)?.outcome).toBe('succeeded');
  return deliveries(receiver).filter((each) => each.email === email && each.status === 200).map(({ action }) => action);
}

/** Deploys and binds an Action whose step is parked after its second failure and tried each 2 s from then on. */
async function bindOnly(name: string): Promise<string> {
  const id = await deployCode(usher.management, receiver, name, tellingAction(`${name} v1`));
  await usher.management.bind('post-user-registration', [id]);
  changePolicy(usher.dataDir, id, { quick: { attempts: 2 }, long: { firstDelayMs: 2_000, factor: 1, maxDelayMs: 2_000 } });
  return id;
}

/** Deploys new code as the next version. */
async function deployNext(id: string, code: string): Promise<void> {
  await usher.management.call('PATCH', `/actions/actions/${id}`, { code });
  await until('the new draft is built', async () => (await usher.management.call<{ status: string }>('GET', `/actions/actions/${id}`)).status === 'built');
  await usher.management.call('POST', `/actions/actions/${id}/deploy`);
}

test('a registration under way keeps its version when a new one is deployed; the next registration has the new one', async () => {
  const id = await bindOnly('Deployed');
  await leaveParked('before-deploy@example.com');

  await deployNext(id, tellingAction('Deployed v2'));
  expect((await usher.signUp('after-deploy@example.com')).status).toBe(200);

  expect(await takenNow('after-deploy@example.com')).toEqual(['Deployed v2']);
  expect(await takenNow('before-deploy@example.com')).toEqual(['Deployed v1']);
  expect(registrationOf('before-deploy@example.com')?.steps).toMatchObject([{ action: 'Deployed', versionNumber: 1 }]);
  expect(registrationOf('after-deploy@example.com')?.steps).toMatchObject([{ action: 'Deployed', versionNumber: 2 }]);
});

test('a registration under way keeps its Actions when others are bound, and the name that they had when they are renamed', async () => {
  const id = await bindOnly('Rebound');
  await leaveParked('before-rebind@example.com');

  await usher.management.call('PATCH', `/actions/actions/${id}`, { name: 'Renamed' });
  await bindOnly('Other');
  expect((await usher.signUp('after-rebind@example.com')).status).toBe(200);

  expect(await takenNow('after-rebind@example.com')).toEqual(['Other v1']);
  expect(await takenNow('before-rebind@example.com')).toEqual(['Rebound v1']);
  expect(registrationOf('before-rebind@example.com')?.steps).toMatchObject([{ action: 'Rebound', state: 'succeeded' }]);
});

test('a deleted Action still runs for a registration under way, also in a worker that has never seen it, and for nobody else', async () => {
  const id = await bindOnly('Deleted');
  await leaveParked('before-delete@example.com');

  await usher.management.call('DELETE', `/actions/actions/${id}?force=true`);
  await kill9(usher.processes().worker!);
  expect((await usher.signUp('after-delete@example.com')).status).toBe(200);

  expect(await takenNow('before-delete@example.com')).toEqual(['Deleted v1']);
  expect(registrationOf('after-delete@example.com')).toMatchObject({ outcome: 'nothing-bound', steps: [] });
});
