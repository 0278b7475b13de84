import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { AttemptEnd } from '../../src/store/ledger.ts';
import { type Answer, bearer, newestLog, send, signUp, startTestApp, type TestApp } from './test-app.ts';

let app: TestApp;
let headers: { authorization: string };

beforeAll(async () => {
  app = await startTestApp();
  headers = await bearer(app);
});

afterAll(async () => {
  await app.close();
});

const CODE = 'exports.onExecutePostUserRegistration = async () => {};';
const BROKEN = { type: 'ACTION_INVALID', name: 'SyntaxError', message: 'no', retryable: false } as const;
const report = { endedAt: Date.now(), retryAfterMs: 0, logs: [], logsTruncated: false, calls: [], cacheChanges: [] };

const get = async (path: string, as: Record<string, string> = headers): Promise<Answer> => await send(`${app.url}/usher/executions${path}`, { headers: as });
const post = async (path: string, body?: unknown, as: Record<string, string> = headers): Promise<Answer> =>
  await send(`${app.url}/usher/executions${path}`, { method: 'POST', headers: { 'content-type': 'application/json', ...as }, ...(body === undefined ? {} : { body: JSON.stringify(body) }) });

/** Signs somebody up with two Actions bound. @returns the registration's id and those of its steps. */
async function registered(email: string): Promise<{ id: string; steps: [string, string] }> {
  expect((await signUp(app, { email })).status).toBe(200);
  const id = (await newestLog(app, 'ss')).details.actions.executions[0];
  const steps = (await app.ledger.loadOpenSteps(id)).map(({ stepId }) => stepId);
  // Handed to Temporal: from here on only a command makes it due.
  await app.database.db.updateTable('registration').set({ due_at: null }).where('id', '=', id).execute();
  return { id, steps: steps as [string, string] };
}

async function attempt(registrationId: string, stepId: string, end: Partial<AttemptEnd> & Pick<AttemptEnd, 'outcome'>): Promise<void> {
  const claim = await app.ledger.claimStep({ registrationId, stepId, phase: 'quick', workerId: 'w', leaseMs: 30_000 });
  if (claim.claim !== 'claimed') throw new Error(`not claimed: ${claim.claim}`);
  await app.ledger.settleAttempt({ ...report, ...end, attemptId: claim.step.attempt.id });
}

async function failed(email: string) {
  const made = await registered(email);
  await attempt(made.id, made.steps[0], { outcome: 'failed', error: BROKEN, calls: [{ method: 'POST', host: 'crm.example', status: 500, startedAt: 1, durationMs: 1 }] });
  await attempt(made.id, made.steps[1], { outcome: 'succeeded' });
  await app.ledger.closeRegistration(made.id);
  return made;
}

