import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Receiver, startReceiver } from '../../examples/receiver.ts';
import { readRegistration } from '../e2e/ledger-view.ts';
import { until } from '../e2e/until.ts';
import { startTestUsher, type TestUsher } from '../e2e/usher.ts';
import { attribute, type CollectedSpan, type Collector, startCollector } from './otlp-collector.ts';

const TRACE_ID = '4bf92f3577b34da6a3ce929d0e0e4736';
const CALLER = '00f067aa0ba902b7';
const QUIET_TRACE_ID = 'a'.repeat(32);
const [INTERNAL, SERVER, CLIENT, PRODUCER] = [1, 2, 3, 4];

/** On a machine that is busy with other things, too. */
const WITHIN_MS = 90_000;

const PRE_CODE = `exports.onExecutePreUserRegistration = async (event) => {
  await fetch(event.secrets.RECEIVER + '/gate?email=' + event.user.email);
};`;
/** Two requests, one by each of Node's clients; the first attempt fails. */
const POST_CODE = `const http = require('node:http');
exports.onExecutePostUserRegistration = async (event) => {
  const path = '/secret-path/' + event.secrets.KEY + '?email=' + event.user.email;
  await new Promise((resolve, reject) => http.get(event.secrets.RECEIVER + path, (res) => res.resume().on('end', resolve)).on('error', reject));
  const response = await fetch(event.secrets.RECEIVER + path, { method: 'POST', body: event.user.email });
  if (!response.ok) throw new Error('no: ' + event.user.email + ' ' + event.secrets.KEY);
};`;

let collector: Collector;
let receiver: Receiver;
let usher: TestUsher;
let spans: CollectedSpan[];

beforeAll(async () => {
  collector = await startCollector();
  let posts = 0;
  receiver = await startReceiver(({ body }) => ({ status: body === 'ada@example.com' && ++posts === 1 ? 503 : 200 }));
  usher = await startTestUsher({ OTEL_EXPORTER_OTLP_ENDPOINT: `${collector.url}/`, OTEL_BSP_SCHEDULE_DELAY: '100' });
  await usher.working();
  const secrets = [{ name: 'RECEIVER', value: receiver.url }, { name: 'KEY', value: 'canary-secret-7' }];
  const pre = await usher.management.deployAction({ name: 'Gate', triggerId: 'pre-user-registration', code: PRE_CODE, secrets });
  const post = await usher.management.deployAction({ name: 'Tell', triggerId: 'post-user-registration', code: POST_CODE, secrets });
  await usher.management.bind('pre-user-registration', [pre]);
  await usher.management.bind('post-user-registration', [post]);
  await usher.signUp('quiet@example.com', { traceparent: `00-${QUIET_TRACE_ID}-${CALLER}-00` });
  await usher.signUp('ada@example.com', { traceparent: `00-${TRACE_ID}-${CALLER}-01` });
  await until('both registrations are closed', () => ['quiet@example.com', 'ada@example.com'].every((email) => readRegistration(usher.dataDir, email)?.outcome === 'succeeded'), WITHIN_MS);
  await until('the span of the registration has come', () => collector.spans().some((span) => span.traceId === TRACE_ID && span.name === 'registration'), WITHIN_MS);
  await until('the span of the sign-up has come', () => collector.spans().some((span) => span.traceId === TRACE_ID && span.kind === SERVER), WITHIN_MS);
  await until('the span of the hand-over has come', () => collector.spans().some((span) => span.traceId === TRACE_ID && span.name === 'hand over to Temporal'), WITHIN_MS);
  spans = collector.spans().filter((span) => span.traceId === TRACE_ID);
});
afterAll(async () => {
  await usher?.close();
  await receiver?.close();
  await collector?.close();
});

/** The one span of this name. */
function one(name: string): CollectedSpan {
  const found = spans.filter((span) => span.name === name);
  expect(found.map((span) => span.name), `one span "${name}"`).toHaveLength(1);
  return found[0]!;
}

