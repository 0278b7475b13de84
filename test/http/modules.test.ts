import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { createSandboxPool, type SandboxPool } from '../../src/sandbox/pool.ts';
import { testRun } from '../../src/sandbox/test-run.ts';
import { removeUnused } from '../../src/store/unused.ts';
import { type ActionsWorld, type Answer, type Api, built, describeOnEachStore, serve, stepFor } from '../builds/harness.ts';
import { startRegistry, type TestRegistry } from '../builds/registry.ts';
import { pino } from 'pino';

const POST = 'post-user-registration';
const NANOS = expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z$/);
const UNKNOWN = '00000000-0000-7000-8000-000000000000';
const CODE = `exports.onExecutePostUserRegistration = async () => { console.log(require('actions:helper')()); };`;

const refusal = (status: number, error: string, message: unknown) => ({ status, body: { statusCode: status, error, message } });

describeOnEachStore('modules', (newWorld) => {
  let world: ActionsWorld;
  let api: Api;
  let registry: TestRegistry;
  let pool: SandboxPool;
  let names = 0;
  let name: string;

  beforeAll(async () => {
    registry = await startRegistry();
    for (const version of ['1.0.0', '2.0.0']) await registry.publish('shared', version);
    process.env['npm_config_registry'] = registry.url;
    world = await newWorld();
    const builder = world.newBuilder({ alone: true });
    await builder.start();
    api = await serve(world, builder);
    pool = await createSandboxPool({ slots: 1, egress: { allow: [], loopbackOpen: true }, logger: pino({ level: 'silent' }) });
  });
  afterAll(async () => {
    delete process.env['npm_config_registry'];
    await pool?.close({ graceMs: 0 });
    await api?.close();
    await world?.close();
    await registry?.close();
  });
  beforeEach(() => {
    name = `helper-${names++}`;
  });

  const create = async (over: object = {}): Promise<Answer['body']> => {
    const { status, body } = await api.call('POST', '/modules', { name, code: `module.exports = () => 'from ${name}';`, ...over });
    expect(status).toBe(201);
    return body;
  };
  const publish = (id: string) => api.call('POST', `/modules/${id}/versions`);
  const using = (moduleName: string) => CODE.replace('actions:helper', `actions:${moduleName}`);

  async function createAction(over: object): Promise<Answer['body']> {
    const { status, body } = await api.call('POST', '/actions', { name: `Uses ${name} ${names++}`, supported_triggers: [{ id: POST, version: 'v2' }], code: using(name), ...over });
    expect(status, JSON.stringify(body)).toBe(201);
    await built(world, body.id);
    return body;
  }

  /** Runs a deployed version once and gives its log, or its error. */
  async function outputOf(versionId: string): Promise<string[]> {
    const { runnable, secrets } = await world.newVersionCache().load(versionId);
    const { error, logs } = await testRun(pool, { version: runnable, event: {}, secrets, timeoutMs: 10_000 });
    return error === null ? logs.map(({ text }) => text) : [error.message];
  }

  describe('endpoints', () => {
    test('a module is created, read, changed, listed and deleted', async () => {
      const created = await create({ secrets: [{ name: 'KEY', value: 'hidden' }], dependencies: [{ name: 'shared', version: '1.0.0' }] });
      expect(created).toEqual({
        id: expect.any(String),
        name,
        code: `module.exports = () => 'from ${name}';`,
        dependencies: [{ name: 'shared', version: '1.0.0' }],
        secrets: [{ name: 'KEY', updated_at: NANOS }],
        actions_using_module_total: 0,
        all_changes_published: false,
        created_at: NANOS,
        updated_at: NANOS,
      });
      expect(await api.call('GET', `/modules/${created.id}`)).toMatchObject({ status: 200, body: created });
      const changed = await api.call('PATCH', `/modules/${created.id}`, { code: 'module.exports = 2;', secrets: [{ name: 'KEY' }] });
      expect(changed).toMatchObject({ status: 200, body: { code: 'module.exports = 2;', secrets: created.secrets, dependencies: created.dependencies } });
      const { body: listed } = await api.call('GET', '/modules?page=0&per_page=100');
      expect(listed).toMatchObject({ page: 0, per_page: 100, total: listed.modules.length });
      expect(listed.modules).toContainEqual(changed.body);
      expect((await api.call('DELETE', `/modules/${created.id}`)).status).toBe(204);
      expect(await api.call('GET', `/modules/${created.id}`)).toMatchObject(refusal(404, 'Not Found', 'That module does not exist.'));
    });

    test('a version is made by publishing, and never changes; a rollback makes it the draft', async () => {
      const { id } = await create({ publish: true });
      const first = (await api.call('GET', `/modules/${id}`)).body;
      expect(first).toMatchObject({ all_changes_published: true, latest_version_number: 1, latest_version: { version_number: 1 } });
      await api.call('PATCH', `/modules/${id}`, { code: 'module.exports = 2;' });
      expect((await api.call('GET', `/modules/${id}`)).body).toMatchObject({ all_changes_published: false, latest_version_number: 1 });
      const second = await publish(id);
      expect(second).toMatchObject({ status: 200, body: { module_id: id, version_number: 2, code: 'module.exports = 2;' } });

      const { body: listed } = await api.call('GET', `/modules/${id}/versions`);
      expect(listed).toMatchObject({ total: 2, page: 0, per_page: 20, versions: [second.body, { version_number: 1 }] });
      expect(await api.call('GET', `/modules/${id}/versions/${second.body.id}`)).toMatchObject({ status: 200, body: second.body });
      const back = await api.call('POST', `/modules/${id}/rollback`, { module_version_id: first.latest_version.id });
      expect(back).toMatchObject({ status: 200, body: { code: first.code, all_changes_published: false, latest_version_number: 2 } });
      expect((await publish(id)).body).toMatchObject({ version_number: 3, code: first.code });
    });

    test('publishing without a draft is refused; a draft that was sent again as it was is published already', async () => {
      const { id, code } = await create({ publish: true });
      expect(await publish(id)).toMatchObject(refusal(409, 'Conflict', 'The module has no draft: nothing was changed since its last version.'));
      // What the deploy CLI does at each import.
      await api.call('PATCH', `/modules/${id}`, { code, dependencies: [], secrets: [] });
      expect(await publish(id)).toMatchObject({ status: 200, body: { version_number: 1 } });
      expect((await api.call('GET', `/modules/${id}/versions`)).body.total).toBe(1);
    });

    test('a name is taken whatever its case; a 51st version is refused', async () => {
      const { id } = await create();
      expect(await api.call('POST', '/modules', { name: name.toUpperCase(), code: '' })).toMatchObject(refusal(409, 'Conflict', `A module with the name '${name.toUpperCase()}' already exists.`));
      for (let version = 1; version <= 50; version++) {
        await api.call('PATCH', `/modules/${id}`, { code: `module.exports = ${version};` });
        expect((await publish(id)).status).toBe(200);
      }
      await api.call('PATCH', `/modules/${id}`, { code: 'module.exports = 51;' });
      expect(await publish(id)).toMatchObject(refusal(412, 'Precondition Failed', 'A module can have at most 50 versions: make a new module.'));
    });

    test('what does not exist is 404 on every path, and each path wants its scope', async () => {
      const readOnly = await api.withScopes(['read:actions']);
      const writeOnly = await api.withScopes(['create:actions', 'update:actions', 'delete:actions']);
      for (const [method, path, body] of [
        ['GET', `/modules/${UNKNOWN}`],
        ['PATCH', `/modules/${UNKNOWN}`, {}],
        ['DELETE', `/modules/${UNKNOWN}`],
        ['GET', `/modules/${UNKNOWN}/actions`],
        ['GET', `/modules/${UNKNOWN}/versions`],
        ['POST', `/modules/${UNKNOWN}/versions`],
        ['GET', `/modules/${UNKNOWN}/versions/${UNKNOWN}`],
        ['POST', `/modules/${UNKNOWN}/rollback`, { module_version_id: UNKNOWN }],
      ] as const) {
        expect(await api.call(method, path, body), `${method} ${path}`).toMatchObject(refusal(404, 'Not Found', 'That module does not exist.'));
        expect((await (method === 'GET' ? writeOnly : readOnly).call(method, path, body)).status, `${method} ${path}`).toBe(403);
      }
      const { id } = await create();
      expect(await api.call('GET', `/modules/${id}/versions/${UNKNOWN}`)).toMatchObject(refusal(404, 'Not Found', 'That module version does not exist.'));
      expect(await api.call('POST', `/modules/${id}/rollback`, { module_version_id: UNKNOWN })).toMatchObject(refusal(404, 'Not Found', 'That module version does not exist.'));
    });
  });

  describe('in an Action', () => {
    test.each(['id', 'name', 'name and number', 'id alone'])('a module is named by %s, and read back with all four', async (how) => {
      const { id, latest_version: version } = await create({ publish: true });
      const input = {
        id: { module_id: id, module_version_id: version.id },
        name: { module_name: name },
        'name and number': { module_name: name, module_version_number: 1 },
        'id alone': { module_id: id },
      }[how];
      const modules = [{ module_id: id, module_name: name, module_version_id: version.id, module_version_number: 1 }];
      const created = await createAction({ modules: [input] });
      expect(created.modules).toEqual(modules);
      const { body: deployed } = await api.call('POST', `/actions/${created.id}/deploy`);
      expect(deployed.modules).toEqual(modules);
      expect((await api.call('GET', `/actions/${created.id}`)).body).toMatchObject({ all_changes_deployed: true, modules, deployed_version: { modules } });
      expect(await outputOf(deployed.id)).toEqual([`from ${name}`]);
    });

    test('a module has its own secrets and packages, and may require another one', async () => {
      const other = await create({ code: 'exports.text = actions.secrets.KEY;', secrets: [{ name: 'KEY', value: 'of the other' }], publish: true });
      name = `helper-${names++}`;
      await create({
        code: `const { text } = require('actions:${other.name}'); module.exports = () => [require('shared'), actions.secrets.KEY.length, text.length, typeof event].join();`,
        secrets: [{ name: 'KEY', value: 'of the module' }],
        dependencies: [{ name: 'shared', version: '1.0.0' }],
        publish: true,
      });
      const { id } = await createAction({ modules: [{ module_name: name }, { module_name: other.name }], secrets: [{ name: 'KEY', value: 'v' }] });
      const { body: deployed } = await api.call('POST', `/actions/${id}/deploy`);
      expect(await outputOf(deployed.id)).toEqual(['shared@1.0.0,13,12,undefined']);
    });

    test('a version of the Action keeps the versions of its modules', async () => {
      const { id: moduleId } = await create({ code: `module.exports = () => 'one';`, publish: true });
      const { id } = await createAction({ modules: [{ module_id: moduleId }] });
      const { body: first } = await api.call('POST', `/actions/${id}/deploy`);
      await api.call('PATCH', `/modules/${moduleId}`, { code: `module.exports = () => 'two';` });
      await publish(moduleId);
      expect(await outputOf(first.id)).toEqual(['one']);
      expect((await api.call('GET', `/actions/${id}`)).body.all_changes_deployed).toBe(true);

      await api.call('PATCH', `/actions/${id}`, { modules: [{ module_id: moduleId, module_version_number: 2 }] });
      await built(world, id);
      expect((await api.call('GET', `/actions/${id}`)).body.all_changes_deployed).toBe(false);
      const { body: second } = await api.call('POST', `/actions/${id}/deploy`);
      expect(await outputOf(second.id)).toEqual(['two']);
      const { body: back } = await api.call('POST', `/actions/${id}/versions/${first.id}/deploy`);
      expect(await outputOf(back.id)).toEqual(['one']);
      expect(await outputOf(first.id)).toEqual(['one']);
    });

    test('a package that the Action and a module name in different words fails the build, and says which', async () => {
      await create({ dependencies: [{ name: 'shared', version: '1.0.0' }], publish: true });
      const { id } = await createAction({ modules: [{ module_name: name }], dependencies: [{ name: 'shared', version: '2.0.0' }] });
      expect(await built(world, id)).toMatchObject({
        status: 'failed',
        errors: [{ id: 'dependency_conflict', msg: `The Action asks for shared@2.0.0, and the module '${name}' for shared@1.0.0: name the same version in both.` }],
      });
      await api.call('PATCH', `/actions/${id}`, { dependencies: [{ name: 'shared', version: '1.0.0' }] });
      expect(await built(world, id)).toMatchObject({ status: 'built' });
    });

    test('a module that does not compile fails the build; one that throws or is missing fails the run, with its name', async () => {
      await create({ code: 'not code', publish: true });
      const broken = await createAction({ modules: [{ module_name: name }] });
      expect(await built(world, broken.id)).toMatchObject({ status: 'failed', errors: [{ id: 'invalid_code', msg: expect.stringMatching(`^The code of the module '${name}' cannot be compiled`) }] });

      name = `helper-${names++}`;
      await create({ code: `throw new Error('thrown while loading');`, publish: true });
      const throwing = await createAction({ modules: [{ module_name: name }] });
      expect(await outputOf((await api.call('POST', `/actions/${throwing.id}/deploy`)).body.id)).toEqual(['thrown while loading']);

      const missing = await createAction({ modules: [], code: using('nowhere') });
      expect(await outputOf((await api.call('POST', `/actions/${missing.id}/deploy`)).body.id)).toEqual([
        `Cannot find module 'actions:nowhere': add the module "nowhere" to the Action's modules and deploy it again.`,
      ]);
    });

    test('unknown modules and versions are refused', async () => {
      const { id } = await create();
      const action = { name: `Refused ${names}`, supported_triggers: [{ id: POST, version: 'v2' }] };
      for (const [modules, message] of [
        [[{ module_id: UNKNOWN }], `The module '${UNKNOWN}' does not exist.`],
        [[{ module_name: 'nobody' }], "The module 'nobody' does not exist."],
        [[{ module_id: id }], `The module '${name}' has no version: publish it first.`],
        [[{ module_id: id, module_version_number: 7 }], `The module '${name}' has no version 7.`],
        [[{}], 'A module of an action needs its module_id or module_name.'],
      ] as const) {
        expect(await api.call('POST', '/actions', { ...action, modules })).toMatchObject(refusal(400, 'Bad Request', message));
      }
      await publish(id);
      expect(await api.call('POST', '/actions', { ...action, modules: [{ module_id: id }, { module_name: name }] })).toMatchObject(refusal(400, 'Bad Request', `The module '${name}' is named more than once.`));
    });

    test('who uses a module is listed by what is deployed; a module in use is not deleted', async () => {
      const { id: moduleId, latest_version: version } = await create({ publish: true });
      const { id, name: actionName } = await createAction({ modules: [{ module_id: moduleId }] });
      const inUse = refusal(412, 'Precondition Failed', 'Unable to delete a module that is used by an action.');
      expect((await api.call('GET', `/modules/${moduleId}/actions`)).body).toEqual({ actions: [], total: 0, page: 0, per_page: 20 });
      expect(await api.call('DELETE', `/modules/${moduleId}`)).toMatchObject(inUse);
      await api.call('POST', `/actions/${id}/deploy`);
      expect((await api.call('GET', `/modules/${moduleId}/actions`)).body).toEqual({
        actions: [{ action_id: id, action_name: actionName, module_version_id: version.id, module_version_number: 1, supported_triggers: [{ id: POST, version: 'v2' }] }],
        total: 1,
        page: 0,
        per_page: 20,
      });
      expect((await api.call('GET', `/modules/${moduleId}`)).body.actions_using_module_total).toBe(1);
      await api.call('PATCH', `/actions/${id}`, { modules: [] });
      expect(await api.call('DELETE', `/modules/${moduleId}`)).toMatchObject(inUse);
    });

    test('versions of a deleted module stay for what is pinned to them, and go with their key when nothing is', async () => {
      const { db } = world.database;
      const { id: moduleId, latest_version: version } = await create({ secrets: [{ name: 'KEY', value: 'v' }], publish: true });
      const { key_id: keyId } = await db.selectFrom('action_module').select('key_id').where('id', '=', moduleId).executeTakeFirstOrThrow();
      const { id } = await createAction({ modules: [{ module_id: moduleId }] });
      const { body: deployed } = await api.call('POST', `/actions/${id}/deploy`);
      await stepFor(world, deployed.id);
      const later = Date.now() + 3 * 60 * 60 * 1000;
      const left = async () => [
        (await db.selectFrom('action_module_version').select('id').where('id', '=', version.id).execute()).length,
        (await db.selectFrom('data_key').select('id').where('id', '=', keyId).execute()).length,
      ];

      await api.call('DELETE', `/actions/${id}`);
      expect((await api.call('DELETE', `/modules/${moduleId}`)).status).toBe(204);
      await removeUnused(world.database, later);
      expect(await left()).toEqual([1, 1]);
      expect(await outputOf(deployed.id)).toEqual([`from ${name}`]);

      await db.deleteFrom('step').where('version_id', '=', deployed.id).execute();
      await removeUnused(world.database, later);
      expect(await left()).toEqual([0, 0]);
    });

    test('no value of a module\'s secret is in an answer or in an error', async () => {
      const canary = 'canary-4f0b77e1';
      const { id: moduleId } = await create({ code: `module.exports = () => { throw new Error('failed with ' + actions.secrets.KEY); };`, secrets: [{ name: 'KEY', value: canary }] });
      const answers = [await publish(moduleId), await api.call('GET', `/modules/${moduleId}`), await api.call('GET', `/modules/${moduleId}/versions`), await api.call('GET', '/modules?per_page=100')];
      for (const { status, text } of answers) {
        expect(status).toBe(200);
        expect(text).not.toContain(canary);
      }
      const { id } = await createAction({ modules: [{ module_id: moduleId }] });
      const { body: deployed } = await api.call('POST', `/actions/${id}/deploy`);
      expect(await outputOf(deployed.id)).toEqual([`failed with [secret ${name}.KEY]`]);
    });
  });
});
