import { ManagementClient } from 'auth0';
import { ManagementClient as ManagementClient4 } from 'auth0-4';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { until } from '../builds/harness.ts';
import { CLIENT_ID, CLIENT_SECRET, newestLog, signUp } from '../http/test-app.ts';
import { type HttpsUsher, startHttpsUsher } from './https-usher.ts';
import { expectEveryOperation } from './sdk-coverage.ts';

const POST = 'post-user-registration';
const TRIGGER = { id: POST, version: 'v2' } as const;
const CODE = `exports.onExecutePostUserRegistration = async (event) => { console.log('for', event.user.email); };`;
const NEXT_CODE = `exports.onExecutePostUserRegistration = async () => {};`;

let usher: HttpsUsher;
let names = 0;

beforeAll(async () => {
  usher = await startHttpsUsher();
});
afterAll(() => usher?.close());
beforeEach(() => {
  names++;
});

const credentials = () => ({ domain: usher.domain, clientId: CLIENT_ID, clientSecret: CLIENT_SECRET });
const input = () => ({
  name: `Notify ${names}`,
  supported_triggers: [TRIGGER],
  code: CODE,
  runtime: 'node22',
  dependencies: [],
  secrets: [{ name: 'KEY', value: 'kept' }],
});

describe('npm auth0, the current major', () => {
  let client: ManagementClient;
  beforeAll(() => {
    client = new ManagementClient(credentials());
  });

  async function newAction(): Promise<string> {
    const { id } = await client.actions.create(input());
    await isBuilt(id!);
    return id!;
  }

  const isBuilt = (id: string) => until(() => client.actions.get(id), ({ status }) => status === 'built');

  test('an Action is created, read, listed, changed and deleted', async () => {
    const created = await client.actions.create(input());
    expect(created).toMatchObject({ name: `Notify ${names}`, status: 'pending', secrets: [{ name: 'KEY' }], all_changes_deployed: false });
    const id = created.id!;
    await isBuilt(id);
    const page = await client.actions.list({ actionName: created.name!, triggerId: POST, deployed: false, page: 0, per_page: 10 });
    expect(page.data).toMatchObject([{ id, status: 'built' }]);
    expect(page.hasNextPage()).toBe(false);

    const changed = await client.actions.update(id, { code: NEXT_CODE, secrets: [{ name: 'KEY' }] });
    expect(changed).toMatchObject({ code: NEXT_CODE, secrets: created.secrets });
    await client.actions.delete(id);
    await expect(client.actions.get(id)).rejects.toMatchObject({ statusCode: 404, body: { message: 'That action does not exist.' } });
  });

  test('a list goes on over its pages', async () => {
    for (let i = 0; i < 3; i++) {
      await newAction();
      names++;
    }
    const found: unknown[] = [];
    for await (const action of await client.actions.list({ per_page: 2 })) found.push(action.id);
    expect(found.length).toBeGreaterThanOrEqual(3);
    expect(new Set(found).size).toBe(found.length);
  });

  test('a version is deployed, listed, read and deployed again', async () => {
    const id = await newAction();
    const first = await client.actions.deploy(id);
    expect(first).toMatchObject({ number: 1, status: 'built', code: CODE });
    await client.actions.update(id, { code: NEXT_CODE });
    await isBuilt(id);
    await client.actions.deploy(id);
    const { data } = await client.actions.versions.list(id);
    expect(data.map(({ number, deployed }) => [number, deployed])).toEqual([[2, true], [1, false]]);
    expect(await client.actions.versions.get(id, first.id!)).toMatchObject({ id: first.id, code: CODE, deployed: false });
    expect(await client.actions.versions.deploy(id, first.id!, { update_draft: true })).toMatchObject({ number: 3, code: CODE });
    expect(await client.actions.versions.deploy(id, first.id!)).toMatchObject({ number: 4 });
    expect(await client.actions.get(id)).toMatchObject({ code: CODE, all_changes_deployed: true, deployed_version: { number: 4, deployed: true } });
  });

  test('the draft is tested', async () => {
    const id = await newAction();
    const { payload } = await client.actions.test(id, { payload: { event: { user: { email: 'tested@example.com' } } } });
    expect(payload).toMatchObject({ logs: [{ text: 'for tested@example.com' }], stats: { action_duration_ms: expect.any(Number) } });
  });

  test('triggers are listed; bindings are replaced, listed, and given secrets of their own', async () => {
    const { triggers } = await client.actions.triggers.list();
    expect(triggers).toContainEqual(expect.objectContaining({ id: POST, version: 'v2', status: 'CURRENT' }));

    const id = await newAction();
    await client.actions.deploy(id);
    const { bindings } = await client.actions.triggers.bindings.updateMany(POST, {
      bindings: [{ ref: { type: 'action_name', value: `Notify ${names}` }, display_name: 'Shown', secrets: [{ name: 'OWN', value: 'v' }] }],
    });
    expect(bindings).toMatchObject([{ display_name: 'Shown', trigger_id: POST, action: { id }, secrets: [{ name: 'OWN' }] }]);
    const { data } = await client.actions.triggers.bindings.list(POST);
    expect(data).toEqual(bindings);

    await expect(client.actions.delete(id)).rejects.toMatchObject({ statusCode: 409 });
    await client.actions.delete(id, { force: true });
    expect((await client.actions.triggers.bindings.list(POST)).data).toEqual([]);
  });

  test('a module is created, published, used, rolled back and deleted', async () => {
    const module = await client.actions.modules.create({ name: `shared-${names}`, code: `module.exports = 'one';`, secrets: [{ name: 'KEY', value: 'v' }], publish: true });
    const moduleId = module.id!;
    expect(await client.actions.modules.get(moduleId)).toEqual(module);
    expect((await client.actions.modules.list()).data).toMatchObject([{ id: moduleId, latest_version_number: 1 }]);
    expect(await client.actions.modules.update(moduleId, { code: `module.exports = 'two';` })).toMatchObject({ all_changes_published: false });
    const second = await client.actions.modules.versions.create(moduleId);
    expect(second).toMatchObject({ version_number: 2 });
    expect(await client.actions.modules.versions.get(moduleId, second.id!)).toEqual(second);
    expect((await client.actions.modules.versions.list(moduleId)).data.map(({ version_number: number }) => number)).toEqual([2, 1]);

    const code = `exports.onExecutePostUserRegistration = async () => { console.log(require('actions:shared-${names}')); };`;
    const { id, modules } = await client.actions.create({ ...input(), code, modules: [{ module_id: moduleId, module_version_id: second.id! }] });
    expect(modules).toMatchObject([{ module_id: moduleId, module_version_number: 2 }]);
    await isBuilt(id!);
    expect((await client.actions.test(id!, { payload: {} })).payload).toMatchObject({ logs: [{ text: 'two' }] });
    await client.actions.deploy(id!);
    expect((await client.actions.modules.listActions(moduleId)).data).toMatchObject([{ action_id: id, module_version_number: 2 }]);
    expect(await client.actions.modules.rollback(moduleId, { module_version_id: module.latest_version!.id! })).toMatchObject({ code: `module.exports = 'one';` });

    await expect(client.actions.modules.delete(moduleId)).rejects.toMatchObject({ statusCode: 412 });
    await client.actions.delete(id!);
    await client.actions.modules.delete(moduleId);
    await expect(client.actions.modules.get(moduleId)).rejects.toMatchObject({ statusCode: 404 });
  });

  test('an execution is read by the id that the log has', async () => {
    const id = await newAction();
    await client.actions.deploy(id);
    await client.actions.triggers.bindings.updateMany(POST, { bindings: [{ ref: { type: 'action_id', value: id } }] });
    expect((await signUp(usher.app)).status).toBe(200);
    const { details } = await newestLog(usher.app, 'ss');
    const [executionId] = details.actions.executions;
    expect(await client.actions.executions.get(executionId)).toMatchObject({ id: executionId, trigger_id: POST, status: 'pending', results: [] });
    await client.actions.delete(id, { force: true });
  });
});

