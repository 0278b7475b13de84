import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { AttemptEnd } from '../../src/store/ledger.ts';
import { bearer, newestLog, send, signUp, startTestApp, type TestApp } from './test-app.ts';

let app: TestApp;
let headers: { authorization: string };

beforeAll(async () => {
  app = await startTestApp({ logDelayMs: 20 });
  headers = await bearer(app);
});

afterAll(async () => {
  await app.close();
});

const get = async (path: string) => await send(`${app.url}/api/v2/${path}`, { headers });

async function registration(email: string): Promise<string> {
  const code = 'exports.onExecutePostUserRegistration = async () => {};';
  await app.bind('post-user-registration', [{ name: 'First', code }, { name: 'Second', code }]);
  const before = app.wakeUps();
  await signUp(app, { email });
  expect(app.wakeUps()).toBe(before + 1);
  const log = await newestLog(app, 'ss');
  expect(log.user_name).toBe(email);
  return log.details.actions.executions[0];
}

const report = { endedAt: Date.now(), retryAfterMs: 0, logs: [], logsTruncated: false, calls: [], cacheChanges: [] };

async function attempt(registrationId: string, stepId: string, end: Partial<AttemptEnd> & Pick<AttemptEnd, 'outcome'>): Promise<string> {
  const claim = await app.ledger.claimStep({ registrationId, stepId, phase: 'quick', workerId: 'w', leaseMs: 30_000 });
  if (claim.claim !== 'claimed') throw new Error(`not claimed: ${claim.claim}`);
  await app.ledger.settleAttempt({ ...report, ...end, attemptId: claim.step.attempt.id });
  return claim.step.attempt.id;
}

describe('the execution of post-user-registration', () => {
  it('is pending until its Actions have ended, and shows each attempt with its error, calls and logs', async () => {
    const id = await registration('pending@example.com');
    const steps = await app.ledger.loadOpenSteps(id);
    const at = Date.parse('2026-11-23T10:00:00.000Z');
    const attemptId = await attempt(id, steps[0]?.stepId ?? '', {
      outcome: 'failed',
      error: { type: 'ACTION_THREW', name: 'Error', message: 'receiver said 500', retryable: true },
      logs: [{ at, level: 'warn', text: 'trying' }],
      calls: [{ method: 'POST', host: 'hooks.example.com', status: 500, startedAt: at, durationMs: 12.4, retryAfterMs: 3000 }],
    });

    const { status, body } = await get(`actions/executions/${id}`);
    expect(status).toBe(200);
    expect(body).toMatchObject({
      id,
      trigger_id: 'post-user-registration',
      status: 'pending',
      results: [{ action_name: expect.stringMatching(/^First/), error: { id: attemptId, msg: 'receiver said 500', url: '' }, started_at: expect.any(String), ended_at: expect.any(String) }],
      created_at: expect.stringMatching(/Z$/),
    });
    expect(body.usher).toMatchObject({ registration_id: id, state: 'open', outcome: null, source: 'signup', workflow_id: `user-registration/${id}`, user_id: expect.stringMatching(/^auth0\|/) });
    expect(body.usher.steps).toMatchObject([
      {
        state: 'pending',
        phase: 'quick',
        version_number: 1,
        next_attempt_at: expect.any(String),
        attempts: [
          {
            number: 1,
            outcome: 'failed',
            idempotency_key: expect.stringContaining(id),
            error: { type: 'ACTION_THREW', name: 'Error', message: 'receiver said 500', retryable: true },
            calls: [{ method: 'POST', host: 'hooks.example.com', status: 500, duration_ms: 12, retry_after_ms: 3000, error: null }],
            logs: [{ at: '2026-11-23T10:00:00.000Z', level: 'warn', text: 'trying' }],
          },
        ],
      },
      { state: 'pending', attempts: [] },
    ]);
  });

  it('is final when all have succeeded', async () => {
    const id = await registration('final@example.com');
    for (const step of await app.ledger.loadOpenSteps(id)) await attempt(id, step.stepId, { outcome: 'succeeded' });
    await app.ledger.closeRegistration(id);
    const { body } = await get(`actions/executions/${id}`);
    expect(body).toMatchObject({ status: 'final', results: [{ action_name: expect.any(String) }, {}], usher: { state: 'closed', outcome: 'succeeded' } });
    expect(body.results.every((result: object) => !('error' in result))).toBe(true);
  });

  it('is partial when one has failed for good, and canceled when somebody ended it', async () => {
    const failed = await registration('failed@example.com');
    const [first, second] = await app.ledger.loadOpenSteps(failed);
    await attempt(failed, first?.stepId ?? '', { outcome: 'failed', error: { type: 'ACTION_INVALID', name: 'SyntaxError', message: 'no', retryable: false } });
    await attempt(failed, second?.stepId ?? '', { outcome: 'succeeded' });
    await app.ledger.closeRegistration(failed);
    expect((await get(`actions/executions/${failed}`)).body.status).toBe('partial');

    const cancelled = await registration('cancelled@example.com');
    await app.ledger.cancelRegistration(cancelled);
    expect((await get(`actions/executions/${cancelled}`)).body.status).toBe('canceled');
  });

  it('that is not there gets 404 in the words of Auth0', async () => {
    expect(await get('actions/executions/nothing')).toMatchObject({ status: 404, body: { statusCode: 404, error: 'Not Found', message: 'That execution does not exist.' } });
    expect((await get('actions/executions/nothing?page=1')).status).toBe(400);
  });
});

