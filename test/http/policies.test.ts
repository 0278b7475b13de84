import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { bearer, callApi, newestLog, signUp, startTestApp, type TestApp } from './test-app.ts';

const POST = 'post-user-registration';
const PRE = 'pre-user-registration';

/** What a binding has when nobody said anything. */
const DEFAULTS = {
  retry: {
    quick: { attempts: 5, first_delay_ms: 1000, factor: 2, max_delay_ms: 60_000, budget_ms: 60_000 },
    long: { attempts: 125, first_delay_ms: 60_000, factor: 2, max_delay_ms: 3_600_000 },
  },
  timeout_ms: 30_000,
  on_failure: 'continue',
  concurrency: null,
  fail_on_http: 'off',
  idempotency_header: 'off',
};

const EVERYTHING = {
  retry: {
    quick: { attempts: 3, first_delay_ms: 500, factor: 1.5, max_delay_ms: 5000, budget_ms: 90_000 },
    long: { attempts: 0, first_delay_ms: 1000, factor: 1, max_delay_ms: 1000 },
  },
  timeout_ms: 600_000,
  on_failure: 'wait',
  concurrency: 2,
  fail_on_http: '4xx+5xx',
  idempotency_header: 'X-Request-Key',
};

let app: TestApp;
let headers: { authorization: string };
beforeAll(async () => {
  app = await startTestApp();
  headers = await bearer(app);
  await app.bind(PRE, [{ name: 'Gate', code: 'exports.onExecutePreUserRegistration = async () => {};' }]);
});
afterAll(async () => {
  await app.close();
});

const path = (trigger: string): string => `/actions/triggers/${trigger}/bindings`;

async function bindings(trigger = POST) {
  return (await callApi(app, headers, 'GET', path(trigger))).body.bindings;
}

/** Sends `usher` for the first binding of the trigger. */
async function patch(usher: object, trigger = POST) {
  const [{ id }] = await bindings(trigger);
  return await callApi(app, headers, 'PATCH', path(trigger), { bindings: [{ ref: { type: 'binding_id', value: id }, usher }] });
}

/** Of somebody who signs up now. */
async function newRegistration(email: string): Promise<string> {
  await signUp(app, { email });
  const ids = (await newestLog(app, 'ss')).details.actions.executions as string[];
  for (const id of ids) if ((await app.ledger.readRegistration(id)) !== null) return id;
  throw new Error(`no registration among ${ids.join()}`);
}

const policyNow = async () => (await bindings())[0].usher;

