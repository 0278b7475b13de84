import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { createManagementClient } from '../../examples/management-client.ts';
import { createClient } from '../../src/temporal/connection.ts';
import { SEARCH_ATTRIBUTE_NAMES } from '../../src/temporal/search-attributes.ts';
import { startTestDevServer, type TestDevServer } from '../helpers/dev-server.ts';
import { type RefusingProxy, startRefusingProxy } from '../helpers/refusing-proxy.ts';
import { readRegistration } from './ledger-view.ts';
import { until } from './until.ts';
import { apiOf, ask, signUp, spawnUsher, takePort, type UsherProcess } from './usher-process.ts';

/** A namespace of somebody else's, in which Usher may add nothing. */
const NAMESPACE = 'foreign';

let temporal: TestDevServer;
let gatekeeper: RefusingProxy;
let folder: string;
let started: UsherProcess[] = [];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'usher-roles-'));
  temporal = await startTestDevServer();
  gatekeeper = await startRefusingProxy(temporal.address, (path) => path.endsWith('OperatorService/AddSearchAttributes'));
  const client = createClient({ address: temporal.address, namespace: NAMESPACE, security: {} });
  await client.workflowService.registerNamespace({ namespace: NAMESPACE, workflowExecutionRetentionPeriod: { seconds: 86_400 } as never });
  // A server knows a new namespace for sure some seconds later.
  await until('the namespace is served', () => client.workflow.start('any', { workflowId: 'any', taskQueue: 'any' }).then(() => true, () => false));
  await client.connection.close();
});
afterEach(async () => {
  for (const { child, ended } of started) {
    if (child.exitCode === null && child.signalCode === null) child.kill('SIGTERM');
    await ended();
  }
  started = [];
});
afterAll(async () => {
  await gatekeeper?.close();
  await temporal?.stop();
  await rm(folder, { recursive: true, force: true });
});

function startRole(role: 'api' | 'worker' | 'all', dataDir: string, env: Record<string, string> = {}): UsherProcess {
  const usher = spawnUsher({
    args: ['--role', role],
    env: { USHER_PORT: '0', USHER_DATA_DIR: dataDir, TEMPORAL_ADDRESS: gatekeeper.address, TEMPORAL_NAMESPACE: NAMESPACE, ...env },
  });
  started.push(usher);
  return usher;
}

test('the two roles, each on its own, run registrations over a Temporal server elsewhere, and end with 0', async () => {
  const dataDir = join(folder, 'two-roles');
  const taken = await takePort(0);
  const port = { USHER_PORT: String(taken!.port) };
  taken!.release();
  const api = startRole('api', dataDir, port);
  await api.prints('the role api is ready');
  const worker = startRole('worker', dataDir, port);
  await worker.prints('the role worker is ready');
  // What waits for the lock of a predecessor in vain.
  const secondApi = startRole('api', dataDir);
  const supervisor = startRole('all', dataDir);

  const address = apiOf(api);
  const clientId = /"clientId":"(\S+?)"/.exec(api.stderr())![1]!;
  const management = await createManagementClient({ api: address, clientId, clientSecret: await readFile(join(dataDir, 'client-secret'), 'utf8') });
  const action = await management.deployAction({
    name: 'Look around',
    triggerId: 'post-user-registration',
    code: `exports.onExecutePostUserRegistration = async () => {
      await fetch('http://${gatekeeper.address}/').then(() => { throw new Error('it has reached the machine') }, (error) => {
        if (error.cause.code !== 'EUSHEREGRESS') throw error;
      });
      await fetch('${address}/healthz');
    };`,
  });
  await management.bind('post-user-registration', [action]);
  expect((await signUp(address, 'roles@example.com')).status).toBe(200);
  const { steps } = await until('the registration is closed', () => {
    const registration = readRegistration(dataDir, 'roles@example.com');
    return registration?.state === 'closed' ? registration : null;
  });
  // Loopback is not open to Actions where the roles stand alone, but for Usher's own address.
  expect(steps).toMatchObject([{ action: 'Look around', state: 'succeeded', attempts: [{ number: 1 }] }]);

  const { status, body } = await ask(address, '/readyz');
  expect(status).toBe(200);
  expect(body).toEqual({
    status: 'degraded',
    degraded: Object.fromEntries(SEARCH_ATTRIBUTE_NAMES.map((name) => [
      `search attribute ${name}`,
      `missing; add it with: temporal operator search-attribute create --namespace ${NAMESPACE} --name ${name} --type Keyword`,
    ])),
  });

  for (const late of [secondApi, supervisor]) {
    expect(await late.ended()).toBe(1);
    expect(late.said()).toEqual([expect.stringMatching(/^Another Usher \(process \d+\) uses this data directory: it holds \S+\/(api|worker)\.lock\. Stop it first, /)]);
  }
  for (const role of [api, worker]) {
    role.child.kill('SIGTERM');
    expect(await role.ended()).toBe(0);
  }
});

test('a namespace that is not there is told by both roles, sign-ups are served, and all goes on once it is there', async () => {
  const dataDir = join(folder, 'late-namespace');
  const env = { TEMPORAL_ADDRESS: temporal.address, TEMPORAL_NAMESPACE: 'late' };
  const api = startRole('api', dataDir, env);
  await api.prints('the role api is ready');
  const worker = startRole('worker', dataDir, env);
  await worker.prints('the worker waits for Temporal');
  await worker.prints('Namespace late is not found');
  const address = apiOf(api);
  expect((await signUp(address, 'early@example.com')).status).toBe(200);
  await until('the api tells it', async () => /not reached yet: .*late/.test((await ask(address, '/readyz')).body.degraded['temporal'] ?? ''));
  expect(api.stderr()).not.toContain('"level":"error"');

  await temporal.client.workflowService.registerNamespace({ namespace: 'late', workflowExecutionRetentionPeriod: { seconds: 86_400 } as never });
  await worker.prints('the role worker is ready');
  await until('nothing is degraded', async () => (await ask(address, '/readyz')).body.status === 'ready');
});