describe('finding executions', () => {
  let ids: string[];
  let actionIds: string[];

  beforeAll(async () => {
    await app.bind('post-user-registration', [{ name: 'First', code: CODE }, { name: 'Second', code: CODE }]);
    const closed = await failed('found-failed@example.com');
    const waits = await registered('found-waiting@example.com');
    await attempt(waits.id, waits.steps[0], { outcome: 'failed', error: { ...BROKEN, type: 'ACTION_THREW', retryable: true }, retryAfterMs: 5000 });
    const fresh = await registered('found-fresh@example.com');
    ids = [fresh.id, waits.id, closed.id];
    const { body } = await get(`/${fresh.id}`);
    actionIds = body.steps.map((step: { action_id: string }) => step.action_id);
  });

  const found = async (query: string): Promise<string[]> => {
    const { status, body } = await get(`?${query}`);
    expect(status, JSON.stringify(body)).toBe(200);
    return body.executions.map(({ id }: { id: string }) => id);
  };

  it('lists them newest first, each with its steps and a link into the Web UI', async () => {
    const { body } = await get('');
    expect(body.executions.map(({ id }: { id: string }) => id)).toEqual(ids);
    expect(body.next).toBeUndefined();
    expect(body.executions[1]).toMatchObject({
      source: 'signup',
      state: 'open',
      outcome: null,
      workflow_id: `user-registration/${ids[1]}`,
      workflow_url: `http://127.0.0.1:8233/namespaces/default/workflows/user-registration%2F${ids[1]}`,
      steps: [
        { action_name: expect.stringMatching(/^First/), state: 'pending', attempts_begun: 1, next_attempt_at: expect.any(String), held_reason: null, last_error_type: 'ACTION_THREW' },
        { state: 'pending', attempts_begun: 0, next_attempt_at: null, last_error_type: null },
      ],
    });
    expect(body.executions[2]).toMatchObject({ state: 'closed', outcome: 'failed', steps: [{ state: 'failed', last_error_type: 'ACTION_INVALID', last_failed_calls: 1 }, { state: 'succeeded' }] });
  });

  it('finds by each filter, and by several at once', async () => {
    const [fresh, waits, closed] = ids as [string, string, string];
    const { body } = await get(`/${closed}`);
    expect(await found(`user_id=${encodeURIComponent(body.user_id)}`)).toEqual([closed]);
    expect(await found('connection=Username-Password-Authentication')).toEqual(ids);
    expect(await found('connection=another')).toEqual([]);
    expect(await found('source=signup&state=open')).toEqual([fresh, waits]);
    expect(await found('outcome=failed')).toEqual([closed]);
    expect(await found('outcome=failed&state=open')).toEqual([]);
    expect(await found('waiting=true')).toEqual([waits]);
    expect(await found(`action_id=${actionIds[0]}`)).toEqual(ids);
    expect(await found(`action_id=${actionIds[0]}&waiting=true`)).toEqual([waits]);
    expect(await found(`action_id=${actionIds[1]}&waiting=true`)).toEqual([]);
    expect(await found(`action_id=${actionIds[0]}&step_state=failed`)).toEqual([closed]);
    expect(await found(`action_id=${actionIds[0]}&step_state=failed&step_state=pending`)).toEqual(ids);
    expect(await found(`action_id=${actionIds[1]}&step_state=failed`)).toEqual([]);
    expect(await found(`action_id=${actionIds[0]}&error_type=ACTION_INVALID`)).toEqual([closed]);
    expect(await found(`action_id=${actionIds[0]}&outcome=failed&connection=Username-Password-Authentication`)).toEqual([closed]);
    expect(await found(`created_from=${body.created_at}&created_to=${body.created_at}`)).toEqual([closed]);
    expect(await found(`created_to=${new Date(Date.parse(body.created_at) - 1).toISOString()}`)).toEqual([]);
  });

  it('says what is wrong with a filter', async () => {
    expect(await get('?step_state=failed')).toMatchObject({ status: 400, body: { message: expect.stringContaining('action_id') } });
    expect(await get('?outcome=fine')).toMatchObject({ status: 400 });
    expect(await get('?take=101')).toMatchObject({ status: 400 });
    expect(await get('?nonsense=1')).toMatchObject({ status: 400 });
  });

  it('gives all of them page by page, none twice, also while more come in', async () => {
    const seen: string[] = [];
    for (let page = 0, from = ''; page < 10; page++) {
      const { body } = await get(`?take=1${from}`);
      seen.push(...body.executions.map(({ id }: { id: string }) => id));
      if (page === 0) await registered('found-later@example.com');
      if (body.next === undefined) break;
      from = `&from=${body.next}`;
    }
    expect(seen).toEqual(ids);
  });

  it('shows the first and the last attempts of many, the newest with their logs, and all of them in pages', async () => {
    const { id, steps } = await registered('found-often@example.com');
    for (let count = 0; count < 25; count++) {
      await app.database.db.updateTable('step').set({ next_at: null, state: 'pending', phase: 'quick', counted: 0, phase_started_at: null }).where('id', '=', steps[0]).execute();
      await attempt(id, steps[0], { outcome: 'failed', error: { ...BROKEN, retryable: true }, logs: [{ at: 1, level: 'log', text: `try ${count + 1}` }] });
    }

    const { body } = await get(`/${id}`);
    const [step] = body.steps;
    expect(step.attempts_begun).toBe(25);
    expect(step.attempts.map(({ number }: { number: number }) => number)).toEqual([1, ...Array.from({ length: 20 }, (_, index) => index + 6)]);
    expect(step.attempts.at(-1)).toMatchObject({ logs: [{ text: 'try 25' }], logs_truncated: false });
    expect(step.attempts.at(-4)).toMatchObject({ logs: [], logs_truncated: true, error: { type: 'ACTION_INVALID' } });
    // Auth0's own endpoint shows the same.
    const auth0 = await send(`${app.url}/api/v2/actions/executions/${id}`, { headers });
    expect(auth0.body.usher.steps).toEqual(body.steps);

    const numbers: number[] = [];
    for (let page = 0, from = ''; page < 10; page++) {
      const answer = await get(`/${id}/steps/${steps[0]}/attempts?take=10${from}`);
      numbers.push(...answer.body.attempts.map((each: { number: number }) => each.number));
      for (const each of answer.body.attempts) expect(each.logs).toMatchObject([{ text: `try ${each.number}` }]);
      if (answer.body.next === undefined) break;
      from = `&from=${answer.body.next}`;
    }
    expect(numbers).toEqual(Array.from({ length: 25 }, (_, index) => 25 - index));
    expect((await get(`/${id}/steps/${ids[0]}/attempts`)).status).toBe(404);
  });
});

