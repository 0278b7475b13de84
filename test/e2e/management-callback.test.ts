import { afterAll, beforeAll, expect, test } from 'vitest';
import { createManagementClient, type ManagementClient } from '../../examples/management-client.ts';
import { type OwnUsher, startUsher } from '../../examples/start-usher.ts';
import { readRegistrations } from './ledger-view.ts';
import { until } from './until.ts';

const PASSWORD = 'Correct-Horse-7';
const CONNECTION = 'Username-Password-Authentication';

let usher: OwnUsher;
let management: ManagementClient;
let secrets: { name: string; value: string }[];
const roles: Record<string, string> = {};

beforeAll(async () => {
  usher = await startUsher({ args: ['--https'], env: { USHER_RATE_LIMITS: 'off' } });
  management = await createManagementClient(usher);
  for (const name of ['member', 'reader']) roles[name] = (await management.call<{ id: string }>('POST', '/roles', { name })).id;
  secrets = Object.entries({
    // What a person would write: the certificate of `--https` is for this name.
    AUTH0_DOMAIN: new URL(usher.api.replace('127.0.0.1', 'localhost')).host,
    CLIENT_ID: usher.clientId,
    CLIENT_SECRET: usher.clientSecret,
    MEMBER: roles['member']!,
    READER: roles['reader']!,
  }).map(([name, value]) => ({ name, value }));
});
afterAll(() => usher?.stop());

/** An Action whose body has `management`, a client of the given version of npm `auth0`. */
async function deploy(name: string, trigger: 'post' | 'pre', version: string, body: string): Promise<string> {
  const triggerId = `${trigger}-user-registration` as const;
  const handler = trigger === 'pre' ? 'onExecutePreUserRegistration' : 'onExecutePostUserRegistration';
  const code = `const { ManagementClient } = require('auth0');
exports.${handler} = async (event, api) => {
  const management = new ManagementClient({
    domain: event.secrets.AUTH0_DOMAIN,
    clientId: event.secrets.CLIENT_ID,
    clientSecret: event.secrets.CLIENT_SECRET,
  });
  ${body}
};`;
  return await management.deployAction({ name, triggerId, code, dependencies: [{ name: 'auth0', version }], secrets });
}

async function signUp(email: string): Promise<{ status: number; body: Record<string, unknown> }> {
  const response = await fetch(`${usher.api}/dbconnections/signup`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ connection: CONNECTION, email, password: PASSWORD }),
  });
  return { status: response.status, body: (await response.json()) as Record<string, unknown> };
}

interface SeenUser {
  app_metadata?: Record<string, unknown>;
}

test('Actions that call the Management API back through npm auth0 run unchanged: the user is updated and gets its roles', async () => {
  await management.bind('post-user-registration', await Promise.all([
    deploy('Welcome', 'post', '7', `await management.users.update(event.user.user_id, { app_metadata: { welcomed: event.user.email } });`),
    deploy('Default role', 'post', '4', `await management.users.assignRoles({ id: event.user.user_id }, { roles: [event.secrets.MEMBER] });`),
    deploy('Default role, as years ago', 'post', '2', `await management.assignRolestoUser({ id: event.user.user_id }, { roles: [event.secrets.READER] });`),
  ]));
  const { status, body } = await signUp('ada@example.com');
  expect(status).toBe(200);
  const path = `/users/auth0|${String(body['_id'])}`;
  const rolesOf = async () => (await management.call<{ name: string }[]>('GET', `${path}/roles`)).map(({ name }) => name).toSorted();
  const registration = await until('its Actions have run', () => readRegistrations(usher.dataDir).find(({ email, state }) => email === 'ada@example.com' && state === 'closed'));
  expect(registration.steps.map(({ state, attempts }) => [state, attempts.length])).toEqual([['succeeded', 1], ['succeeded', 1], ['succeeded', 1]]);
  expect(await rolesOf()).toEqual(['member', 'reader']);
  expect((await management.call<SeenUser>('GET', path)).app_metadata).toEqual({ welcomed: 'ada@example.com' });
});

test('a sign-up that waits for its Action does not hold up what the Action asks Usher for, also when many wait', async () => {
  await management.bind('post-user-registration', []);
  const { user_id: counter } = await management.call<{ user_id: string }>('POST', '/users', { connection: CONNECTION, email: 'counter@example.com', password: PASSWORD });
  await management.bind('pre-user-registration', [
    await deploy('Ask first', 'pre', '7', `
  const known = await management.users.listUsersByEmail({ email: event.user.email });
  await management.users.update('${counter}', { app_metadata: { [event.user.email.split('@')[0]]: true } });
  api.user.setAppMetadata('known', known.length);`),
  ]);
  const names = Array.from({ length: 12 }, (_, index) => `waiting${index}`);
  const answers = await Promise.all(names.map((name) => signUp(`${name}@example.com`)));
  expect(answers.map(({ status }) => status)).toEqual(names.map(() => 200));
  const { app_metadata: counted } = await management.call<SeenUser>('GET', `/users/${counter}`);
  expect(Object.keys(counted ?? {}).toSorted()).toEqual(names.toSorted());
  expect((await management.call<SeenUser>('GET', `/users/auth0|${String(answers[0]!.body['_id'])}`)).app_metadata).toEqual({ known: 0 });
});
