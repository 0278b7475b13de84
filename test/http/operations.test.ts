import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { until } from '../builds/harness.ts';
import { type Answer, bearer, CLIENT_ID, newestLog, postJson, send, signUp, startTestApp, type TestApp } from './test-app.ts';

const WELCOME = { name: 'Welcome', code: 'exports.onExecutePostUserRegistration = async () => {}' };

let app: TestApp;
let token: { authorization: string };
let actionId: string;

beforeAll(async () => {
  app = await startTestApp();
  token = await bearer(app);
  await app.bind('post-user-registration', [WELCOME]);
  actionId = (await app.database.db.selectFrom('binding').select('action_id').executeTakeFirstOrThrow()).action_id;
});
afterAll(() => app.close());

/** Nothing runs here: what signs up waits for a worker. */
beforeEach(async () => {
  await app.database.db.updateTable('registration').set({ state: 'closed', outcome: 'succeeded', due_at: null }).execute();
  await app.database.db.updateTable('step').set({ state: 'succeeded' }).execute();
});

const post = (body: object, path = '/operations', headers: Record<string, string> = token) => postJson(`${app.url}/usher${path}`, body, headers);
const get = (path: string) => send(`${app.url}/usher/operations${path}`, { headers: token });
const ended = (id: string) => until(() => get(`/${id}`), ({ body }) => body.state === 'done');

/** @returns the ids of their registrations */
async function signUps(count: number): Promise<string[]> {
  const { db } = app.database;
  const before = (await db.selectFrom('registration').select('id').execute()).map(({ id }) => id);
  for (let i = 0; i < count; i++) expect((await signUp(app)).status).toBe(200);
  const after = await db.selectFrom('registration').select('id').orderBy('id').execute();
  return after.map(({ id }) => id).filter((id) => !before.includes(id));
}

async function fail(ids: string[]): Promise<void> {
  await app.database.db.updateTable('step').set({ state: 'failed', phase_started_at: 1 }).where('registration_id', 'in', ids).execute();
  await app.database.db.updateTable('registration').set({ state: 'closed', outcome: 'failed', due_at: null }).where('id', 'in', ids).execute();
}

async function stepStates(ids: string[]): Promise<string[]> {
  return (await app.database.db.selectFrom('step').select('state').where('registration_id', 'in', ids).execute()).map(({ state }) => state);
}

