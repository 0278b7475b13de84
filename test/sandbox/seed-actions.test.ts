import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { RunOptions } from '../../src/sandbox/pool.ts';
import { ended, invocation, receiver, runToEnd, TELL_END, testPool, texts, version } from './harness.ts';

/** Auth0's documented examples, character for character. */
const example = (name: string): string => readFileSync(new URL(`../../examples/actions/${name}.js`, import.meta.url), 'utf8');
const SLACK = example('notify-slack');
const AXIOS = example('store-user-id');
const JA4 = example('deny-fingerprints');

const pool = await testPool();
let folder = '';

/** Each version of each package in a folder of its own, installed as a person would, without install scripts. */
async function install(name: string, ...packages: string[]): Promise<string> {
  const dir = join(folder, name);
  await promisify(execFile)('npm', ['install', '--prefix', dir, '--ignore-scripts', '--no-audit', '--no-fund', ...packages]);
  return dir;
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'usher-seed-'));
  await chmod(folder, 0o755);
  await install('7', '@slack/webhook@7', 'axios@1');
  await install('8', '@slack/webhook@8', 'got@14');
});
afterAll(() => rm(folder, { recursive: true, force: true }));

describe.each(['7', '8'])('the Slack Action with @slack/webhook %s', (major) => {
  const of = version(`${SLACK}\n${TELL_END}`);
  const send = (url: string, { timeoutMs = 10_000, ...options }: RunOptions & { timeoutMs?: number } = {}) => {
    const event = { user: { email: 'ada@example.com' }, secrets: { SLACK_WEBHOOK_URL: `${url}/services/T000/B000/hidden` } };
    return pool.run(invocation({ ...of, id: `slack-${major}`, dependenciesDir: join(folder, major) }, { event, timeoutMs }), options);
  };

  test('sends its message, though it does not wait for it', async () => {
    const slack = await receiver((_request, response) => setTimeout(() => response.end('ok'), 200));
    const { calls, durationMs } = ended(await send(slack.url), 'succeeded');
    expect(slack.requests.map(({ method, url }) => [method, url])).toEqual([['POST', '/services/T000/B000/hidden']]);
    // Version 7 adds a `timeout` of its own.
    expect(JSON.parse(slack.requests[0]?.body ?? '')).toMatchObject({ text: 'New User: ada@example.com', channel: '#some_channel' });
    expect(calls).toMatchObject([{ method: 'POST', host: `127.0.0.1:${slack.port}`, status: 200 }]);
    expect(durationMs).toBeGreaterThanOrEqual(190);
    // Warm: nothing is loaded, and its kept-alive socket holds nothing up.
    await runToEnd((options) => send(slack.url, options));
  });

  test('fails when Slack answers 500, and succeeds when it is tried again', async () => {
    const slack = await receiver((_request, response, number) => response.writeHead(number < 3 ? 500 : 200).end('ok'));
    const results = [await send(slack.url), await send(slack.url), await send(slack.url)];
    expect(results.map(({ outcome }) => outcome)).toEqual(['failed', 'failed', 'succeeded']);
    expect(ended(results[0] ?? results[1]!, 'failed')).toMatchObject({ error: { type: 'ACTION_THREW', retryable: true }, calls: [{ status: 500 }] });
    expect(JSON.stringify(results)).not.toContain('hidden');
  });

  test('passes on when Slack wants to be asked again', async () => {
    const slack = await receiver((_request, response) => response.writeHead(429, { 'retry-after': '30' }).end());
    expect(ended(await send(slack.url), 'failed').calls).toMatchObject([{ status: 429, retryAfterMs: 30_000 }]);
  });

  test('fails at the deadline when Slack hangs', async () => {
    const slack = await receiver(() => {});
    const { error } = ended(await send(slack.url, { timeoutMs: 4000 }), 'failed');
    expect(error).toMatchObject({ type: 'ACTION_TIMED_OUT' });
    expect(error.message).toContain(`POST 127.0.0.1:${slack.port}`);
  });

  test('as it is, sends its message with the header by which Slack could tell repeats', async () => {
    const slack = await receiver((_request, response) => response.end('ok'));
    const event = { user: { email: 'ada@example.com' }, secrets: { SLACK_WEBHOOK_URL: slack.url } };
    const idempotency = { header: 'Idempotency-Key', key: 'registration.step.1' };
    ended(await pool.run(invocation({ ...of, id: `slack-${major}`, dependenciesDir: join(folder, major) }, { event, idempotency })), 'succeeded');
    expect(slack.requests[0]?.headers).toMatchObject({ 'idempotency-key': 'registration.step.1-1' });
  });

  test('without its dependency says which one to add', async () => {
    const { error } = ended(await pool.run(invocation(version(SLACK))), 'failed');
    expect(error).toMatchObject({ type: 'ACTION_INVALID', retryable: false });
    expect(error.message).toContain('add "@slack/webhook" to the Action\'s dependencies');
  });
});

