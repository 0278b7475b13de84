import { readFile, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { Builder } from '../../src/builds/builder.ts';
import { type ActionsWorld, type Api, built, describeOnEachStore, serve, stepFor, until } from '../builds/harness.ts';

const NANOS = expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z$/);
const UUID = expect.stringMatching(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
const POST_TRIGGER = [{ id: 'post-user-registration', version: 'v2' }];
const CODE = 'exports.onExecutePostUserRegistration = async () => {};';

const badRequest = (message: unknown, errorCode?: string) => ({
  status: 400,
  body: { statusCode: 400, error: 'Bad Request', message, ...(errorCode === undefined ? {} : { errorCode }) },
});

const invalid = (text: string) => badRequest(`Payload validation error: ${text}.`, 'invalid_body');

const notFound = { status: 404, body: { statusCode: 404, error: 'Not Found', message: 'That action does not exist.' } };

const UNKNOWN = '00000000-0000-7000-8000-000000000000';

const refused = (scope: string) => ({
  status: 403,
  body: { statusCode: 403, error: 'Forbidden', message: `Insufficient scope, expected any of: ${scope}`, errorCode: 'insufficient_scope' },
});

describeOnEachStore('Actions', (newWorld, dialect) => {
  let world: ActionsWorld;
  let builder: Builder;
  let api: Api;
  let names = 0;

  beforeAll(async () => {
    world = await newWorld();
    builder = world.newBuilder({ alone: true });
    await builder.start();
    api = await serve(world, builder);
  });
  afterAll(async () => {
    await api.close();
    await world.close();
  });
  beforeEach(() => {
    names++;
  });

  const body = (over: object = {}) => ({ name: `Action ${names}`, supported_triggers: POST_TRIGGER, code: CODE, ...over });

  async function create(over: object = {}) {
    const answer = await api.call('POST', '/actions', body(over));
    expect(answer.status).toBe(201);
    await built(world, answer.body.id);
    return answer.body;
  }

  describe('create and read', () => {
    test('a new Action is answered as on the wire: pending, nothing deployed, no secret value', async () => {
      const { status, body: created } = await api.call('POST', '/actions', body({ secrets: [{ name: 'KEY', value: 'hidden' }] }));
      expect(status).toBe(201);
      expect(created).toEqual({
        id: UUID,
        name: `Action ${names}`,
        supported_triggers: POST_TRIGGER,
        created_at: NANOS,
        updated_at: NANOS,
        code: CODE,
        dependencies: [],
        runtime: 'node22',
        status: 'pending',
        secrets: [{ name: 'KEY', updated_at: NANOS }],
        all_changes_deployed: false,
      });
      await built(world, created.id);
      const read = await api.call('GET', `/actions/${created.id}`);
      expect(read).toMatchObject({ status: 200, body: { ...created, status: 'built' } });
    });

    test('with `deploy: true` the version is announced at once, and deployed when it is built', async () => {
      const { body: created } = await api.call('POST', '/actions', body({ deploy: true }));
      expect(created).toMatchObject({
        all_changes_deployed: true,
        current_version: { status: 'PENDING', number: 1 },
        deployed_version: { deployed: true, number: 1, status: 'pending' },
      });
      const read = await until(() => api.call('GET', `/actions/${created.id}`), (answer) => answer.body.status === 'built');
      expect(read.body).toMatchObject({
        all_changes_deployed: true,
        deployed_version: { id: created.deployed_version.id, deployed: true, number: 1, status: 'built', built_at: NANOS },
      });
    });

    test('a build that failed says why', async () => {
      const { id } = await create({ code: 'not code' });
      const { body: read } = await api.call('GET', `/actions/${id}`);
      expect(read).toMatchObject({ status: 'failed', usher: { build_errors: [{ id: 'invalid_code', msg: expect.stringContaining('SyntaxError'), url: '' }] } });
    });

    test('with `deploy: true` a draft that cannot be built is not deployed, and its version says why', async () => {
      const { id } = await create({ code: 'not code', deploy: true });
      const { body: read } = await api.call('GET', `/actions/${id}`);
      const errors = [{ id: 'invalid_code', msg: expect.stringContaining('SyntaxError'), url: '' }];
      expect(read).toMatchObject({ status: 'failed', all_changes_deployed: false, deployed_version: { deployed: false, status: 'failed', errors }, usher: { build_errors: errors } });
    });

    test.each([
      ['post-login', 'v3', 'node22'],
      ['credentials-exchange', 'v2', 'node18-actions'],
      ['post-login', 'v1', 'node12'],
      ['event-stream', 'v1', 'node22'],
      ['post-user-registration', 'v1', 'node18'],
    ])('an Action of %s %s does not run here, and is kept, built, deployed and marked all the same', async (id, version, runtime) => {
      const trigger = { id, version };
      const dependencies = [{ name: 'in-no-registry-of-ours', version: '1.0.0' }];
      const created = await create({ supported_triggers: [{ ...trigger, status: 'CURRENT', runtimes: [runtime] }], runtime, dependencies, code: 'not code' });
      expect(created).toMatchObject({ supported_triggers: [trigger], usher: { runs_here: false } });
      expect((await api.call('POST', `/actions/${created.id}/deploy`)).status).toBe(200);
      const { body: read } = await api.call('GET', `/actions/${created.id}`);
      expect(read).toMatchObject({ status: 'built', runtime, dependencies, code: 'not code', all_changes_deployed: true, usher: { runs_here: false } });
      expect((await api.call('GET', '/actions?per_page=100')).body.actions.find((action: { id: string }) => action.id === created.id)).toEqual(read);
    });

    test('the address of the public registry, as clients send it, is taken and means nothing', async () => {
      const dependencies = [{ name: 'd', version: '1', registry_url: 'https://www.npmjs.com/package/d' }];
      const created = await create({ supported_triggers: [{ id: 'post-login', version: 'v3' }], dependencies });
      expect(created.dependencies).toEqual([{ name: 'd', version: '1' }]);
    });

    test('a name is taken whatever its case, and free again after a deletion', async () => {
      const { id, name } = await create();
      const taken = { status: 409, body: { statusCode: 409, error: 'Conflict', message: `An action with the name '${name.toUpperCase()}' already exists.` } };
      expect(await api.call('POST', '/actions', body({ name: name.toUpperCase() }))).toMatchObject(taken);
      const other = await create({ name: `Other ${names}` });
      expect(await api.call('PATCH', `/actions/${other.id}`, { name: name.toUpperCase() })).toMatchObject(taken);
      expect((await api.call('DELETE', `/actions/${id}`)).status).toBe(204);
      expect((await api.call('POST', '/actions', body())).status).toBe(201);
    });

    test.each([
      ['no name', { name: undefined }, "'Missing required property: name'"],
      ['an empty name', { name: '' }, "'String is too short (0 chars), minimum 1' on property name"],
      ['a name of blanks', { name: '  ' }, "'String does not match pattern: \\S' on property name"],
      ['no trigger', { supported_triggers: [] }, "'Array is too short (0), minimum 1' on property supported_triggers"],
      ['two triggers', { supported_triggers: [...POST_TRIGGER, ...POST_TRIGGER] }, "'Array is too long (2), maximum 1' on property supported_triggers"],
      ['an unknown trigger', { supported_triggers: [{ id: 'pre-login' }] }, "'No enum match for: pre-login' on property supported_triggers[0].id"],
      ['an unknown property', { colour: 'red' }, "'Additional properties not allowed: colour'"],
      ['4 modules', { modules: Array.from({ length: 4 }, () => ({ module_id: 'x' })) }, "'Array is too long (4), maximum 3' on property modules"],
      ['code above 100 kB', { code: 'é'.repeat(51_201) }, "'Code is larger than 100 kB' on property code"],
      ['31 secrets', { secrets: Array.from({ length: 31 }, (_, i) => ({ name: `S${i}`, value: 'v' })) }, "'Array is too long (31), maximum 30' on property secrets"],
      ['a secret name of 129 characters', { secrets: [{ name: 'n'.repeat(129), value: 'v' }] }, "'String is too long (129 chars), maximum 128' on property secrets[0].name"],
      ['a secret value of 4097 characters', { secrets: [{ name: 'n', value: 'v'.repeat(4097) }] }, "'String is too long (4097 chars), maximum 4096' on property secrets[0].value"],
      ['a secret twice', { secrets: [{ name: 'n', value: 'v' }, { name: 'n', value: 'w' }] }, "'A secret is named twice' on property secrets"],
      ['11 dependencies', { dependencies: Array.from({ length: 11 }, (_, i) => ({ name: `d${i}`, version: '1.0.0' })) }, "'Array is too long (11), maximum 10' on property dependencies"],
      [
        'a private registry',
        { dependencies: [{ name: 'd', version: '1', registry_url: 'https://r.test' }] },
        String.raw`'String does not match pattern: ^(https:\/\/(registry\.npmjs\.org|www\.npmjs\.com)(\/.*)?)?$' on property dependencies[0].registry_url`,
      ],
    ])('%s is refused in the words of Auth0', async (_what, over, text) => {
      expect(await api.call('POST', '/actions', body(over))).toMatchObject(invalid(text));
    });

    test('what is at the limits is taken', async () => {
      const created = await create({
        code: '/'.repeat(102_400),
        secrets: Array.from({ length: 30 }, (_, i) => ({ name: String(i).padStart(128, 'n'), value: 'v'.repeat(4096) })),
      });
      expect(created.secrets).toHaveLength(30);
    });

    test('a runtime or a version that the trigger does not have is refused with what there is', async () => {
      const unsupported = badRequest('runtime not supported for version v2 of this trigger, supported runtimes: node18-actions, node22');
      expect(await api.call('POST', '/actions', body({ runtime: 'node12' }))).toMatchObject(unsupported);
      expect(await api.call('POST', '/actions', body({ supported_triggers: [{ id: 'post-login', version: 'v3' }], runtime: 'deno' }))).toMatchObject(
        badRequest('runtime not supported for version v3 of this trigger, supported runtimes: node18-actions, node22, node12, node16, node18'),
      );
      expect(await api.call('POST', '/actions', body({ supported_triggers: [{ id: 'post-user-registration', version: 'v3' }] }))).toMatchObject(
        badRequest('version v3 of trigger post-user-registration is not supported, supported versions: v2, v1'),
      );
      const { id } = await create();
      expect(await api.call('PATCH', `/actions/${id}`, { runtime: 'node12' })).toMatchObject(unsupported);
    });

    test('an Action that is not there is 404 on every path, a malformed id is 400', async () => {
      for (const [method, path] of [
        ['GET', ''], ['PATCH', ''], ['DELETE', ''], ['POST', '/deploy'], ['GET', '/versions'], ['GET', `/versions/${UNKNOWN}`], ['POST', `/versions/${UNKNOWN}/deploy`],
      ] as const) {
        expect(await api.call(method, `/actions/${UNKNOWN}${path}`), `${method} ${path}`).toMatchObject(notFound);
      }
      expect(await api.call('GET', '/actions/a%20b')).toMatchObject({ status: 400, body: { errorCode: 'invalid_uri' } });
    });
  });

  describe('change', () => {
    test('a change makes the draft pending, and what is deployed stays', async () => {
      const { id } = await create();
      await api.call('POST', `/actions/${id}/deploy`);
      const { status, body: changed } = await api.call('PATCH', `/actions/${id}`, { code: 'exports.x = 1;', runtime: 'node18-actions' });
      expect(status).toBe(200);
      expect(changed).toMatchObject({
        code: 'exports.x = 1;',
        runtime: 'node18-actions',
        status: 'pending',
        all_changes_deployed: false,
        deployed_version: { code: CODE, number: 1 },
      });
      expect((await built(world, id)).status).toBe('built');
    });

    test('sending again what is there already leaves everything deployed', async () => {
      const { id, name } = await create({ secrets: [{ name: 'KEY', value: 'same' }] });
      await api.call('POST', `/actions/${id}/deploy`);
      const secrets = [{ name: 'KEY', value: 'same' }];
      await api.call('PATCH', `/actions/${id}`, { name, supported_triggers: POST_TRIGGER, code: CODE, runtime: 'node22', dependencies: [], secrets });
      await built(world, id);
      expect((await api.call('GET', `/actions/${id}`)).body).toMatchObject({ status: 'built', all_changes_deployed: true });
    });

    test('an Action cannot move to another trigger', async () => {
      const { id } = await create();
      expect(await api.call('PATCH', `/actions/${id}`, { supported_triggers: [{ id: 'pre-user-registration', version: 'v2' }] })).toMatchObject(
        badRequest("can't upgrade to this trigger."),
      );
    });

    test('deploying a draft that is not built is refused in the words that Auth0\'s tools look for', async () => {
      const { id } = await create({ code: 'not code' });
      expect(await api.call('POST', `/actions/${id}/deploy`)).toMatchObject(badRequest("A draft must be in the 'built' state before it can be deployed."));
    });
  });

  async function valuesOf(id: string) {
    const { body: deployed } = await api.call('POST', `/actions/${id}/deploy`);
    return (await world.newVersionCache().load(deployed.id)).secrets;
  }

  describe('secrets', () => {
    test('the array replaces all secrets; one without a value keeps the stored one', async () => {
      const created = await create({ secrets: [{ name: 'KEEP', value: 'kept' }, { name: 'DROP', value: 'dropped' }] });
      const { body: changed } = await api.call('PATCH', `/actions/${created.id}`, { secrets: [{ name: 'KEEP' }, { name: 'NEW', value: 'new' }] });
      expect(changed.secrets).toEqual([{ name: 'KEEP', updated_at: NANOS }, { name: 'NEW', updated_at: NANOS }]);
      expect(changed.secrets[0].updated_at).toBe(changed.secrets[1].updated_at);
      expect(changed.secrets[0].updated_at > created.secrets[0].updated_at).toBe(true);
      await built(world, created.id);
      expect(await valuesOf(created.id)).toEqual({ KEEP: 'kept', NEW: 'new' });
    });

    test('a change that does not speak of secrets keeps them, an empty array clears them', async () => {
      const { id, secrets } = await create({ secrets: [{ name: 'KEY', value: 'v' }] });
      expect((await api.call('PATCH', `/actions/${id}`, { code: CODE })).body.secrets).toEqual(secrets);
      expect((await api.call('PATCH', `/actions/${id}`, { secrets: [] })).body.secrets).toEqual([]);
      await built(world, id);
      expect(await valuesOf(id)).toEqual({});
    });

    test('a secret without a value, under a name that is not stored, is refused', async () => {
      const message = 'The secret KEY needs a value: none is stored under this name. An export of the deploy CLI has no values: add them.';
      expect(await api.call('POST', '/actions', body({ secrets: [{ name: 'KEY' }] }))).toMatchObject(badRequest(message, 'invalid_body'));
      const { id } = await create();
      expect(await api.call('PATCH', `/actions/${id}`, { secrets: [{ name: 'KEY' }] })).toMatchObject(badRequest(message, 'invalid_body'));
    });

    test('of an Action that does not run here are kept by their names, as an export has them, until it is to run', async () => {
      const message = 'The secret KEY needs a value: none is stored under this name. An export of the deploy CLI has no values: add them.';
      const { id, secrets } = await create({ supported_triggers: [{ id: 'post-login', version: 'v3' }], secrets: [{ name: 'KEY' }, { name: 'OTHER', value: 'v' }] });
      expect(secrets).toEqual([{ name: 'KEY', updated_at: NANOS }, { name: 'OTHER', updated_at: NANOS }]);
      expect((await api.call('PATCH', `/actions/${id}`, { secrets: [{ name: 'KEY' }, { name: 'OTHER' }] })).body.secrets).toEqual(secrets);
      await built(world, id);
      expect((await api.call('POST', `/actions/${id}/deploy`)).body.secrets).toEqual(secrets);

      const old = await create({ name: 'Of an old version', supported_triggers: [{ id: 'post-user-registration', version: 'v1' }], secrets: [{ name: 'KEY' }] });
      const toRun = { supported_triggers: POST_TRIGGER };
      expect(await api.call('PATCH', `/actions/${old.id}`, toRun)).toMatchObject(badRequest(message, 'invalid_body'));
      expect((await api.call('PATCH', `/actions/${old.id}`, { ...toRun, secrets: [{ name: 'KEY', value: 'now' }] })).status).toBe(200);
      await built(world, old.id);
      expect(await valuesOf(old.id)).toEqual({ KEY: 'now' });
    });

    test('a version keeps the secrets that it was deployed with', async () => {
      const { id } = await create({ secrets: [{ name: 'KEY', value: 'one' }] });
      const { body: first } = await api.call('POST', `/actions/${id}/deploy`);
      await api.call('PATCH', `/actions/${id}`, { secrets: [{ name: 'KEY', value: 'two' }] });
      await built(world, id);
      expect(await valuesOf(id)).toEqual({ KEY: 'two' });
      expect((await world.newVersionCache().load(first.id)).secrets).toEqual({ KEY: 'one' });
    });

    test.runIf(dialect === 'sqlite')('a value is in no answer, in no log and in no file', async () => {
      const canary = 'canary-8d1f0c55';
      const { id } = await create({ secrets: [{ name: '__proto__', value: canary }] });
      const answers = [
        await api.call('PATCH', `/actions/${id}`, { secrets: [{ name: '__proto__', value: `${canary}-2` }] }),
        await built(world, id).then(() => api.call('POST', `/actions/${id}/deploy`)),
        await api.call('GET', `/actions/${id}`),
        await api.call('GET', '/actions?per_page=100'),
        await api.call('GET', `/actions/${id}/versions`),
        await api.call('PATCH', `/actions/${id}`, { secrets: [{ name: '__proto__', value: canary }, { name: 'X', value: [canary] }] }),
      ];
      expect(answers.map(({ status }) => status)).toEqual([200, 200, 200, 200, 200, 400]);
      const files = (await readdir(world.dataDir)).filter((name) => name.startsWith('usher.db'));
      expect(files).toContain('usher.db-wal');
      const contents = await Promise.all(files.map((name) => readFile(join(world.dataDir, name), 'latin1')));
      for (const text of [...answers.map((answer) => answer.text), ...contents, JSON.stringify(world.logs)]) expect(text).not.toContain(canary);
      // The files are the right ones: what is not secret is in them.
      expect(contents.join('')).toContain(id);
    });
  });

  describe('versions', () => {
    test('a deploy answers with the new version, not yet marked as deployed; the next read shows it', async () => {
      const { id, name, created_at } = await create({ secrets: [{ name: 'KEY', value: 'v' }] });
      const { status, body: deployed } = await api.call('POST', `/actions/${id}/deploy`);
      expect(status).toBe(200);
      expect(deployed).toEqual({
        code: CODE,
        dependencies: [],
        id: UUID,
        deployed: false,
        number: 1,
        secrets: [{ name: 'KEY', updated_at: NANOS }],
        status: 'built',
        created_at: NANOS,
        updated_at: NANOS,
        runtime: 'node22',
        supported_triggers: POST_TRIGGER,
        action: { id, name, supported_triggers: POST_TRIGGER, created_at, updated_at: NANOS, all_changes_deployed: false },
      });
      const { created_at: versionCreatedAt } = deployed;
      const { body: read } = await api.call('GET', `/actions/${id}`);
      expect(read.all_changes_deployed).toBe(true);
      expect(read.current_version).toEqual({
        id: deployed.id, code: CODE, runtime: 'node22', status: 'BUILT', number: 1, build_time: NANOS, created_at: versionCreatedAt, updated_at: NANOS,
      });
      const { action: _action, ...rest } = deployed;
      expect(read.deployed_version).toEqual({ ...rest, deployed: true, built_at: NANOS });
      expect((await api.call('GET', `/actions/${id}/versions?per_page=50`)).body).toEqual({
        versions: [{ ...rest, deployed: true, built_at: NANOS, action: { ...deployed.action, all_changes_deployed: true } }],
        total: 1,
        per_page: 50,
      });
    });

    test('deploying an older version makes a new one of its content; the draft follows only when asked to', async () => {
      const { id } = await create({ code: 'exports.one = 1;', secrets: [{ name: 'KEY', value: 'one' }] });
      const { body: one } = await api.call('POST', `/actions/${id}/deploy`);
      await api.call('PATCH', `/actions/${id}`, { code: 'exports.two = 2;', secrets: [{ name: 'KEY', value: 'two' }] });
      await built(world, id);
      await api.call('POST', `/actions/${id}/deploy`);

      const back = await api.call('POST', `/actions/${id}/versions/${one.id}/deploy`, null);
      expect(back).toMatchObject({ status: 200, body: { number: 3, code: 'exports.one = 1;', deployed: false, status: 'built' } });
      expect(back.body.id).not.toBe(one.id);
      expect((await world.newVersionCache().load(back.body.id)).secrets).toEqual({ KEY: 'one' });
      expect((await api.call('GET', `/actions/${id}`)).body).toMatchObject({
        code: 'exports.two = 2;',
        all_changes_deployed: false,
        deployed_version: { id: back.body.id, number: 3 },
      });
      const { body: listed } = await api.call('GET', `/actions/${id}/versions`);
      expect(listed.versions.map((version: { number: number; deployed: boolean }) => [version.number, version.deployed])).toEqual([[3, true], [2, false], [1, false]]);

      await api.call('POST', `/actions/${id}/versions/${one.id}/deploy`, { update_draft: true });
      expect((await api.call('GET', `/actions/${id}`)).body).toMatchObject({ code: 'exports.one = 1;', status: 'built', all_changes_deployed: true });
      expect((await api.call('GET', `/actions/${id}/versions/${one.id}`)).body).toMatchObject({ id: one.id, number: 1, deployed: false });
    });

    test('a version is found only below its own Action', async () => {
      const { id } = await create();
      const { body: version } = await api.call('POST', `/actions/${id}/deploy`);
      const other = await create({ name: `Other ${names}` });
      expect((await api.call('GET', `/actions/${other.id}/versions/${version.id}`)).status).toBe(404);
      expect((await api.call('POST', `/actions/${other.id}/versions/${version.id}/deploy`)).status).toBe(404);
    });

    test('above 50 versions the oldest goes, unless a step needs it', async () => {
      const { id } = await create();
      const deploy = async () => (await api.call('POST', `/actions/${id}/deploy`)).body;
      const first = await deploy();
      const second = await deploy();
      await stepFor(world, first.id);
      for (let number = 3; number <= 52; number++) await deploy();
      const { body: listed } = await api.call('GET', `/actions/${id}/versions?per_page=100`);
      const kept = listed.versions.map((version: { number: number }) => version.number);
      expect(kept).toHaveLength(51);
      expect(kept).toContain(1);
      expect(kept).not.toContain(2);
      expect((await api.call('GET', `/actions/${id}/versions/${second.id}`)).status).toBe(404);
    });
  });

  describe('list', () => {
    let listing: Api;
    let other: ActionsWorld;
    let ids: string[];
    beforeAll(async () => {
      other = await newWorld();
      const itsBuilder = other.newBuilder();
      await itsBuilder.start();
      listing = await serve(other, itsBuilder);
      ids = [];
      for (const [name, trigger] of [['One', 'post-user-registration'], ['Two', 'pre-user-registration'], ['Three', 'post-login']]) {
        const { body: created } = await listing.call('POST', '/actions', { name, supported_triggers: [{ id: trigger }] });
        await built(other, created.id);
        ids.push(created.id);
      }
      await listing.call('POST', `/actions/${ids[1]}/deploy`);
    });
    afterAll(async () => {
      await listing.close();
      await other.close();
    });

    test.each([
      ['', ['One', 'Two', 'Three']],
      ['?triggerId=pre-user-registration', ['Two']],
      ['?actionName=Three', ['Three']],
      ['?deployed=true', ['Two']],
      ['?deployed=false', ['One', 'Three']],
      ['?installed=true', []],
      ['?installed=false&deployed=true', ['Two']],
      ['?actionName=None', []],
    ])('GET /actions%s', async (query, expected) => {
      const { body: listed } = await listing.call('GET', `/actions${query}`);
      expect(listed.actions.map((action: { name: string }) => action.name)).toEqual(expected);
    });

    async function pageOf(query: string) {
      const { body: listed } = await listing.call('GET', `/actions${query}`);
      const { actions, ...rest } = listed;
      return { ...rest, names: actions.map((action: { name: string }) => action.name) };
    }

    test('`page` and `total` are left out when they are 0, and `total` also behind the last page', async () => {
      expect(await pageOf('?per_page=2&page=0')).toEqual({ total: 3, per_page: 2, names: ['One', 'Two'] });
      expect(await pageOf('?per_page=2&page=1')).toEqual({ total: 3, page: 1, per_page: 2, names: ['Three'] });
      expect(await pageOf('?per_page=2&page=2')).toEqual({ page: 2, per_page: 2, names: [] });
      expect(await pageOf('?actionName=None')).toEqual({ per_page: 20, names: [] });
    });

    test.each([
      ['include_totals=true', "'Additional properties not allowed: include_totals'"],
      ['per_page=0', "'Value 0 is less than minimum 1' on property per_page"],
      ['per_page=x', "'Expected type number but found type string' on property per_page"],
      ['deployed=yes', "'No enum match for: yes' on property deployed"],
    ])('?%s is refused', async (query, text) => {
      expect(await listing.call('GET', `/actions?${query}`)).toMatchObject(badRequest(`Query validation error: ${text}.`, 'invalid_query_string'));
    });

    test('the hundredth Action is the last', async () => {
      for (let i = 4; i <= 100; i++) await other.actions.create({ name: `${i}`, trigger: { id: 'post-login', version: 'v3' }, code: '', runtime: 'node22', dependencies: [], secrets: [], modules: [] }, { deploy: false });
      expect(await listing.call('POST', '/actions', body())).toMatchObject(badRequest('There can be at most 100 actions: delete one that is not needed.'));
    });
  });

  test('all triggers are listed, those that run here with the rows of Auth0', async () => {
    const { status, body: answer } = await api.call('GET', '/triggers');
    expect(status).toBe(200);
    const rowsOf = (id: string) => answer.triggers.filter((row: { id: string }) => row.id === id);
    const always = { binding_policy: 'trigger-bound', compatible_triggers: [] };
    const current = { version: 'v2', status: 'CURRENT', runtimes: ['node18-actions', 'node22'], default_runtime: 'node22', ...always };
    const deprecated = { version: 'v1', status: 'DEPRECATED', runtimes: ['node22'], default_runtime: 'node12', ...always };
    for (const id of ['post-user-registration', 'pre-user-registration']) expect(rowsOf(id)).toEqual([{ id, ...current }, { id, ...deprecated }]);
    expect(rowsOf('post-login').map((row: { version: string; status: string }) => [row.version, row.status])).toEqual([['v3', 'CURRENT'], ['v2', 'DEPRECATED'], ['v1', 'DEPRECATED']]);
    const ids = new Set(answer.triggers.map((row: { id: string }) => row.id));
    // What the deploy CLI knows, and so exports.
    for (const id of ['credentials-exchange', 'post-change-password', 'send-phone-message', 'password-reset-post-challenge', 'custom-token-exchange', 'login-post-identifier', 'signup-post-identifier']) expect(ids).toContain(id);
  });

  test('each path wants its scope', async () => {
    const readOnly = await api.withScopes(['read:actions']);
    const writeOnly = await api.withScopes(['create:actions', 'update:actions', 'delete:actions']);
    for (const [method, path, scope] of [
      ['POST', '/actions', 'create:actions'],
      ['PATCH', `/actions/${UNKNOWN}`, 'update:actions'],
      ['DELETE', `/actions/${UNKNOWN}`, 'delete:actions'],
      ['POST', `/actions/${UNKNOWN}/deploy`, 'create:actions'],
      ['POST', `/actions/${UNKNOWN}/versions/${UNKNOWN}/deploy`, 'create:actions'],
      ['PATCH', '/triggers/post-user-registration/bindings', 'update:actions'],
    ] as const) expect(await readOnly.call(method, path), path).toMatchObject(refused(scope));
    for (const path of ['/actions', `/actions/${UNKNOWN}`, `/actions/${UNKNOWN}/versions`, `/actions/${UNKNOWN}/versions/${UNKNOWN}`, '/triggers', '/triggers/post-user-registration/bindings']) {
      expect(await writeOnly.call('GET', path), path).toMatchObject(refused('read:actions'));
    }
  });
});
