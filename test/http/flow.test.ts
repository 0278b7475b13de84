import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { flowIdOf } from '../../src/store/flow-rows.ts';
import { type Answer, bearer, CLIENT_ID, postJson, send, signUp, startTestApp, type TestApp } from './test-app.ts';

const HANDLER = 'exports.onExecutePostUserRegistration = async () => {}';

let app: TestApp;
let actionId: string;
let preActionId: string;
let headers: { authorization: string };
beforeAll(async () => {
  app = await startTestApp();
  await app.bind('post-user-registration', [{ name: 'Welcome', code: HANDLER }]);
  await app.bind('pre-user-registration', [{ name: 'Check', code: 'exports.onExecutePreUserRegistration = async () => {}' }]);
  const bound = await app.database.db.selectFrom('binding').select(['action_id', 'trigger_id']).execute();
  actionId = bound.find((binding) => binding.trigger_id === 'post-user-registration')!.action_id;
  preActionId = bound.find((binding) => binding.trigger_id === 'pre-user-registration')!.action_id;
  headers = await bearer(app);
});
afterAll(() => app.close());
beforeEach(async () => {
  await app.database.db.deleteFrom('flow').execute();
  await app.database.db.deleteFrom('log').where('type', '=', 'sapi').execute();
});

async function post(path: string): Promise<Answer> {
  return await postJson(`${app.url}/usher/${path}`, {}, headers);
}

async function flow(): Promise<Answer['body']> {
  return (await send(`${app.url}/usher/flow`, { headers })).body;
}

/** The changes that the tenant log tells of, the oldest first. */
async function changes(): Promise<Answer['body'][]> {
  const { body } = await send(`${app.url}/api/v2/logs?per_page=100&sort=date:1`, { headers });
  return body.filter((item: { type: string }) => item.type === 'sapi');
}

describe('pausing an Action', () => {
  it('is shown with who did it, done once however often it is asked for, and undone by resuming', async () => {
    const paused = await post(`actions/${actionId}/pause`);
    expect(paused.status).toBe(200);
    expect(paused.body).toEqual({
      action_id: actionId,
      name: expect.stringMatching(/^Welcome/),
      paused: { since: expect.any(String), by: CLIENT_ID },
      recovering_since: null,
      down: null,
      held: 0,
      parked: 0,
    });
    expect((await post(`actions/${actionId}/pause`)).body).toEqual(paused.body);
    expect(await flow()).toEqual({ triggers: [], actions: [paused.body] });

    const resumed = await post(`actions/${actionId}/resume`);
    expect(resumed.body).toMatchObject({ paused: null, recovering_since: expect.any(String) });
    expect((await post(`actions/${actionId}/resume`)).body).toEqual(resumed.body);
    expect((await changes()).map(({ description, client_id: clientId, details }) => ({ description, clientId, details }))).toEqual([
      { description: 'Pause an action', clientId: CLIENT_ID, details: { action_id: actionId } },
      { description: 'Resume an action', clientId: CLIENT_ID, details: { action_id: actionId } },
    ]);
  });

  it('holds no sign-up up, and tells how many steps wait', async () => {
    await post(`actions/${actionId}/pause`);
    expect((await signUp(app)).status).toBe(200);
    const { id, registration_id: registrationId } = await app.database.db.selectFrom('step').select(['id', 'registration_id']).where('action_id', '=', actionId).executeTakeFirstOrThrow();
    const claim = await app.ledger.claimStep({ registrationId, stepId: id, phase: 'quick', workerId: 'worker', leaseMs: 30_000 });
    expect(claim.claim).toBe('held');
    expect(await flow()).toMatchObject({ actions: [{ action_id: actionId, held: 1 }] });
  });

  it.each([
    ['an Action that does not exist', () => 'actions/01a209e1-0000-7000-8000-000000000000/pause', 404, /does not exist/],
    ['to resume an Action that does not exist', () => 'actions/01a209e1-0000-7000-8000-000000000000/resume', 404, /does not exist/],
    ['an Action of pre-user-registration, and says what to do', () => `actions/${preActionId}/pause`, 400, /bindings/],
    ['the trigger pre-user-registration, and says what to do', () => 'triggers/pre-user-registration/pause', 400, /bindings/],
    ['a trigger that does not run here', () => 'triggers/post-login/pause', 400, /does not run here/],
    ['what is no trigger', () => 'triggers/nothing/pause', 400, /triggerId/],
  ])('refuses %s', async (_what, path, status, message) => {
    const answer = await post(path());
    expect(answer.status).toBe(status);
    expect(answer.body.message).toMatch(message);
    expect(await flow()).toEqual({ triggers: [], actions: [] });
    expect(await changes()).toEqual([]);
  });

  it('needs a scope of its own: who may only read executions may look', async () => {
    const reader = await bearer(app, 'read:executions');
    expect((await send(`${app.url}/usher/flow`, { headers: reader })).status).toBe(200);
    expect((await postJson(`${app.url}/usher/actions/${actionId}/pause`, {}, reader)).status).toBe(403);
    expect((await send(`${app.url}/usher/flow`, { headers: await bearer(app, 'update:executions') })).status).toBe(403);
  });
});

describe('pausing the trigger', () => {
  it('is shown beside the Actions, and undone by resuming', async () => {
    const paused = await post('triggers/post-user-registration/pause');
    expect(paused).toMatchObject({ status: 200, body: { trigger_id: 'post-user-registration', paused: { by: CLIENT_ID } } });
    expect((await flow()).triggers).toEqual([paused.body]);
    await post('triggers/post-user-registration/resume');
    expect((await flow()).triggers).toMatchObject([{ paused: null, recovering_since: expect.any(String) }]);
    expect((await changes()).map(({ description }) => description)).toEqual(['Pause a trigger', 'Resume a trigger']);
  });
});

describe('GET /usher/flow', () => {
  it('names an Action whose receiver is down, since when, and when it is tried next, also after the Action was deleted', async () => {
    const row = { failures: 12, down_since: Date.UTC(2026, 0, 1), next_probe_at: Date.UTC(2026, 0, 2), updated_at: 0 };
    await app.database.db.insertInto('flow').values([{ id: flowIdOf(actionId), ...row }, { id: flowIdOf('zz-deleted'), ...row }]).execute();
    const down = { since: '2026-01-01T00:00:00.000Z', failures: 12, next_probe_at: '2026-01-02T00:00:00.000Z' };
    expect((await flow()).actions).toMatchObject([{ action_id: actionId, down }, { action_id: 'zz-deleted', name: null, down }]);
    expect((await post('actions/zz-deleted/resume')).body).toMatchObject({ action_id: 'zz-deleted', down: null, recovering_since: expect.any(String) });
  });
});