describe('the tenant log', () => {
  it('can be paged, sorted, counted and cut to some fields', async () => {
    for (let i = 0; i < 5; i++) await signUp(app, { email: `page${i}@example.com` });
    const all = (await get('logs')).body;
    const ids = all.map((item: { log_id: string }) => item.log_id);
    expect(ids).toEqual(ids.toSorted().toReversed());
    expect((await get('logs?per_page=2&page=1')).body.map((item: { log_id: string }) => item.log_id)).toEqual(ids.slice(2, 4));
    expect((await get('logs?sort=date:1&per_page=1')).body[0].log_id).toBe(ids.at(-1));
    expect((await get('logs?include_totals=true&per_page=3')).body).toMatchObject({ start: 0, limit: 3, length: 3, total: ids.length, logs: [{}, {}, {}] });
    expect((await get('logs?fields=type,date&per_page=1')).body).toEqual([{ type: 'ss', date: expect.any(String) }]);
    expect((await get('logs?fields=details&include_fields=false&per_page=1')).body[0]).not.toHaveProperty('details');
  });

  it('can be followed from a checkpoint without a gap', async () => {
    const all = (await get('logs?sort=date:1&per_page=100')).body.map((item: { log_id: string }) => item.log_id);
    const followed: string[] = [];
    await expect.poll(async () => {
      const { body } = await get(`logs?take=2${followed.length === 0 ? '' : `&from=${followed.at(-1)}`}`);
      followed.push(...body.map((item: { log_id: string }) => item.log_id));
      return followed;
    }).toEqual(all);
  });

  it('gives one entry by its id', async () => {
    const [item] = (await get('logs?per_page=1')).body;
    expect((await get(`logs/${item.log_id}`)).body).toEqual(item);
    expect(await get('logs/nothing')).toMatchObject({ status: 404, body: { statusCode: 404 } });
  });

  it('finds log entries by what they are about, and refuses a query that it cannot read', async () => {
    await signUp(app, { password: 'weak' });
    const all = (await get('logs?per_page=100')).body as { type: string; client_id?: string; log_id: string }[];
    const refused = all.filter(({ type }) => type === 'fs');
    expect(refused.length).toBeGreaterThan(0);
    expect(refused.length).toBeLessThan(all.length);

    expect((await get(`logs?per_page=100&q=${encodeURIComponent('type:fs')}`)).body).toEqual(refused);
    const found = await get(`logs?include_totals=true&q=${encodeURIComponent('type:"fs" AND connection:"Username-Password-Authentication" AND date:[2020-01-01 TO *]')}`);
    expect(found.body).toMatchObject({ total: refused.length, length: refused.length });
    expect((await get(`logs?q=${encodeURIComponent('NOT type:fs AND NOT type:ss AND NOT type:actions_execution_failed')}`)).body).toEqual([]);
    expect(await get(`logs?q=${encodeURIComponent('type:fs~2')}`)).toMatchObject({ status: 400, body: { errorCode: 'invalid_query_string', message: expect.stringContaining('column 8') } });
    expect(await get(`logs?q=${encodeURIComponent('ip:"127.0.0.1"')}`)).toMatchObject({ status: 400, body: { message: expect.stringContaining('column 1') } });
  });

  it('refuses what it does not know', async () => {
    expect(await get('logs?page=-1')).toMatchObject({ status: 400, body: { message: "Query validation error: 'Value -1 is less than minimum 0' on property page.", errorCode: 'invalid_query_string' } });
    expect(await get('logs?foo=1')).toMatchObject({ status: 400, body: { message: "Query validation error: 'Additional properties not allowed: foo'." } });
  });

  it('keeps no e-mail in the open', async () => {
    const rows = await app.database.db.selectFrom('log').selectAll().execute();
    expect(rows.length).toBeGreaterThan(0);
    expect(JSON.stringify(rows)).not.toContain('example.com');
  });
});