describe('npm auth0, 4.x', () => {
  let client: ManagementClient4;
  beforeAll(() => {
    client = new ManagementClient4(credentials());
  });

  async function newAction(): Promise<string> {
    const { data } = await client.actions.create(input());
    await isBuilt(data.id);
    return data.id;
  }

  const isBuilt = (id: string) => until(() => client.actions.get({ id }), ({ data }) => data.status === 'built');

  test('an Action is created, read, listed, changed and deleted', async () => {
    const { status, data: created } = await client.actions.create(input());
    expect(status).toBe(201);
    const { id } = created;
    await isBuilt(id);
    const { data: listed } = await client.actions.getAll({ actionName: created.name, triggerId: POST, deployed: false, page: 0, per_page: 10 });
    expect(listed).toMatchObject({ total: 1, per_page: 10, actions: [{ id, status: 'built' }] });
    const { data: changed } = await client.actions.update({ id }, { code: NEXT_CODE, secrets: [{ name: 'KEY' }] });
    expect(changed).toMatchObject({ code: NEXT_CODE, secrets: created.secrets });
    expect((await client.actions.delete({ id })).status).toBe(204);
    await expect(client.actions.get({ id })).rejects.toMatchObject({ statusCode: 404, msg: 'That action does not exist.' });
  });

  test('a version is deployed, listed, read and deployed again', async () => {
    const id = await newAction();
    const { data: first } = await client.actions.deploy({ id });
    await client.actions.update({ id }, { code: NEXT_CODE });
    await isBuilt(id);
    await client.actions.deploy({ id });
    const { data } = await client.actions.getVersions({ actionId: id });
    expect(data.versions.map(({ number, deployed }) => [number, deployed])).toEqual([[2, true], [1, false]]);
    expect((await client.actions.getVersion({ actionId: id, id: first.id })).data).toMatchObject({ id: first.id, code: CODE });
    expect((await client.actions.deployVersion({ actionId: id, id: first.id }, { update_draft: true })).data).toMatchObject({ number: 3 });
    expect((await client.actions.deployVersion({ actionId: id, id: first.id }, null)).data).toMatchObject({ number: 4 });
    expect((await client.actions.get({ id })).data).toMatchObject({ code: CODE, all_changes_deployed: true });
  });

  test('the draft is tested; triggers and bindings are read and replaced; an execution is read', async () => {
    const id = await newAction();
    const { data: tested } = await client.actions.test({ id }, { payload: {} });
    expect(tested.payload).toMatchObject({ logs: [{ text: 'for j+smith@example.com' }] });
    expect((await client.actions.getAllTriggers()).data.triggers).toContainEqual(expect.objectContaining({ id: 'post-login', version: 'v3' }));

    await client.actions.deploy({ id });
    const { data: bound } = await client.actions.updateTriggerBindings({ triggerId: POST }, { bindings: [{ ref: { type: 'action_id', value: id }, display_name: 'Shown' }] });
    expect((await client.actions.getTriggerBindings({ triggerId: POST })).data.bindings).toEqual(bound.bindings);
    expect((await signUp(usher.app)).status).toBe(200);
    const { details } = await newestLog(usher.app, 'ss');
    expect((await client.actions.getExecution({ id: details.actions.executions[0] })).data).toMatchObject({ trigger_id: POST, status: 'pending' });

    await expect(client.actions.delete({ id })).rejects.toMatchObject({ statusCode: 409 });
    expect((await client.actions.delete({ id, force: true })).status).toBe(204);
  });
});

test('each SDK has asked for every operation on Actions, triggers and modules', async () => {
  await expectEveryOperation(usher, 'actions');
});