describe('POST /usher/operations', () => {
  it('does what is asked for in the background, and tells how far it is and what became of each', async () => {
    const ids = await signUps(3);
    await fail(ids);

    const { status, body } = await post({ kind: 'redrive', filter: { outcome: 'failed', action_id: actionId, created_from: '2020-01-01T00:00:00Z' }, rate: 500 });
    expect(status).toBe(202);
    expect(body).toMatchObject({
      kind: 'redrive',
      options: { steps: 'failed', version: 'pinned' },
      filter: { outcome: 'failed', action_id: actionId, created_from: '2020-01-01T00:00:00.000Z' },
      state: 'running',
      rate: 500,
      total: 3,
      done: 0,
      created_by: CLIENT_ID,
      ended_at: null,
      estimated_end_at: expect.any(String),
    });

    expect((await ended(body.id)).body).toMatchObject({ done: 3, changed: 3, unchanged: 0, failed: 0, ended_at: expect.any(String), estimated_end_at: null });
    expect(await stepStates(ids)).toEqual(['pending', 'pending', 'pending']);

    const first = await get(`/${body.id}/items?take=2`);
    expect(first.body).toMatchObject({ items: [{ subject_id: ids[0], registration_id: ids[0], result: 'changed', reason: null }, { subject_id: ids[1] }], next: ids[1] });
    const second = await get(`/${body.id}/items?take=2&from=${first.body.next}`);
    expect(second.body).toMatchObject({ items: [{ subject_id: ids[2] }] });
    expect(second.body.next).toBeUndefined();
    expect((await get(`/${body.id}/items?result=failed`)).body).toEqual({ items: [] });
  });

  it('wakes the dispatcher, so that the registrations are taken up at once', async () => {
    await fail(await signUps(2));
    const before = app.wakeUps();
    const { body } = await post({ kind: 'redrive', filter: { outcome: 'failed' } });
    await ended(body.id);
    expect(app.wakeUps()).toBeGreaterThan(before);
  });

  it('only counts with dry_run, and changes nothing', async () => {
    const ids = await signUps(2);
    const { items: before } = { items: (await get('')).body.operations };
    const { body } = await post({ kind: 'cancel', filter: { state: 'open' }, dry_run: true });
    expect(body).toEqual({ dry_run: true, total: 2, sample: ids });
    expect(await stepStates(ids)).toEqual(['pending', 'pending']);
    expect((await get('')).body.operations).toEqual(before);
  });

  it.each([
    ['an empty filter, lest everybody is meant by mistake', { kind: 'cancel' }, /The filter is empty/],
    ['a rate above 1000', { kind: 'cancel', all: true, rate: 1001 }, /rate/],
    ['an Action to a redrive of failed steps', { kind: 'redrive', all: true, options: { action_id: 'a' } }, /filter\.action_id/],
    ['a redrive of the waiting steps of no Action', { kind: 'redrive', all: true, options: { steps: 'waiting-and-failed' } }, /options\.action_id/],
    ['a skip of no Action', { kind: 'skip', all: true, options: {} }, /action_id/],
    ['an unknown kind', { kind: 'delete', all: true }, /kind|schema/],
    ['a filter that it does not know', { kind: 'cancel', filter: { email: 'a@b.cd' } }, /email/],
  ])('refuses %s', async (_what, request, message) => {
    const { status, body } = await post(request);
    expect([status, body.message]).toEqual([400, expect.stringMatching(message)]);
  });

  it('refuses a backfill of users by what only registrations have', async () => {
    const { status, body } = await post({ kind: 'backfill', options: { action_id: actionId, of: 'users' }, filter: { outcome: 'failed' } });
    expect([status, body.message]).toEqual([400, expect.stringContaining('filter.outcome')]);
  });

  it('refuses a backfill with an Action that is not there, or not deployed', async () => {
    expect((await post({ kind: 'backfill', all: true, options: { action_id: 'nobody' } })).status).toBe(404);
    const draft = await postJson(`${app.url}/api/v2/actions/actions`, { name: 'A draft', supported_triggers: [{ id: 'post-user-registration', version: 'v2' }], code: WELCOME.code }, token);
    expect((await post({ kind: 'backfill', all: true, options: { action_id: draft.body.id } })).status).toBe(409);
  });

  it('takes an empty filter where all is said', async () => {
    const ids = await signUps(2);
    const { status, body } = await post({ kind: 'skip', all: true, options: { action_id: actionId } });
    expect(status).toBe(202);
    await ended(body.id);
    expect(await stepStates(ids)).toEqual(['skipped', 'skipped']);
  });

  it('is written to the tenant log with who asked, and without whom it is about', async () => {
    const { body } = await post({ kind: 'cancel', filter: { user_id: 'acme|ann@example.com' } });
    const entry = await newestLog(app, 'sapi');
    expect(entry).toMatchObject({ client_id: CLIENT_ID, description: 'Start a bulk operation', details: { operation_id: body.id, kind: 'cancel', total: 0 } });
    expect(JSON.stringify(entry)).not.toContain('ann@example.com');
  });

  it('needs update:executions, and reading it read:executions', async () => {
    const reader = await bearer(app, 'read:executions');
    expect((await post({ kind: 'cancel', all: true }, '/operations', reader)).status).toBe(403);
    expect((await send(`${app.url}/usher/operations`, { headers: reader })).status).toBe(200);
    expect((await send(`${app.url}/usher/operations`, { headers: await bearer(app, 'update:executions') })).status).toBe(403);
  });
});

