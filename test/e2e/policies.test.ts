import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Receiver, startReceiver } from '../../examples/receiver.ts';
import { deployCode } from './actions.ts';
import { readRegistration } from './ledger-view.ts';
import { until } from './until.ts';
import { startTestUsher, type TestUsher } from './usher.ts';

/** Looks at no answer, and knows nothing of keys. */
const CARELESS = `exports.onExecutePostUserRegistration = async (event) => {
  await fetch(event.secrets.RECEIVER + '/contacts', { method: 'POST', body: event.user.email });
  await fetch(event.secrets.RECEIVER + '/welcome', { method: 'POST', body: event.user.email });
};`;

let receiver: Receiver;
let usher: TestUsher;
beforeAll(async () => {
  let welcomes = 0;
  receiver = await startReceiver(({ path }) => ({ status: path === '/welcome' && ++welcomes === 1 ? 503 : 200 }));
  usher = await startTestUsher();
  await usher.working();
});
afterAll(async () => {
  await usher?.close();
  await receiver?.close();
});

test('an Action as it is, bound with fail_on_http and an idempotency_header: what its receiver refused comes again under the same key', async () => {
  const id = await deployCode(usher.management, receiver, 'Careless', CARELESS);
  await usher.management.call('PATCH', '/actions/triggers/post-user-registration/bindings', {
    bindings: [{ ref: { type: 'action_id', value: id }, usher: { fail_on_http: '5xx', idempotency_header: 'X-Request-Key', retry: { quick: { first_delay_ms: 200 } } } }],
  });
  expect((await usher.signUp('ann@example.com')).status).toBe(200);
  const registration = await until('the registration is closed', () => {
    const seen = readRegistration(usher.dataDir, 'ann@example.com');
    return seen?.state === 'closed' ? seen : undefined;
  });

  expect(registration.steps[0]).toMatchObject({ state: 'succeeded', attempts: [{ outcome: 'failed', errorType: 'HTTP_CALL_FAILED' }, { outcome: 'succeeded' }] });
  const requests = receiver.received.map(({ path, headers }) => [path, headers['x-request-key']]);
  const key = `${registration.id}.`;
  expect(requests[0]![1]).toMatch(new RegExp(`^${key}.+-1$`));
  expect(requests[1]![1]).toBe(String(requests[0]![1]).replace(/-1$/, '-2'));
  expect(requests).toEqual([['/contacts', requests[0]![1]], ['/welcome', requests[1]![1]], ['/contacts', requests[0]![1]], ['/welcome', requests[1]![1]]]);
});
