import { beforeAll, describe, expect, test } from 'vitest';
import { sampleEvent } from '../../src/domain/sample-events.ts';
import type { TriggerId } from '../../src/domain/triggers.ts';
import type { SandboxPool } from '../../src/sandbox/pool.ts';
import { TestNotRunError, testRun } from '../../src/sandbox/test-run.ts';
import { handler, receiver, testPool, version } from '../sandbox/harness.ts';

let pool: SandboxPool;
beforeAll(async () => {
  pool = await testPool({ slots: 1, maxWaitMs: 300 });
});

function run(body: string, { trigger = 'post-user-registration', timeoutMs = 10_000, signal }: { trigger?: TriggerId; timeoutMs?: number; signal?: AbortSignal } = {}) {
  const of = version(handler(body, trigger), { triggerId: trigger });
  return testRun(pool, { version: of, event: { user: { email: 'ada@example.com' } }, secrets: { KEY: 'value' }, timeoutMs }, { ...(signal && { signal }) });
}

describe('a test run', () => {
  test('gives the handler the event with secrets and usher, and tells what it asked for', async () => {
    const report = await run("console.log(JSON.stringify([event.user, event.secrets, event.usher.attempt]));\napi.cache.set('a', 'b');\napi.user.setUserMetadata('c', 1);", { trigger: 'pre-user-registration' });
    expect(report).toMatchObject({
      error: null,
      logs: [{ text: '[{"email":"ada@example.com"},{"KEY":"value"},1]' }],
      commands: [{ kind: 'user.setUserMetadata', key: 'c', value: 1 }],
      cacheChanges: [{ kind: 'set', key: 'a' }],
    });
  });

  test('tells the error of an Action that fails or takes too long', async () => {
    expect((await run("throw new TypeError('no')")).error).toMatchObject({ type: 'ACTION_THREW', name: 'TypeError', message: 'no' });
    expect((await run('for (;;);', { timeoutMs: 300 })).error).toMatchObject({ type: 'ACTION_TIMED_OUT' });
  });

  test('awaits what a post-user-registration Action began', async () => {
    const { url, requests } = await receiver((_request, response) => void response.end());
    const { calls } = await run(`fetch('${url}');`);
    expect(calls).toMatchObject([{ status: 200 }]);
    expect(requests.length).toBe(1);
  });

  test('measures calls at the same time once, and its figures add up', async () => {
    const waiting: (() => void)[] = [];
    const { url } = await receiver((_request, response) => {
      waiting.push(() => void response.end());
      if (waiting.length === 2) setTimeout(() => waiting.forEach((answer) => answer()), 300);
    });
    const { stats, calls } = await run(`await Promise.all([fetch('${url}'), fetch('${url}')]);`);
    expect(calls.length).toBe(2);
    expect(stats.runtime_external_call_duration_ms).toBeGreaterThanOrEqual(290);
    expect(stats.runtime_external_call_duration_ms).toBeLessThan(calls[0]!.durationMs + calls[1]!.durationMs);
    expect(stats.runtime_external_call_duration_ms + stats.runtime_processing_duration_ms).toBe(stats.action_duration_ms);
    expect(stats.boot_duration_ms + stats.action_duration_ms).toBe(stats.total_runtime_execution_duration_ms);
    expect(stats.total_request_duration_ms).toBeGreaterThanOrEqual(stats.total_runtime_execution_duration_ms);
    // A process was started for it.
    expect(stats.boot_duration_ms).toBeGreaterThan(0);
    expect(stats).not.toHaveProperty('network_duration_ms');
  });

  test('that finds no free sandbox says so and blames nobody', async () => {
    const ending = new AbortController();
    const { url, requests } = await receiver(() => undefined);
    const hanging = run(`await fetch('${url}')`, { signal: ending.signal });
    await expect.poll(() => requests.length, { timeout: 10_000 }).toBe(1);
    await expect(run('')).rejects.toThrow(TestNotRunError);
    await expect(run('')).rejects.toThrow('The Action was not run: No sandbox was free within 0.3 s. Try again.');
    ending.abort(new Error('enough'));
    await expect(hanging).rejects.toThrow('enough');
  });
});

describe('sample events', () => {
  const now = new Date('2026-11-23T12:00:00.000Z');

  test("of post-user-registration is Auth0's, filled", () => {
    const event = sampleEvent('post-user-registration', { tenant: 'acme', now });
    expect(Object.keys(event).toSorted()).toEqual(['configuration', 'connection', 'custom_domain', 'request', 'security_context', 'tenant', 'transaction', 'user']);
    expect(event).toMatchObject({
      tenant: { id: 'acme' },
      request: { hostname: 'acme.example.com', ip: '13.33.86.47' },
      user: { tenant: 'acme', user_id: 'auth0|5f7c8ec7c33c6c004bbafe82', email: 'j+smith@example.com', created_at: now.toISOString(), email_verified: true, app_metadata: {}, user_metadata: {} },
    });
    expect(JSON.stringify(event)).not.toContain('{{');
  });

  test('of pre-user-registration has a client, a body, and a user without an id', () => {
    const event = sampleEvent('pre-user-registration', { now });
    expect(event).toMatchObject({ client: { client_id: expect.any(String), name: expect.any(String), metadata: {} }, request: { body: {} } });
    expect(Object.keys(event['user'] as object).toSorted()).toEqual(['app_metadata', 'email', 'family_name', 'given_name', 'name', 'nickname', 'phone_number', 'picture', 'user_metadata', 'username']);
  });

  test('are new each time', () => {
    const first = sampleEvent('post-user-registration', { now }) as { user: { app_metadata: Record<string, unknown> } };
    first.user.app_metadata['changed'] = true;
    expect(sampleEvent('post-user-registration', { now })).toMatchObject({ user: { app_metadata: {} } });
    expect(JSON.stringify(sampleEvent('post-user-registration', { now }))).not.toContain('changed');
  });
});
