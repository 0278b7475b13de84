import { describe, expect, test } from 'vitest';
import type { CacheSnapshot } from '../../src/domain/invocation.ts';
import { ended, runBody, testPool, texts } from './harness.ts';

const pool = await testPool();
const pre = { version: { triggerId: 'pre-user-registration' as const } };

describe('api of pre-user-registration', () => {
  test('hands back every command in order, and chains', async () => {
    const result = ended(await runBody(pool, `
      api.user.setUserMetadata('plan', { name: 'free', seats: [1, 2] }).user.setAppMetadata('gone', null).access.deny('reason', 'message');
      api.validation.error('code', 'text').access.deny('USER_ACCOUNT_NOT_ACTIVE');
    `, pre), 'succeeded');
    expect(result.commands).toEqual([
      { kind: 'user.setUserMetadata', key: 'plan', value: { name: 'free', seats: [1, 2] } },
      { kind: 'user.setAppMetadata', key: 'gone', value: null },
      { kind: 'access.deny', reason: 'reason', userMessage: 'message' },
      { kind: 'validation.error', errorCode: 'code', errorMessage: 'text' },
      { kind: 'access.deny', reason: 'USER_ACCOUNT_NOT_ACTIVE', userMessage: '' },
    ]);
  });

  test('takes metadata as it was at the call', async () => {
    const result = ended(await runBody(pool, `const tags = ['a']; api.user.setUserMetadata('tags', tags); tags.push('b');`, pre), 'succeeded');
    expect(result.commands).toEqual([{ kind: 'user.setUserMetadata', key: 'tags', value: ['a'] }]);
  });

  test.each([
    [`api.validation.error('code')`, 'Failed to add validation error: api.validation.error(errorCode, errorMessage) takes two strings.'],
    [`api.access.deny({ reason: 1 })`, 'api.access.deny: reason must be a string, not object.'],
    [`api.user.setUserMetadata(1, 'x')`, 'api.user.setUserMetadata: key must be a string, not number.'],
  ])('%s is refused', async (call, message) => {
    expect(ended(await runBody(pool, `${call};`, pre), 'failed').error).toMatchObject({ name: 'TypeError', message });
  });

  test('metadata that JSON cannot hold is refused', async () => {
    const { error } = ended(await runBody(pool, `api.user.setAppMetadata('big', 1n);`, pre), 'failed');
    expect(error.message).toMatch(/^api\.user\.setAppMetadata: the value cannot be written as JSON\. \[cause: /);
  });

  test('commands of an Action that then fails are not handed back', async () => {
    const result = ended(await runBody(pool, `api.user.setUserMetadata('a', 1); process.exit(0);`, pre), 'failed');
    expect(result.commands).toEqual([]);
  });
});

describe('api of post-user-registration', () => {
  test('has the cache and nothing else to be seen', async () => {
    expect(texts(await runBody(pool, `console.log(Object.keys(api).join(), JSON.stringify(api), api.nothing);`))).toEqual(['cache {"cache":{}} undefined']);
  });

  test.each([
    [`api.access.deny('a', 'b')`, 'api.access.deny is not available in post-user-registration: it belongs to the trigger pre-user-registration (and post-login).'],
    [`api.validation.error('a', 'b')`, 'api.validation.error is not available in post-user-registration: it belongs to the trigger pre-user-registration.'],
    [`api.idToken.setCustomClaim('a', 1)`, 'api.idToken.setCustomClaim is not available in post-user-registration: it belongs to the trigger post-login.'],
  ])('%s names the trigger that has it', async (call, message) => {
    expect(ended(await runBody(pool, `${call};`), 'failed').error).toMatchObject({ type: 'ACTION_THREW', name: 'TypeError', message });
  });

  test('asking whether another trigger’s method is there does no harm', async () => {
    ended(await runBody(pool, `if (api.access && !api.access[Symbol.iterator]) console.log('fine');`), 'succeeded');
  });
});

describe('api.cache', () => {
  const soon = Date.now() + 60_000;
  const cached = async (body: string, cache: CacheSnapshot = {}) => {
    const result = ended(await runBody(pool, `const show = (x) => console.log(JSON.stringify(x) ?? 'undefined');\n${body}`, { cache }), 'succeeded');
    return { shown: texts(result).map((text) => (text === 'undefined' ? undefined : (JSON.parse(text) as unknown))), changes: result.cacheChanges };
  };

  test('gets what was there and what was set, and hands back the changes in order', async () => {
    const { shown, changes } = await cached(
      `show(api.cache.get('old')); show(api.cache.get('expired')); show(api.cache.set('new', 'v', { expires_at: ${soon} })); show(api.cache.get('new')); show(api.cache.delete('old')); show(api.cache.get('old'));`,
      { old: { value: 'o', expires_at: soon }, expired: { value: 'x', expires_at: 1 } },
    );
    const record = { value: 'v', expires_at: soon };
    expect(shown).toEqual([{ value: 'o', expires_at: soon }, undefined, { type: 'success', record }, record, { type: 'success' }, undefined]);
    expect(changes).toEqual([{ kind: 'set', key: 'new', record }, { kind: 'delete', key: 'old' }]);
  });

  test('keeps for 15 minutes by default, the earlier of ttl and expires_at otherwise, a day at most', async () => {
    const { shown } = await cached(`
      const now = Date.now();
      const left = (options) => console.log(Math.round((api.cache.set('k', 'v', options).record.expires_at - now) / 1000));
      left(); left({ ttl: 5000, expires_at: now + 9000 }); left({ ttl: 9000, expires_at: now + 5000 }); left({ ttl: 30 * 86400000 });
      show(Number.isInteger(api.cache.set('k', 'v', { ttl: 1000.5 }).record.expires_at));
    `);
    expect(shown).toEqual([900, 5, 5, 86_400, true]);
  });

  test.each([
    [`api.cache.set('k', 'v', { ttl: NaN })`, 'InvalidExpiry'],
    [`api.cache.set('k', 'v', { expires_at: Infinity })`, 'InvalidExpiry'],
    [`api.cache.set('k', 'v', { expires_at: 2 ** 60 })`, 'InvalidExpiry'],
    [`api.cache.set('k', 'v', { ttl: 0 })`, 'ItemAlreadyExpired'],
    [`api.cache.set('k', 'v', { expires_at: 1 })`, 'ItemAlreadyExpired'],
    [`api.cache.set('ä'.repeat(33), 'v')`, 'CacheKeySizeExceeded'],
    [`api.cache.set('k', 'ä'.repeat(2049))`, 'CacheValueSizeExceeded'],
    [`api.cache.delete('none')`, 'CacheKeyDoesNotExist'],
    [`[1, 2, 3, 4, 5].map((n) => api.cache.set('k' + n, 'x'.repeat(4096))).at(-1)`, 'CacheSizeExceeded'],
    [`Array.from({ length: 21 }, (_, n) => api.cache.set('k' + n, 'x')).at(-1)`, 'CacheSizeExceeded'],
  ])('%s answers %s', async (call, code) => {
    expect((await cached(`show(${call});`)).shown).toEqual([{ type: 'error', code }]);
  });

  test('takes what just fits', async () => {
    const { shown } = await cached(`show(api.cache.set('k'.repeat(64), 'v'.repeat(4096)).type); show([1, 2, 3].map((n) => api.cache.set('k' + n, 'x'.repeat(4000)).type));`);
    expect(shown).toEqual(['success', ['success', 'success', 'success']]);
  });
});
