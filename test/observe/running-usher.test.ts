import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Receiver, startReceiver } from '../../examples/receiver.ts';
import { deployCode, tellingAction } from '../e2e/actions.ts';
import { readRegistration } from '../e2e/ledger-view.ts';
import { until } from '../e2e/until.ts';
import { startTestUsher, type TestUsher } from '../e2e/usher.ts';
import { parsePromNames } from './prom-names.ts';
import { readOps, type Scrape, scrape, valueOf } from './scrape.ts';

const ROOT = new URL('../..', import.meta.url).pathname;
const read = (file: string): string => readFileSync(`${ROOT}${file}`, 'utf8');

const PRE_CODE = `exports.onExecutePreUserRegistration = async (event, api) => {
  if (event.user.email.startsWith('denied')) api.access.deny('no', 'Not you.');
};`;
/** Swallows what the receiver says. */
const CARELESS_CODE = `exports.onExecutePostUserRegistration = async (event) => {
  await fetch(event.secrets.RECEIVER + '/careless');
};`;

let usher: TestUsher;
let receiver: Receiver;
let ops: { api: string; worker: string };

beforeAll(async () => {
  // The first attempt at the telling Action fails, and every request of the careless one.
  let told = 0;
  receiver = await startReceiver(({ path }) => ({ status: path === '/careless' || ++told === 1 ? 500 : 200 }));
  usher = await startTestUsher();
  await usher.working();
  ops = await readOps(usher.dataDir);
  const pre = await usher.management.deployAction({ name: 'Gate', triggerId: 'pre-user-registration', code: PRE_CODE });
  const ids = [await deployCode(usher.management, receiver, 'Tell', tellingAction('Tell')), await deployCode(usher.management, receiver, 'Careless', CARELESS_CODE)];
  await usher.management.bind('pre-user-registration', [pre]);
  await usher.management.bind('post-user-registration', ids);
  expect((await usher.signUp('denied@example.com')).status).toBe(400);
  expect((await usher.signUp('ada@example.com', { 'x-request-id': 'my-request/1' })).status).toBe(200);
  expect((await usher.signUp('ada@example.com')).status).toBe(400);
  await until('the registration is closed', () => readRegistration(usher.dataDir, 'ada@example.com')?.outcome === 'succeeded', 90_000);
});
afterAll(async () => {
  await usher?.close();
  await receiver?.close();
});

test('a sign-up, its Actions, attempts and outgoing requests are counted by the role that does them', async () => {
  const [api, worker] = await Promise.all([scrape(ops.api), scrape(ops.worker)]);
  expect(valueOf(api, 'usher_signups_total', { source: 'signup', result: 'created' })).toBe(1);
  expect(valueOf(api, 'usher_signups_total', { source: 'signup', result: 'denied' })).toBe(1);
  expect(valueOf(api, 'usher_signups_total', { source: 'signup', result: 'refused' })).toBe(1);
  expect(valueOf(api, 'usher_signup_duration_seconds_count', { source: 'signup' })).toBe(2);
  expect(valueOf(api, 'usher_commit_duration_seconds_count')).toBe(1);
  expect(valueOf(api, 'usher_pre_registration_duration_seconds_count', { action: 'Gate', verdict: 'denied' })).toBe(1);
  expect(valueOf(api, 'usher_pre_registration_duration_seconds_count', { action: 'Gate', verdict: 'allowed' })).toBe(1);
  expect(valueOf(api, 'usher_hand_overs_total', { result: 'handed_over' })).toBeGreaterThan(0);
  expect(valueOf(api, 'usher_builds_total', { result: 'built' })).toBe(3);
  expect(valueOf(api, 'usher_sandbox_starts_total', { pool: 'pre-registration', result: 'started' })).toBeGreaterThan(0);
  expect(valueOf(worker, 'usher_attempts_total', { action: 'Tell', outcome: 'failed' })).toBe(1);
  expect(valueOf(worker, 'usher_attempts_total', { action: 'Tell', outcome: 'succeeded' })).toBe(1);
  expect(valueOf(worker, 'usher_attempt_duration_seconds_count', { action: 'Tell' })).toBe(2);
  expect(valueOf(worker, 'usher_failed_calls_total', { action: 'Careless' })).toBe(1);
  expect(valueOf(worker, 'usher_registrations_closed_total', { outcome: 'succeeded' })).toBe(1);
  expect(valueOf(worker, 'usher_sandbox_wait_seconds_count', { pool: 'actions', result: 'go' })).toBe(3);
  for (const [role, each] of [['api', api], ['worker', worker]] as const) {
    // What Temporal or the store is asked for at a scrape is missing in one that has waited for it too long.
    const asked = async () => {
      const latest = await scrape(ops[role]);
      return ['usher_ready', 'usher_temporal_reachable', 'usher_outbox_registrations', 'usher_outbox_oldest_age_seconds'].map((name) => valueOf(latest, name));
    };
    await expect.poll(asked, { message: role }).toEqual([1, 1, 0, 0]);
    expect(valueOf(each, 'usher_build_info', { role }), role).toBe(1);
    expect(valueOf(each, 'usher_sandbox_processes'), role).toBeGreaterThan(0);
    expect(valueOf(each, 'nodejs_eventloop_lag_p99_seconds'), role).toBeGreaterThan(0);
  }
  // Temporal's own, of the SDK's core, beside ours.
  expect(valueOf(worker, 'temporal_activity_execution_latency_seconds_count')).toBeGreaterThan(0);
});