test('the axios Action, with only its URL changed, sends exactly what it says', async () => {
  const users = await receiver((_request, response) => response.writeHead(201).end());
  const of = version(AXIOS.replace('https://my-api.exampleco.com/users', `${users.url}/users`), { dependenciesDir: join(folder, '7') });
  const result = ended(await pool.run(invocation(of, { event: { user: { email: 'ada@example.com' } } })), 'succeeded');
  expect(users.requests.map(({ url, body }) => [url, body])).toEqual([['/users', '{"params":{"email":"ada@example.com"}}']]);
  expect(result.calls).toMatchObject([{ method: 'POST', status: 201 }]);
});

test('redirects that axios follows have numbers of their own', async () => {
  const users = await receiver(({ url }, response) => (url === '/users' ? response.writeHead(307, { location: '/v2/users' }) : response.writeHead(201)).end());
  const of = version(AXIOS.replace('https://my-api.exampleco.com/users', `${users.url}/users`), { dependenciesDir: join(folder, '7') });
  const idempotency = { header: 'X-Request-Key', key: 'registration.step.1' };
  ended(await pool.run(invocation(of, { event: { user: { email: 'ada@example.com' } }, idempotency })), 'succeeded');
  expect(users.requests.map(({ url, headers }) => [url, headers['x-request-key']])).toEqual([['/users', 'registration.step.1-1'], ['/v2/users', 'registration.step.1-2']]);
});

test('a package that is an ES module works by require and by import()', async () => {
  const api = await receiver((_request, response) => response.end('got it'));
  const code = `const { got } = require('got');
    exports.onExecutePostUserRegistration = async (event) => {
      console.log((await got(event.url)).body, (await import('got')).got === got);
    };`;
  const of = version(code, { dependenciesDir: join(folder, '8') });
  expect(texts(await pool.run(invocation(of, { event: { url: api.url } })))).toEqual(['got it true']);
});

describe('the JA4 Action', () => {
  const of = version(JA4, { triggerId: 'pre-user-registration' });
  const run = (ja4: string) => pool.run(invocation(of, { event: { security_context: { ja4 } }, waitFor: 'handler' }));

  test('denies a bad fingerprint', async () => {
    expect(ended(await run('t13d1517h2_8daaf6152771_b6f405a00624'), 'succeeded').commands).toEqual([
      { kind: 'access.deny', reason: 'suspicious_tls_fingerprint', userMessage: 'Your TLS fingerprint has been flagged as suspicious' },
    ]);
  });

  test('lets others pass, and logs', async () => {
    const result = ended(await run('t13d1517h2_8daaf6152771_000000000000'), 'succeeded');
    expect(result.commands).toEqual([]);
    expect(texts(result)).toEqual([`[ACTION] { clientJa4: 't13d1517h2_8daaf6152771_000000000000' }`]);
  });
});