describe('running again and stopping', () => {
  beforeEach(async () => {
    await app.bind('post-user-registration', [{ name: 'First', code: CODE }, { name: 'Second', code: CODE }]);
  });

  it('cancels, says what became of it, wakes the dispatcher and writes down who did it', async () => {
    const { id } = await registered('cancel@example.com');
    const before = app.wakeUps();

    const { status, body } = await post(`/${id}/cancel`);

    expect(status).toBe(200);
    expect(body).toMatchObject({ id, state: 'closed', outcome: 'cancelled', due_at: expect.any(String), steps: [{ state: 'cancelled' }, { state: 'cancelled' }] });
    expect(app.wakeUps()).toBe(before + 1);
    const log = await newestLog(app, 'sapi');
    expect(log).toMatchObject({ client_id: 'test-client', description: 'Cancel an execution', details: { registration_id: id } });
    expect(JSON.stringify(log)).not.toMatch(/example\.com|auth0\|/);
  });

  it('answers 409 with the reason when there is nothing to do, and writes nothing down', async () => {
    const { id, steps } = await registered('nothing@example.com');
    await post(`/${id}/cancel`);
    const { log_id: last } = await newestLog(app, 'sapi');
    const wakeUps = app.wakeUps();

    expect(await post(`/${id}/cancel`)).toMatchObject({ status: 409, body: { errorCode: 'nothing_to_do', message: expect.stringContaining('nothing to cancel') } });
    expect(await post(`/${id}/retry`)).toMatchObject({ status: 409, body: { message: 'It has ended: redrive it.' } });
    expect(await post(`/${id}/steps/${steps[0]}/retry`)).toMatchObject({ status: 409 });
    expect(await post(`/${id}/steps/${steps[0]}/skip`)).toMatchObject({ status: 409 });

    expect((await newestLog(app, 'sapi')).log_id).toBe(last);
    expect(app.wakeUps()).toBe(wakeUps);
  });

  it('skips and retries a step', async () => {
    const { id, steps } = await registered('steps@example.com');
    await attempt(id, steps[0], { outcome: 'failed', error: { ...BROKEN, retryable: true }, retryAfterMs: 10_000 });

    expect(await post(`/${id}/steps/${steps[0]}/retry`)).toMatchObject({ status: 200, body: { steps: [{ next_attempt_at: null, state: 'pending' }, {}], due_at: expect.any(String) } });
    expect((await newestLog(app, 'sapi')).details).toEqual({ registration_id: id, step_id: steps[0] });
    expect(await post(`/${id}/steps/${steps[0]}/skip`)).toMatchObject({ status: 200, body: { state: 'open', steps: [{ state: 'skipped' }, { state: 'pending' }] } });
    expect(await post(`/${id}/steps/${steps[1]}/skip`)).toMatchObject({ status: 200, body: { state: 'closed', outcome: 'succeeded' } });
  });

  it('redrives what failed, or all, or from a step on, also with what is deployed now', async () => {
    const { id, steps } = await failed('redrive@example.com');

    expect(await post(`/${id}/redrive`, {})).toMatchObject({ status: 200, body: { state: 'open', outcome: null, closed_at: null, steps: [{ state: 'pending', run: 1, redrives: 1 }, { state: 'succeeded' }] } });
    expect((await newestLog(app, 'sapi')).details).toEqual({ registration_id: id, steps: 'failed', version: 'pinned' });
    expect(await post(`/${id}/redrive`, { steps: { from: steps[1] } })).toMatchObject({ status: 200, body: { steps: [{ run: 1 }, { state: 'pending', run: 2 }] } });
    await app.database.db.updateTable('action').set({ deployed_version_id: null }).execute();
    expect(await post(`/${id}/redrive`, { steps: 'all', version: 'deployed' })).toMatchObject({ status: 409, body: { message: expect.stringContaining('not deployed') } });
    expect(await post(`/${id}/redrive`, { steps: 'some' })).toMatchObject({ status: 400 });
  });

  it('answers 404 for what it does not have, and 403 without the scope', async () => {
    const { id } = await failed('scopes@example.com');
    for (const path of ['/nobody/cancel', '/nobody/retry', '/nobody/redrive', `/${id}/steps/nothing/skip`, `/${id}/steps/nothing/retry`]) {
      expect(await post(path), path).toMatchObject({ status: 404, body: { errorCode: 'inexistent_execution' } });
    }
    expect(await post(`/${id}/redrive`, { steps: { from: 'nothing' } })).toMatchObject({ status: 404 });
    expect(await get('/nobody')).toMatchObject({ status: 404 });

    const reader = await bearer(app, 'read:executions');
    expect(await get(`/${id}`, reader)).toMatchObject({ status: 200 });
    expect(await post(`/${id}/redrive`, {}, reader)).toMatchObject({ status: 403 });
    expect(await get(`/${id}`, await bearer(app, 'read:actions'))).toMatchObject({ status: 403 });
  });
});
