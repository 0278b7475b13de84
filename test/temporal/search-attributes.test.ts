import type { Client } from '@temporalio/client';
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createClient, isTemporalUnreachable } from '../../src/temporal/connection.ts';
import { createRegistrationStarter } from '../../src/temporal/registration-starter.ts';
import { ensureSearchAttributes, SEARCH_ATTRIBUTE_NAMES, SEARCH_ATTRIBUTES } from '../../src/temporal/search-attributes.ts';
import { devServerProgram, startTestDevServer, type TestDevServer } from '../helpers/dev-server.ts';
import { type RefusingProxy, startRefusingProxy } from '../helpers/refusing-proxy.ts';

/** For a condition that others on a busy machine may hold up. */
const PATIENT = { timeout: 30_000 };

const run = promisify(execFile);
const refusesAdding = (path: string) => path.endsWith('OperatorService/AddSearchAttributes');
const refusesOperator = (path: string) => path.includes('.OperatorService/');
const registration = { registrationId: 'reg', userId: 'auth0|1', connectionName: 'users' };

let server: TestDevServer;
const closers: (() => Promise<void>)[] = [];

beforeAll(async () => {
  server = await startTestDevServer();
});
afterAll(async () => {
  for (const close of closers.toReversed()) await close();
  await server?.stop();
});

function clientOf(namespace: string, address = server.address): Client {
  const client = createClient({ address, namespace, security: {} });
  closers.push(() => client.connection.close());
  return client;
}

/** A namespace that somebody else has made, without our search attributes. */
async function foreignNamespace(name: string): Promise<Client> {
  const client = clientOf(name);
  await client.workflowService.registerNamespace({ namespace: name, workflowExecutionRetentionPeriod: { seconds: 86_400 } as never });
  const starter = createRegistrationStarter({ client, searchAttributes: () => [] });
  await expect.poll(() => starter.start({ ...registration, registrationId: 'first' }).then(() => 'served', String), PATIENT).toBe('served');
  return client;
}

async function gatekeeper(refuses: (path: string) => boolean): Promise<RefusingProxy> {
  const proxy = await startRefusingProxy(server.address, refuses);
  closers.push(() => proxy.close());
  return proxy;
}

test('our own development server has all of them from the start', async () => {
  expect(await ensureSearchAttributes(server.client)).toEqual({ available: SEARCH_ATTRIBUTE_NAMES, missing: [] });
});

test('what a namespace lacks is added where we may', async () => {
  const client = await foreignNamespace('may-add');
  expect(await ensureSearchAttributes(client)).toEqual({ available: SEARCH_ATTRIBUTE_NAMES, missing: [] });
  const starter = createRegistrationStarter({ client, searchAttributes: () => SEARCH_ATTRIBUTE_NAMES });
  await starter.start(registration);
  const { typedSearchAttributes } = await client.workflow.getHandle('user-registration/reg').describe();
  expect(typedSearchAttributes.getAll().map(({ key }) => key.name)).toEqual(expect.arrayContaining(SEARCH_ATTRIBUTE_NAMES));
});

test('where adding is refused they are left out, registrations start all the same, and the command that is told adds them', async () => {
  await foreignNamespace('must-not-add');
  const proxy = await gatekeeper(refusesAdding);
  const client = clientOf('must-not-add', proxy.address);
  const found = await ensureSearchAttributes(client);
  expect(proxy.refused).toHaveLength(1);
  expect(found.available).toEqual([]);
  expect(found.missing.map(({ name }) => name)).toEqual(SEARCH_ATTRIBUTE_NAMES);

  const starter = createRegistrationStarter({ client, searchAttributes: () => found.available });
  await starter.start(registration);
  expect((await starter.describe('reg')).status).toBe('running');

  for (const { command } of found.missing) {
    const [program, ...args] = command.split(' ');
    expect(program).toBe('temporal');
    await run(await devServerProgram(), [...args, '--address', server.address]);
  }
  expect(await ensureSearchAttributes(client)).toEqual({ available: SEARCH_ATTRIBUTE_NAMES, missing: [] });
});

test('where everything of an operator is refused, listing too, they count as missing', async () => {
  const proxy = await gatekeeper(refusesOperator);
  const found = await ensureSearchAttributes(clientOf('default', proxy.address));
  expect(proxy.refused.length).toBeGreaterThan(1);
  expect(found.missing.map(({ name }) => name)).toEqual(SEARCH_ATTRIBUTE_NAMES);
});

test('a registration starts without the attributes when the namespace has lost them since', async () => {
  const client = await foreignNamespace('lost-them');
  const typedSearchAttributes = [{ key: SEARCH_ATTRIBUTES.UsherUserId, value: 'auth0|1' }];
  await expect(client.workflow.start('any', { workflowId: 'any', taskQueue: 'any', typedSearchAttributes })).rejects.toMatchObject({
    cause: { details: expect.stringContaining('search attribute') },
  });
  const starter = createRegistrationStarter({ client, searchAttributes: () => SEARCH_ATTRIBUTE_NAMES });
  await starter.start(registration);
  expect((await starter.describe('reg')).status).toBe('running');
});

test('a server that cannot be reached is an error, not a refusal', async () => {
  const error = await ensureSearchAttributes(clientOf('default', '127.0.0.1:9')).catch((error: unknown) => error);
  expect(isTemporalUnreachable(error)).toBe(true);
});