test('every metric that the alerts and the dashboard name is in a scrape of the api or of the worker', async () => {
  const scrapes = await Promise.all([scrape(ops.api), scrape(ops.worker)]);
  const known = new Set(scrapes.flatMap(namesIn));
  for (const file of ['examples/monitoring/alerts.yml', 'examples/monitoring/dashboard.json']) {
    const named = parsePromNames(file, read(file));
    expect(named.length, file).toBeGreaterThan(5);
    expect(named.filter((name) => !known.has(name)), file).toEqual([]);
  }
});

test('the metrics of Temporal that the docs name are there', async () => {
  const known = namesIn(await scrape(ops.worker)).map((name) => name.replace(/_(bucket|sum|count)$/, ''));
  const named = [...read('docs/observability.md').matchAll(/`(temporal_\w+[a-z])`/g)].map(([, name]) => name!);
  expect(named.length).toBeGreaterThan(1);
  expect(named.filter((name) => !known.includes(name))).toEqual([]);
});

test('no request of an Action carries a traceparent of ours while traces are off', () => {
  expect(receiver.received.map(({ headers }) => headers['traceparent'])).toEqual([undefined, undefined, undefined]);
});

test('no metric holds an e-mail, a user id or what an Action was told', async () => {
  for (const origin of [ops.api, ops.worker]) {
    const text = await (await fetch(`${origin}/metrics`)).text();
    expect(text).not.toMatch(/@example|auth0\||denied@|127\.0\.0\.1/);
    expect(text).not.toContain(receiver.url);
  }
});

test('each role answers /healthz and /readyz on a port of its own, and the public port has no /metrics', async () => {
  for (const origin of [ops.api, ops.worker]) {
    expect((await fetch(`${origin}/healthz`)).status).toBe(200);
    const ready = async () => {
      const response = await fetch(`${origin}/readyz`);
      return [response.status, await response.json()];
    };
    // One that Temporal answers too late, on a busy machine, says so.
    await expect.poll(ready).toEqual([200, { status: 'ready', degraded: {} }]);
    expect((await fetch(`${origin}/metrics?x=1`)).headers.get('content-type')).toContain('version=0.0.4');
    expect((await fetch(`${origin}/api/v2/clients`)).status).toBe(404);
    expect((await fetch(`${origin}/metrics`, { method: 'POST' })).status).toBe(405);
  }
  expect((await fetch(`${usher.api}/readyz`)).status).toBe(200);
  expect((await fetch(`${usher.api}/metrics`)).status).toBe(404);
  expect(usher.output()).toContain(`${ops.api}/metrics (api)`);
});

test('an attempt is one line of the log with all that an operator needs, and nothing about the person but the id', async () => {
  const lines = usher.output().split('\n').filter((line) => line.startsWith('{')).map((line) => JSON.parse(line) as Record<string, unknown>);
  const { steps, id } = readRegistration(usher.dataDir, 'ada@example.com')!;
  const attempts = lines.filter((line) => line['msg'] === 'attempt' && line['registration_id'] === id);
  expect(attempts).toHaveLength(steps.flatMap((step) => step.attempts).length);
  expect(attempts[0]).toMatchObject({
    registration_id: id,
    user_id: expect.stringMatching(/^auth0\|/),
    connection: 'Username-Password-Authentication',
    action: 'Tell',
    version: 1,
    attempt: 1,
    phase: 'quick',
    outcome: 'failed',
    error_type: 'ACTION_THREW',
    state: 'retry',
    duration_ms: expect.any(Number),
    calls: 1,
    failed_calls: 1,
    next_in_ms: 1000,
  });
  expect(attempts.find((line) => line['action'] === 'Careless')).toMatchObject({ outcome: 'succeeded', failed_calls: 1 });
  expect(lines.find((line) => line['msg'] === 'registration')).toMatchObject({ registration_id: id, source: 'signup', outcome: 'open', request_id: 'my-request/1' });
  expect(lines.find((line) => line['msg'] === 'request' && line['request_id'] === 'my-request/1')).toMatchObject({ path: '/dbconnections/signup', status: 200 });
  expect(usher.output().replaceAll(/.*Sign up.*/g, '')).not.toContain('@example.com');
});

/** Names as queries use them: of a histogram, its three. */
function namesIn({ types }: Scrape): string[] {
  return [...types].flatMap(([name, type]) => (type === 'histogram' || type === 'summary' ? [`${name}_bucket`, `${name}_sum`, `${name}_count`] : [name]));
}