describe('the policy of a binding', () => {
  beforeEach(async () => {
    await app.bind(POST, [{ name: 'Notify', code: 'exports.onExecutePostUserRegistration = async () => {};' }]);
  });

  it('is the default one at first', async () => {
    expect(await policyNow()).toEqual(DEFAULTS);
  });

  it('takes each setting, answers it, and keeps what a later change leaves out', async () => {
    const { status, body } = await patch(EVERYTHING);
    expect([status, body.bindings[0].usher]).toEqual([200, EVERYTHING]);
    expect(await policyNow()).toEqual(EVERYTHING);
    await patch({});
    expect(await policyNow()).toEqual(EVERYTHING);
    await patch({ retry: { long: { attempts: 4 } }, concurrency: null, idempotency_header: 'off' });
    const long = { ...EVERYTHING.retry.long, attempts: 4 };
    expect(await policyNow()).toEqual({ ...EVERYTHING, retry: { ...EVERYTHING.retry, long }, concurrency: null, idempotency_header: 'off' });
  });

  it('has the defaults for what the first change leaves out', async () => {
    await patch({ retry: { quick: { attempts: 1 } }, timeout_ms: 600_000 });
    const quick = { ...DEFAULTS.retry.quick, attempts: 1 };
    expect(await policyNow()).toEqual({ ...DEFAULTS, retry: { ...DEFAULTS.retry, quick }, timeout_ms: 600_000 });
  });

  it.each([POST, PRE, 'post-login'])('can be sent back as it was read (%s)', async (trigger) => {
    if (trigger === POST) await patch(EVERYTHING);
    if (trigger === 'post-login') {
      const action = { name: 'Add claims', supported_triggers: [{ id: trigger, version: 'v3' }], code: '', deploy: true };
      const { id } = (await callApi(app, headers, 'POST', '/actions/actions', action)).body;
      await expect.poll(async () => (await callApi(app, headers, 'GET', `/actions/actions/${id}`)).body.deployed_version?.status).toBe('built');
      await callApi(app, headers, 'PATCH', path(trigger), { bindings: [{ ref: { type: 'action_id', value: id } }] });
    }
    const [before] = await bindings(trigger);
    expect(before.usher).toBeDefined();
    expect(await patch(before.usher, trigger)).toMatchObject({ status: 200, body: { bindings: [{ usher: before.usher }] } });
  });

  it('is fixed in a registration when that commits: a later change is for later ones', async () => {
    const timeoutOf = async (id: string) => (await app.ledger.loadOpenSteps(id))[0]?.timeoutMs;
    await patch({ timeout_ms: 5000 });
    const before = await newRegistration('before@example.com');
    await patch({ timeout_ms: 7000 });
    const after = await newRegistration('after@example.com');
    expect([await timeoutOf(before), await timeoutOf(after)]).toEqual([5000, 7000]);
  });

  it.each([
    ['a timeout beyond 10 minutes', { timeout_ms: 600_001 }, /timeout_ms/],
    ['no attempt at all', { retry: { quick: { attempts: 0 } } }, /retry\.quick\.attempts/],
    ['a factor that makes delays shorter', { retry: { long: { factor: 0.5 } } }, /retry\.long\.factor/],
    ['no run at once', { concurrency: 0 }, /concurrency/],
    ['an unknown rule for calls', { fail_on_http: '3xx' }, /fail_on_http/],
    ['what is not a header', { idempotency_header: 'My Key' }, /idempotency_header/],
    ['an unknown setting', { retry: { quick: { jitter: true } } }, /jitter/],
    ['a delay above its cap', { retry: { quick: { first_delay_ms: 70_000 } } }, /retry\.quick\.max_delay_ms \(60000\) must not be less than its first_delay_ms \(70000\)/],
    ['a budget without room for a retry', { retry: { quick: { first_delay_ms: 60_000 } } }, /retry\.quick\.budget_ms \(60000\) leaves no room for a retry after first_delay_ms \(60000\): raise it, or set attempts to 1/],
    ['more than 30 days', { retry: { long: { attempts: 1000 } } }, /retry\.long would go on for 41\.5 days, and may for 30: lower attempts or max_delay_ms/],
    ['a header with a meaning of its own', { idempotency_header: 'authorization' }, /idempotency_header \(authorization\) has a meaning of its own/],
  ])('refuses %s, and stays as it was', async (_what, usher, message) => {
    const answer = await patch(usher);
    expect(answer).toMatchObject({ status: 400, body: { errorCode: 'invalid_body', message: expect.stringMatching(message) } });
    expect(answer.body.message).toContain('bindings[0]');
    expect(await policyNow()).toEqual(DEFAULTS);
  });

  it.each(Object.keys(DEFAULTS))('is none of pre-user-registration: %s is refused there', async (name) => {
    const answer = await patch({ [name]: DEFAULTS[name as keyof typeof DEFAULTS] }, PRE);
    expect(answer).toMatchObject({ status: 400, body: { message: `usher.${name} is a setting of ${POST} and does nothing for ${PRE}.` } });
    expect((await bindings(PRE))[0].usher).toEqual({ on_error: 'deny' });
  });
});

it('an attempt that succeeded with refused calls says how many', async () => {
  await app.bind(POST, [{ name: 'Notify', code: 'exports.onExecutePostUserRegistration = async () => {};' }]);
  const id = await newRegistration('calls@example.com');
  const [step] = await app.ledger.loadOpenSteps(id);
  const claim = await app.ledger.claimStep({ registrationId: id, stepId: step!.stepId, phase: 'quick', workerId: 'w', leaseMs: 30_000 });
  if (claim.claim !== 'claimed') throw new Error(`not claimed: ${claim.claim}`);
  const call = { method: 'POST', host: 'receiver.example', startedAt: 1, durationMs: 1 };
  const calls = [{ ...call, status: 200 }, { ...call, status: 404 }, { ...call, error: 'ECONNREFUSED' }];
  await app.ledger.settleAttempt({ attemptId: claim.step.attempt.id, outcome: 'succeeded', endedAt: 2, retryAfterMs: 0, logs: [], logsTruncated: false, calls, cacheChanges: [] });
  const { body } = await callApi(app, headers, 'GET', `/actions/executions/${id}`);
  expect(body.usher.steps[0]).toMatchObject({ state: 'succeeded', attempts: [{ outcome: 'succeeded', failed_calls: 2 }] });
  expect(await app.database.db.selectFrom('attempt').select('failed_calls').where('id', '=', claim.step.attempt.id).executeTakeFirst()).toEqual({ failed_calls: 2 });
});