describe('a running operation', () => {
  it('can be paused, resumed and cancelled, and says so when it is too late', async () => {
    const ids = await signUps(20);
    await fail(ids);
    const { body: started } = await post({ kind: 'redrive', filter: { outcome: 'failed' }, rate: 1 });
    const wish = (verb: string) => post({}, `/operations/${started.id}/${verb}`);

    const paused = await wish('pause');
    expect([paused.status, paused.body.state]).toEqual([200, 'paused']);
    expect((await wish('pause')).body).toEqual(paused.body);
    const changed = (await stepStates(ids)).filter((state) => state === 'pending');
    expect(changed).toHaveLength(paused.body.done);
    expect((await newestLog(app, 'sapi')).description).toBe('Pause a bulk operation');

    expect((await wish('resume')).body.state).toBe('running');
    await until(() => get(`/${started.id}`), ({ body }) => body.done > paused.body.done);
    const cancelled = await wish('cancel');
    expect(cancelled.body).toMatchObject({ state: 'cancelled', ended_at: expect.any(String) });
    expect(cancelled.body.done).toBeLessThan(20);
    expect((await wish('resume')).status).toBe(409);
    expect((await wish('pause')).status).toBe(409);
  });

  it('that does not exist is answered with 404', async () => {
    const answers: Answer[] = [await get('/nobody'), await get('/nobody/items'), await post({}, '/operations/nobody/pause')];
    expect(answers.map(({ status }) => status)).toEqual([404, 404, 404]);
  });
});

describe('GET /usher/operations', () => {
  it('lists them newest first, a page at a time, by state and kind', async () => {
    const made: string[] = [];
    for (let i = 0; i < 3; i++) made.push((await post({ kind: 'retry', filter: { user_id: `nobody-${i}` } })).body.id);
    for (const id of made) await ended(id);
    const first = await get('?kind=retry&state=done&take=2');
    expect(first.body.operations.map(({ id }: { id: string }) => id)).toEqual([made[2], made[1]]);
    const second = await get(`?kind=retry&state=done&take=2&from=${first.body.next}`);
    expect(second.body.operations.map(({ id }: { id: string }) => id)).toEqual([made[0]]);
    expect((await get('?state=paused')).body).toEqual({ operations: [] });
  });
});

describe('POST /usher/actions/{id}/retry-with-deployed', () => {
  it('moves what waits and what failed of the Action to the version that is deployed now', async () => {
    const ids = await signUps(3);
    await fail(ids.slice(0, 1));
    await app.database.db.updateTable('step').set({ state: 'parked', phase: 'long', next_at: Date.now() + 3_600_000, phase_started_at: 1 }).where('registration_id', '=', ids[1]!).execute();
    const before = await app.database.db.selectFrom('action').select('deployed_version_id').where('id', '=', actionId).executeTakeFirstOrThrow();
    const deploy = await postJson(`${app.url}/api/v2/actions/actions/${actionId}/deploy`, {}, token);
    expect([200, 202]).toContain(deploy.status);
    const { deployed_version_id: now } = await app.database.db.selectFrom('action').select('deployed_version_id').where('id', '=', actionId).executeTakeFirstOrThrow();
    expect(now).not.toBe(before.deployed_version_id);

    const path = `/actions/${actionId}/retry-with-deployed`;
    expect((await post({ dry_run: true }, path)).body).toMatchObject({ dry_run: true, total: 3 });
    const { status, body } = await post({}, path);
    expect(status).toBe(202);
    expect(body).toMatchObject({ kind: 'redrive', options: { steps: 'waiting-and-failed', action_id: actionId, version: 'deployed' }, total: 3 });
    expect((await ended(body.id)).body).toMatchObject({ done: 3, changed: 3 });

    const steps = await app.database.db.selectFrom('step').select(['state', 'next_at', 'version_id']).where('registration_id', 'in', ids).execute();
    expect(steps).toEqual(ids.map(() => ({ state: 'pending', next_at: null, version_id: now })));
  });

  it('refuses an Action that is not there', async () => {
    expect((await post({}, '/actions/nobody/retry-with-deployed')).status).toBe(404);
  });
});
