import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { DEFAULT_STEP_POLICY } from '../../src/domain/policy.ts';
import { loadBoundActions } from '../../src/store/bindings.ts';
import { removeUnused } from '../../src/store/unused.ts';
import { type ActionsWorld, type Api, built, describeOnEachStore, serve, stepFor } from '../builds/harness.ts';

const POST = 'post-user-registration';
const PRE = 'pre-user-registration';
const NANOS = expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z$/);

const byId = ({ id }: { id: string }, more: object = {}) => ({ ref: { type: 'action_id', value: id }, ...more });

const refused = (message: unknown) => ({ status: 400, body: { statusCode: 400, error: 'Bad Request', message } });

describeOnEachStore('bindings', (newWorld) => {
  let world: ActionsWorld;
  let api: Api;

  beforeAll(async () => {
    world = await newWorld();
    const builder = world.newBuilder();
    await builder.start();
    api = await serve(world, builder);
  });
  afterAll(async () => {
    await api.close();
    await world.close();
  });
  beforeEach(async () => {
    for (const trigger of [POST, PRE]) expect((await bind(trigger, [])).status).toBe(200);
  });

  let made = 0;

  async function action(trigger = POST, { deployed = true, ...more }: { deployed?: boolean; [field: string]: unknown } = {}): Promise<{ id: string; name: string; versionId: string }> {
    const { body } = await api.call('POST', '/actions', { name: `Bound ${made++}`, supported_triggers: [{ id: trigger }], ...more });
    await built(world, body.id);
    const versionId = deployed ? (await api.call('POST', `/actions/${body.id}/deploy`)).body.id : '';
    return { id: body.id, name: body.name, versionId };
  }

  const bind = (trigger: string, bindings: object[]) => api.call('PATCH', `/triggers/${trigger}/bindings`, { bindings });
  const namesBound = async (trigger = POST) => (await loadBoundActions(trigger as 'post-user-registration', world.database.db)).map((bound) => bound.actionName);

  test('a binding is answered as on the wire: the Action\'s versions, not its draft, and our settings beside', async () => {
    const { id, name, versionId } = await action();
    const { status, body } = await bind(POST, [byId({ id }, { display_name: 'Shown' })]);
    expect(status).toBe(200);
    const supported_triggers = [{ id: POST, version: 'v2' }];
    const version = { id: versionId, code: '', runtime: 'node22', number: 1, created_at: NANOS, updated_at: NANOS };
    const expected = {
      id: expect.any(String),
      trigger_id: POST,
      action: {
        id,
        name,
        supported_triggers,
        created_at: NANOS,
        updated_at: NANOS,
        current_version: { ...version, status: 'BUILT', build_time: NANOS },
        deployed_version: { ...version, deployed: true, status: 'built', built_at: NANOS, dependencies: [], secrets: [], supported_triggers },
        all_changes_deployed: false,
      },
      created_at: NANOS,
      updated_at: NANOS,
      display_name: 'Shown',
      usher: expect.objectContaining({ on_failure: 'continue' }),
    };
    expect(body).toEqual({ bindings: [expected] });
    expect((await api.call('GET', `/triggers/${POST}/bindings?page=0&per_page=50`)).body).toEqual({ bindings: [expected], total: 1, per_page: 50 });
  });

  test('the array replaces all bindings, its order is the order of execution, and [] unbinds all', async () => {
    const [a, b, c] = [await action(), await action(), await action()];
    await bind(POST, [byId(a), { ref: { type: 'action_name', value: b.name } }]);
    expect(await namesBound()).toEqual([a.name, b.name]);
    await bind(POST, [byId(c), byId(b), byId(a)]);
    expect(await namesBound()).toEqual([c.name, b.name, a.name]);
    await bind(POST, [byId(a)]);
    expect(await namesBound()).toEqual([a.name]);
    expect((await bind(POST, [])).body).toEqual({ bindings: [] });
    expect((await api.call('GET', `/triggers/${POST}/bindings`)).body).toEqual({ bindings: [], per_page: 20 });
  });

  test('an Action that stays bound keeps its binding\'s id, creation time, name and settings', async () => {
    const [a, b] = [await action(), await action()];
    const { body: before } = await bind(POST, [byId(a, { display_name: 'First', usher: { on_failure: 'wait' } }), byId(b)]);
    const { body: after } = await bind(POST, [byId(b), { ref: { type: 'binding_id', value: before.bindings[0].id } }]);
    expect(after.bindings[1]).toMatchObject({ id: before.bindings[0].id, created_at: before.bindings[0].created_at, display_name: 'First', usher: { on_failure: 'wait' } });
    expect(after.bindings[0].id).toBe(before.bindings[1].id);
    await bind(POST, [byId(b)]);
    const { body: again } = await bind(POST, [byId(b), byId(a)]);
    expect(again.bindings[1].id).not.toBe(before.bindings[0].id);
    expect(again.bindings[1]).toMatchObject({ display_name: a.name, usher: { on_failure: 'continue' } });
  });

  test('replaced by several callers at once, they lose no id, no setting and no secret', async () => {
    const [a, b] = [await action(), await action()];
    const { body: before } = await bind(POST, [byId(a, { usher: { on_failure: 'wait' }, secrets: [{ name: 'KEY', value: 'kept' }] }), byId(b, { display_name: 'Second' })]);
    const answers = await Promise.all([[a, b], [b, a], [a, b], [b, a], [a, b]].map((order) => bind(POST, order.map((each) => byId(each)))));
    const settings = ({ id, display_name, secrets, usher }: Record<string, unknown>) => ({ id, display_name, secrets, usher });
    const inOrderOfIds = (bindings: { id: string }[]) => bindings.map(settings).toSorted((x, y) => (String(x.id) < String(y.id) ? -1 : 1));
    for (const { status, body } of answers) {
      expect(status).toBe(200);
      expect(inOrderOfIds(body.bindings)).toEqual(inOrderOfIds(before.bindings));
    }
    const { body: after } = await api.call('GET', `/triggers/${POST}/bindings`);
    expect(inOrderOfIds(after.bindings)).toEqual(inOrderOfIds(before.bindings));
    const bound = (await loadBoundActions(POST, world.database.db)).find(({ actionId }) => actionId === a.id);
    expect((await world.newVersionCache().load(bound!.versionId, bound!.bindingSecretsId)).secrets).toEqual({ KEY: 'kept' });
  });

  test('replaced by two callers at once where nothing was bound, they are those of one of them', async () => {
    const [a, b] = [await action(), await action()];
    const answers = await Promise.all([a, b, a, b].map((each) => bind(POST, [byId(each)])));
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 200, 200]);
    expect([[a.name], [b.name]]).toContainEqual(await namesBound());
  });

  test('what is bound is given in order, with the deployed version and the settings of its binding', async () => {
    const [first, second] = [await action(PRE), await action(PRE)];
    const waiting = await action();
    const { body } = await bind(PRE, [byId(second), byId(first, { usher: { on_error: 'allow' } })]);
    await bind(POST, [byId(waiting, { usher: { on_failure: 'wait' } })]);
    const { body: redeployed } = await api.call('POST', `/actions/${first.id}/deploy`);
    expect(body.bindings.map((binding: { usher: unknown }) => binding.usher)).toEqual([{ on_error: 'deny' }, { on_error: 'allow' }]);
    const common = { policy: DEFAULT_STEP_POLICY };
    expect(await loadBoundActions(PRE, world.database.db)).toEqual([
      { ...common, bindingId: body.bindings[0].id, actionId: second.id, actionName: second.name, versionId: second.versionId, versionNumber: 1, bindingSecretsId: null, onError: 'deny' },
      { ...common, bindingId: body.bindings[1].id, actionId: first.id, actionName: first.name, versionId: redeployed.id, versionNumber: 2, bindingSecretsId: null, onError: 'allow' },
    ]);
    expect(await world.database.transaction((tx) => loadBoundActions(POST, tx))).toMatchObject([{ policy: { ...DEFAULT_STEP_POLICY, onFailure: 'wait' } }]);
  });

  test('20 Actions can be bound', async () => {
    const all = [];
    for (let i = 0; i < 20; i++) all.push(await action());
    expect((await bind(POST, all.map((each) => byId(each)))).status).toBe(200);
    expect(await namesBound()).toEqual(all.map(({ name }) => name));
  });

  test('Actions of triggers that do not run here are bound, listed in order, marked, and never given to be run', async () => {
    const [first, second] = [await action('post-login'), await action('post-login')];
    expect((await bind('post-login', [byId(second, { display_name: 'Second' }), byId(first)])).status).toBe(200);
    const { body: listed } = await api.call('GET', '/triggers/post-login/bindings?page=0&per_page=50');
    expect(listed).toMatchObject({ total: 2, bindings: [{ display_name: 'Second', action: { id: second.id }, usher: { runs_here: false } }, { action: { id: first.id } }] });
    await bind('post-login', []);

    const [old, current] = [await action(POST, { supported_triggers: [{ id: POST, version: 'v1' }] }), await action()];
    const { body } = await bind(POST, [byId(old), byId(current)]);
    expect(body.bindings).toMatchObject([{ usher: { runs_here: false } }, { usher: { on_failure: 'continue' } }]);
    expect(body.bindings[1].usher).not.toHaveProperty('runs_here');
    expect(await namesBound()).toEqual([current.name]);
  });

  describe('secrets of a binding', () => {
    const shared = { secrets: [{ name: 'SHARED', value: 'of the action' }, { name: 'OWN', value: 'of the action' }] };

    async function secretsOf(trigger: typeof POST | typeof PRE = POST): Promise<Record<string, string>> {
      const [bound] = await loadBoundActions(trigger, world.database.db);
      return (await world.newVersionCache().load(bound!.versionId, bound!.bindingSecretsId)).secrets;
    }

    test.each([POST, PRE] as const)('win over those of the Action, and are answered by name only (%s)', async (trigger) => {
      const bound = await action(trigger, shared);
      const answer = await bind(trigger, [byId(bound, { secrets: [{ name: 'OWN', value: 'of the binding' }] })]);
      expect(answer.body.bindings[0].secrets).toEqual([{ name: 'OWN', updated_at: NANOS }]);
      expect(answer.text).not.toContain('of the binding');
      expect((await api.call('GET', `/triggers/${trigger}/bindings`)).body.bindings).toEqual(answer.body.bindings);
      expect(await secretsOf(trigger)).toEqual({ SHARED: 'of the action', OWN: 'of the binding' });
    });

    test('are replaced as a set; one without a value keeps the stored one, none at all stays as it is, [] clears', async () => {
      const bound = await action(POST, shared);
      const replace = async (more: object) => (await bind(POST, [byId(bound, more)])).body.bindings[0];
      const first = await replace({ secrets: [{ name: 'A', value: '1' }, { name: 'B', value: '2' }] });
      expect((await replace({})).secrets).toEqual(first.secrets);
      expect((await replace({ secrets: [{ name: 'A' }, { name: 'B', value: '2' }] })).secrets).toEqual(first.secrets);
      const changed = await replace({ secrets: [{ name: 'B' }, { name: 'C', value: '3' }] });
      expect(changed.secrets.map(({ name }: { name: string }) => name)).toEqual(['B', 'C']);
      expect(changed.secrets[0].updated_at > first.secrets[0].updated_at).toBe(true);
      expect(await secretsOf()).toMatchObject({ B: '2', C: '3' });
      expect(await replace({ secrets: [] })).not.toHaveProperty('secrets');
      expect(await secretsOf()).toEqual({ SHARED: 'of the action', OWN: 'of the action' });
    });

    test('without a value, under a name that is not stored, are refused', async () => {
      const bound = await action();
      const message = 'The secret KEY needs a value: none is stored under this name. An export of the deploy CLI has no values: add them.';
      expect(await bind(POST, [byId(bound, { secrets: [{ name: 'KEY' }] })])).toMatchObject(refused(message));
      expect(await namesBound()).toEqual([]);
    });

    test('stay for the steps that were pinned to them, and go with their key when no binding and no step needs them', async () => {
      const { db } = world.database;
      const bound = await action();
      await bind(POST, [byId(bound, { secrets: [{ name: 'A', value: 'pinned' }] })]);
      const [{ bindingSecretsId: pinned } = { bindingSecretsId: null }] = await loadBoundActions(POST, db);
      const { key_id: keyId } = await db.selectFrom('binding_secrets').select('key_id').where('id', '=', pinned).executeTakeFirstOrThrow();
      await stepFor(world, bound.versionId);
      await db.updateTable('step').set({ binding_secrets_id: pinned }).where('version_id', '=', bound.versionId).execute();
      const left = async () => [
        (await db.selectFrom('binding_secrets').select('id').where('id', '=', pinned).execute()).length,
        (await db.selectFrom('data_key').select('id').where('id', '=', keyId).execute()).length,
      ];
      const hours = (n: number) => Date.now() + n * 60 * 60 * 1000;

      await removeUnused(world.database, hours(5));
      await bind(POST, [byId(bound, { secrets: [{ name: 'A', value: 'changed' }] })]);
      await removeUnused(world.database, hours(6));
      await removeUnused(world.database, hours(8));
      expect(await left()).toEqual([1, 1]);
      expect((await world.newVersionCache().load(bound.versionId, pinned)).secrets).toEqual({ A: 'pinned' });
      expect(await secretsOf()).toEqual({ A: 'changed' });

      await db.deleteFrom('step').where('version_id', '=', bound.versionId).execute();
      await removeUnused(world.database, hours(9));
      expect(await left()).toEqual([0, 0]);
      expect(await secretsOf()).toEqual({ A: 'changed' });
    });

    test('that were let go a moment ago stay: a registration that commits just now may have taken them up', async () => {
      const bound = await action();
      await bind(POST, [byId(bound, { secrets: [{ name: 'A', value: 'v' }] })]);
      const [{ bindingSecretsId: id } = { bindingSecretsId: null }] = await loadBoundActions(POST, world.database.db);
      await bind(POST, []);
      await removeUnused(world.database);
      await removeUnused(world.database);
      expect((await world.newVersionCache().load(bound.versionId, id)).secrets).toEqual({ A: 'v' });
    });

    test('that are not in the store stop the run with what is missing', async () => {
      const { versionId } = await action();
      await expect(world.newVersionCache().load(versionId, 'gone')).rejects.toThrow(/the secrets of its binding \(gone\) are not in the store/);
    });
  });

  describe('refused, and nothing is changed', () => {
    let bound: Awaited<ReturnType<typeof action>>;
    beforeEach(async () => {
      bound = await action();
      await bind(POST, [byId(bound)]);
    });

    test('an Action that was never deployed', async () => {
      const answer = await bind(POST, [byId(await action(POST, { deployed: false }))]);
      expect(answer).toMatchObject(refused('Trying to create a binding for an action that has not been deployed yet'));
      expect(await namesBound()).toEqual([bound.name]);
    });

    test('an Action of another trigger', async () => {
      const other = await action(PRE);
      expect(await bind(POST, [byId(other)])).toMatchObject(refused(`The action '${other.name}' is for the trigger ${PRE} and cannot be bound to ${POST}.`));
      expect(await namesBound()).toEqual([bound.name]);
    });

    test('what does not exist', async () => {
      for (const type of ['action_id', 'action_name']) expect(await bind(POST, [{ ref: { type, value: 'none' } }])).toMatchObject(refused("The action 'none' does not exist."));
      expect(await bind(POST, [{ ref: { type: 'binding_id', value: 'none' } }])).toMatchObject(refused("The binding 'none' does not exist."));
      expect(await namesBound()).toEqual([bound.name]);
    });

    test('an Action twice', async () => {
      expect(await bind(POST, [byId(bound), byId(bound)])).toMatchObject(refused(`The action '${bound.name}' is bound more than once.`));
    });

    test('more than 20', async () => {
      expect(await bind(POST, Array.from({ length: 21 }, () => byId(bound)))).toMatchObject(refused("Payload validation error: 'Array is too long (21), maximum 20' on property bindings."));
      expect(await namesBound()).toEqual([bound.name]);
    });

    test('a setting that does nothing for the trigger', async () => {
      expect(await bind(POST, [byId(bound, { usher: { on_error: 'allow' } })])).toMatchObject(refused(`usher.on_error is a setting of ${PRE} and does nothing for ${POST}.`));
      expect(await bind(PRE, [byId(bound, { usher: { on_failure: 'wait' } })])).toMatchObject(refused(`usher.on_failure is a setting of ${POST} and does nothing for ${PRE}.`));
    });

    test.each([
      ['an unknown property', [{ ref: { type: 'action_id', value: 'x' }, extra: 1 }], "'Additional properties not allowed: extra' on property bindings[0]"],
      ['no ref', [{}], "'Missing required property: ref' on property bindings[0]"],
      ['an unknown kind of ref', [{ ref: { type: 'id', value: 'x' } }], "'No enum match for: id' on property bindings[0].ref.type"],
      ['a secret twice', [{ ref: { type: 'action_id', value: 'x' }, secrets: [{ name: 'a', value: 'b' }, { name: 'a', value: 'c' }] }], "'A secret is named twice' on property bindings[0].secrets"],
    ])('%s', async (_what, bindings, text) => {
      expect(await bind(POST, bindings)).toMatchObject(refused(`Payload validation error: ${text}.`));
    });

    test('a trigger that Auth0 does not have', async () => {
      expect(await bind('pre-login', [])).toMatchObject({ status: 400, body: { errorCode: 'invalid_uri', message: "Path validation error: 'No enum match for: pre-login' on property triggerId." } });
    });
  });

  describe('a bound Action', () => {
    test('is deleted only with `force`, which unbinds it', async () => {
      const [a, b] = [await action(), await action()];
      await bind(POST, [byId(a), byId(b)]);
      const conflict = { status: 409, body: { statusCode: 409, error: 'Conflict', message: 'Unable to delete an action bound to a trigger.' } };
      expect(await api.call('DELETE', `/actions/${a.id}`)).toMatchObject(conflict);
      expect(await api.call('DELETE', `/actions/${a.id}?force=false`)).toMatchObject(conflict);
      expect(await namesBound()).toEqual([a.name, b.name]);
      expect(await api.call('DELETE', `/actions/${a.id}?force=true`)).toMatchObject({ status: 204, text: '' });
      expect(await namesBound()).toEqual([b.name]);
      expect((await api.call('GET', `/actions/${a.id}`)).status).toBe(404);
    });

    test('keeps its versions for the steps that need them after its deletion, and loses them and its secrets when none does', async () => {
      const { db } = world.database;
      const { id, versionId } = await action();
      await api.call('DELETE', `/actions/${id}`);
      const { key_id: keyId } = await db.selectFrom('action_version').select('key_id').where('id', '=', versionId).executeTakeFirstOrThrow();
      const left = async () => [
        (await db.selectFrom('action_version').select('id').where('id', '=', versionId).execute()).length,
        (await db.selectFrom('data_key').select('id').where('id', '=', keyId).execute()).length,
      ];
      // A registration that committed a moment later may still have taken it up.
      await removeUnused(world.database);
      expect(await left()).toEqual([1, 1]);

      const later = Date.now() + 2 * 60 * 60 * 1000;
      await stepFor(world, versionId);
      await removeUnused(world.database, later);
      expect(await left()).toEqual([1, 1]);
      expect((await world.newVersionCache().load(versionId)).runnable.id).toBe(versionId);

      await db.deleteFrom('step').where('version_id', '=', versionId).execute();
      await removeUnused(world.database, later);
      expect(await left()).toEqual([0, 0]);
    });
  });

  test('an archive of dependencies goes when nothing was built with it any more', async () => {
    const { db } = world.database;
    const { id } = await action();
    await db.insertInto('dependency_archive').values([
      { key: 'used', lockfile: '{}', archive: new Uint8Array([1]), created_at: 0 },
      { key: 'unused', lockfile: '{}', archive: new Uint8Array([1]), created_at: 0 },
      { key: 'young', lockfile: '{}', archive: new Uint8Array([1]), created_at: Date.now() },
    ]).execute();
    await db.updateTable('action').set({ archive_key: 'used' }).where('id', '=', id).execute();
    await removeUnused(world.database);
    const left = await db.selectFrom('dependency_archive').select('key').orderBy('key').execute();
    expect(left.map(({ key }) => key)).toEqual(['used', 'young']);
  });
});