function childrenOf(parent: CollectedSpan): CollectedSpan[] {
  return spans.filter((span) => span.parentSpanId === parent.spanId).toSorted((a, b) => Number(BigInt(a.startTimeUnixNano) - BigInt(b.startTimeUnixNano)));
}

test('a sign-up is one trace from its caller through the workflow to the requests of its Actions', () => {
  const signUp = one('POST /dbconnections/signup');
  expect([signUp.parentSpanId, signUp.kind, signUp.service]).toEqual([CALLER, SERVER, 'usher-api']);
  expect(attribute(signUp, 'http.response.status_code')).toBe(200);

  const gate = one('Action Gate');
  const commit = one('commit registration');
  expect(childrenOf(signUp).map(({ name }) => name)).toEqual(['Action Gate', 'commit registration']);
  expect(childrenOf(gate).map(({ name, kind }) => [name, kind])).toEqual([['GET', CLIENT]]);

  const registration = one('registration');
  expect(childrenOf(commit)).toEqual([registration]);
  expect([registration.service, registration.kind, attribute(registration, 'usher.outcome')]).toEqual(['usher-worker', INTERNAL, 'succeeded']);
  expect(attribute(registration, 'usher.registration_id')).toBe(readRegistration(usher.dataDir, 'ada@example.com')!.id);

  const handOver = one('hand over to Temporal');
  expect([handOver.parentSpanId, handOver.kind, handOver.service]).toEqual([registration.spanId, PRODUCER, 'usher-api']);
  const attempts = childrenOf(registration).filter(({ name }) => name === 'Action Tell');
  expect(attempts.map((span) => [attribute(span, 'usher.attempt'), attribute(span, 'usher.outcome'), span.status.code ?? 0])).toEqual([[1, 'failed', 2], [2, 'succeeded', 0]]);
  for (const attempt of attempts) {
    expect(childrenOf(attempt).map(({ name, kind }) => [name, kind])).toEqual([['GET', CLIENT], ['POST', CLIENT]]);
  }
  expect(attribute(childrenOf(attempts[0]!)[1]!, 'error.type')).toBe('503');
  // The registration lasts from its commit to its close: around everything below it.
  for (const span of attempts) {
    expect(BigInt(span.startTimeUnixNano)).toBeGreaterThanOrEqual(BigInt(registration.startTimeUnixNano));
    expect(BigInt(span.endTimeUnixNano)).toBeLessThanOrEqual(BigInt(registration.endTimeUnixNano));
  }
});

test('each request of an Action carries the traceparent of its own span, so that its receiver can go on', () => {
  const sent = receiver.received.map(({ headers }) => headers['traceparent'] as string).filter((header) => header.includes(TRACE_ID));
  const calls = spans.filter(({ kind }) => kind === CLIENT).map(({ spanId }) => `00-${TRACE_ID}-${spanId}-01`);
  expect(sent).toHaveLength(5);
  expect(new Set(sent)).toEqual(new Set(calls));
});

test('a caller who does not want to be traced is not, and its receivers are told so', () => {
  expect(collector.spans().filter(({ traceId }) => traceId === QUIET_TRACE_ID)).toEqual([]);
  const sent = receiver.received.map(({ headers }) => headers['traceparent'] as string).filter((header) => header.includes(QUIET_TRACE_ID));
  expect(sent.length).toBeGreaterThan(0);
  for (const header of sent) expect(header).toMatch(/-00$/);
});

test('no span holds an e-mail, a secret, a path of a receiver, or a query', () => {
  expect(collector.text()).not.toMatch(/@example|canary-secret-7|secret-path|gate\?|email=/);
});

test('the lines of the log name the trace', () => {
  const lines = usher.output().split('\n').filter((line) => line.includes(TRACE_ID));
  const messages = lines.map((line) => (JSON.parse(line) as { msg: string }).msg);
  expect(messages.toSorted()).toEqual(['attempt', 'attempt', 'registration', 'request']);
});
