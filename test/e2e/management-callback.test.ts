import { afterAll, beforeAll, expect, test } from 'vitest';
import { createManagementClient, type ManagementClient } from '../../examples/management-client.ts';
import { type OwnUsher, startUsher } from '../../examples/start-usher.ts';
import { readRegistrations } from './ledger-view.ts';
import { until } from './until.ts';

const PASSWORD = 'Correct-Horse-7';
const CONNECTION = 'Username-Password-Authentication';
/** On a busy machine sandboxes give way, and `require('auth0')` reads 700 files. */
const PATIENCE_MS = 90_000;

let usher: OwnUsher;
let management: ManagementClient;
let secrets: { name: string; value: string }[];
/** Of a user who is there before. */
let witnessPath = '';
const roles: Record<string, string> = {};
/** Ids of the Actions, by name; building them takes most of the time. */
const actions: Record<string, string> = {};

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
  const { user_id: witness } = await management.call<{ user_id: string }>('POST', '/users', { connection: CONNECTION, email: 'witness@example.com', password: PASSWORD });
  witnessPath = `/users/${witness}`;
  await deploy('welcome', 'post', '7', `await management.users.update(event.user.user_id, { app_metadata: { welcomed: event.user.email } });`);
  await deploy('default role', 'post', '4', `await management.users.assignRoles({ id: event.user.user_id }, { roles: [event.secrets.MEMBER] });`);
  await deploy('default role, as years ago', 'post', '2', `await management.assignRolestoUser({ id: event.user.user_id }, { roles: [event.secrets.READER] });`);
  await deploy('ask first', 'pre', '7', `
  const known = await management.users.listUsersByEmail({ email: event.user.email });
  await management.users.update('${witness}', { app_metadata: { [event.user.email]: 'asked' } });
  api.user.setAppMetadata('known', known.length);`);
  actions['ask first, without a package'] = await management.deployAction({ name: 'ask first, without a package', triggerId: 'pre-user-registration', code: askingWithFetch(witness), secrets });
  await deploy('delete', 'post', '7', 'await management.users.delete(event.user.user_id);');
  await deploy('tell', 'post', '7', `await management.users.update('${witness}', { app_metadata: { [event.user.email]: 'told' } });`);
  await until('the worker is ready', () => usher.output().includes('Ready: registrations run.'), 120_000);
}, 300_000);
afterAll(() => usher?.stop());

/** An Action whose body has `management`, a client of the given version of npm `auth0`. */
async function deploy(name: string, trigger: 'post' | 'pre', version: string, body: string): Promise<void> {
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
  actions[name] = await management.deployAction({ name, triggerId, code, dependencies: [{ name: 'auth0', version }], secrets });
}

/** As 'ask first', but starts in a moment: many that load `auth0` at once take longer than a sign-up waits. */
function askingWithFetch(witness: string): string {
  return `exports.onExecutePreUserRegistration = async (event, api) => {
  const origin = 'https://' + event.secrets.AUTH0_DOMAIN;
  const call = async (method, path, body, headers) => {
    const response = await fetch(origin + path, { method, headers: { 'content-type': 'application/json', ...headers }, body: JSON.stringify(body) });
    if (!response.ok) throw new Error(path + ' was answered with ' + response.status);
    return await response.json();
  };
  const { access_token: token } = await call('POST', '/oauth/token', {
    grant_type: 'client_credentials',
    client_id: event.secrets.CLIENT_ID,
    client_secret: event.secrets.CLIENT_SECRET,
    audience: origin + '/api/v2/',
  });
  const authorization = 'Bearer ' + token;
  const known = await call('GET', '/api/v2/users-by-email?email=' + encodeURIComponent(event.user.email), undefined, { authorization });
  await call('PATCH', '/api/v2/users/${encodeURIComponent(witness)}', { app_metadata: { [event.user.email]: 'asked' } }, { authorization });
  api.user.setAppMetadata('known', known.length);
};`;
}

async function signUp(email: string): Promise<{ status: number; body: Record<string, unknown> }> {
  const response = await fetch(`${usher.api}/dbconnections/signup`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ connection: CONNECTION, email, password: PASSWORD }),
  });
  return { status: response.status, body: (await response.json()) as Record<string, unknown> };
}

/** Binds Actions by name; what is not named runs no more. */
async function bind(post: string[], pre: string[] = []): Promise<void> {
  await management.bind('post-user-registration', post.map((name) => actions[name]!));
  await management.bind('pre-user-registration', pre.map((name) => actions[name]!));
}

async function appMetadata(path: string): Promise<Record<string, unknown>> {
  return (await management.call<{ app_metadata?: Record<string, unknown> }>('GET', path)).app_metadata ?? {};
}

const pathOf = (signedUp: { body: Record<string, unknown> }) => `/users/auth0|${String(signedUp.body['_id'])}`;

test('Actions that call the Management API back through npm auth0 run unchanged: the user is updated and gets its roles', async () => {
  await bind(['welcome', 'default role', 'default role, as years ago']);
  const ada = await signUp('ada@example.com');
  expect(ada.status).toBe(200);
  const registration = await until('its Actions have run', () => readRegistrations(usher.dataDir).find(({ email, state }) => email === 'ada@example.com' && state === 'closed'), PATIENCE_MS);
  expect(registration.steps.map(({ state }) => state)).toEqual(['succeeded', 'succeeded', 'succeeded']);
  expect(await appMetadata(pathOf(ada))).toEqual({ welcomed: 'ada@example.com' });
  const given = await management.call<{ name: string }[]>('GET', `${pathOf(ada)}/roles`);
  expect(given.map(({ name }) => name).toSorted()).toEqual(['member', 'reader']);
});

test('a sign-up that waits for its Action does not hold up what the Action asks Usher for through npm auth0', async () => {
  await bind([], ['ask first']);
  const asking = await signUp('asking@example.com');
  expect(asking.status).toBe(200);
  expect(await appMetadata(witnessPath)).toMatchObject({ 'asking@example.com': 'asked' });
  expect(await appMetadata(pathOf(asking))).toEqual({ known: 0 });
});

test('sign-ups that wait for their Action do not hold up what it asks Usher for, also when many wait', async () => {
  await bind([], ['ask first, without a package']);
  const emails = Array.from({ length: 12 }, (_, index) => `waiting${index}@example.com`);
  const signedUp = await Promise.all(emails.map(signUp));
  expect(signedUp.map(({ status }) => status)).toEqual(emails.map(() => 200));
  expect(await appMetadata(witnessPath)).toMatchObject(Object.fromEntries(emails.map((email) => [email, 'asked'])));
  expect(await appMetadata(pathOf(signedUp[0]!))).toEqual({ known: 0 });
});

test('a user who is deleted while its Actions run gets what is left of them', async () => {
  await bind(['delete', 'tell']);
  const gone = await signUp('gone@example.com');
  await until('the second Action has run', async () => (await appMetadata(witnessPath))['gone@example.com'] === 'told', PATIENCE_MS);
  await expect(appMetadata(pathOf(gone))).rejects.toThrow('The user does not exist.');
});
