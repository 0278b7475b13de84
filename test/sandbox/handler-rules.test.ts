import { describe, expect, test } from 'vitest';
import { ended, handler, invocation, runBody, testPool, texts, version } from './harness.ts';

const pool = await testPool();

describe('what an Action must export', () => {
  const cases: [string, string, string][] = [
    ['a function as module.exports', 'module.exports = () => {};', 'The Action must export an object.'],
    ['null', 'module.exports = null;', 'The Action must export an object.'],
    ['no handler', 'exports.other = 1;', 'Invalid function signature for the "onExecutePostUserRegistration" handler. Use "exports.onExecutePostUserRegistration = async function(event, api) { }" as the signature.'],
    ['a handler that is not async', 'exports.onExecutePostUserRegistration = (event, api) => Promise.resolve();', 'Invalid function signature for the "onExecutePostUserRegistration" handler. Use "exports.onExecutePostUserRegistration = async function(event, api) { }" as the signature.'],
  ];
  test.each(cases)("%s fails with Auth0's text and is not retried", async (_name, code, message) => {
    const { error } = ended(await pool.run(invocation(version(code))), 'failed');
    expect(error).toMatchObject({ type: 'ACTION_INVALID', retryable: false, message });
  });

  test('a syntax error names the line', async () => {
    const { error } = ended(await pool.run(invocation(version('const a = 1;\nconst b = ;\n'))), 'failed');
    expect(error).toMatchObject({ type: 'ACTION_INVALID', name: 'SyntaxError', retryable: false });
    expect(error.stack).toMatch(/^Test Action\.js:2\n/);
  });

  test('what module scope throws is thrown again at every call, without running it again', async () => {
    const of = version(`console.log('loading'); throw new Error('no module ' + typeof exports);`);
    const first = ended(await pool.run(invocation(of)), 'failed');
    const second = ended(await pool.run(invocation(of)), 'failed');
    expect(first.error).toMatchObject({ type: 'ACTION_INVALID', message: 'no module object', retryable: false });
    expect(second.error).toEqual(first.error);
    expect([texts(first), texts(second)]).toEqual([['loading'], []]);
  });

  test('module.exports may be replaced, and the handler keeps its this', async () => {
    const code = 'module.exports = { n: 7, async onExecutePostUserRegistration() { console.log(this.n); } };';
    expect(texts(await pool.run(invocation(version(code))))).toEqual(['7']);
  });
});

describe('what a handler throws', () => {
  test('is reported with the true line of the Action and no frames of ours', async () => {
    const { error } = ended(await runBody(pool, `\n  throw new RangeError('too far');`), 'failed');
    expect(error).toMatchObject({ type: 'ACTION_THREW', name: 'RangeError', message: 'too far', retryable: true });
    expect(error.stack).toMatch(/^RangeError: too far\n {4}at .*\(Test Action\.js:3:9\)$/);
  });

  test('is not retried when it says retryable: false, and delayed by its retryAfter in seconds', async () => {
    const { error } = ended(await runBody(pool, `throw Object.assign(new Error('no'), { retryable: false, retryAfter: 1.5 });`), 'failed');
    expect(error).toMatchObject({ retryable: false, retryAfterMs: 1500 });
  });

  test.each([
    ['a text of seconds', `'120'`, 120_000],
    ['an HTTP date', `new Date(Date.now() + 90_500).toUTCString()`, 90_000],
    ['a Date', `new Date(Date.now() + 90_000)`, 90_000],
    ['a moment that has passed', `new Date(0)`, 0],
    ['more than a number holds', `1e308`, Number.MAX_SAFE_INTEGER],
    ['a text of more digits than a number holds', `'9'.repeat(400)`, Number.MAX_SAFE_INTEGER],
  ])('is delayed by a retryAfter that is %s', async (_name, retryAfter, expected) => {
    const { error } = ended(await runBody(pool, `throw Object.assign(new Error('busy'), { retryAfter: ${retryAfter} });`), 'failed');
    expect(error).toMatchObject({ retryable: true, retryAfterMs: expect.any(Number) });
    expect(Math.abs(error.retryAfterMs! - expected)).toBeLessThan(5000);
  });

  test.each(['-1', 'NaN', 'Infinity', `'soon'`, `new Date('never')`, '{}', 'null'])('is not delayed by a retryAfter of %s', async (retryAfter) => {
    const { error } = ended(await runBody(pool, `throw Object.assign(new Error('busy'), { retryAfter: ${retryAfter} });`), 'failed');
    expect(error).not.toHaveProperty('retryAfterMs');
  });

  test.each([['a string', `'plain'`, 'plain'], ['an object', `{ status: 500 }`, '{ status: 500 }'], ['undefined', 'undefined', 'undefined']])(
    'is reported even when it is %s',
    async (_name, thrown, message) => {
      expect(ended(await runBody(pool, `throw ${thrown};`), 'failed').error).toMatchObject({ type: 'ACTION_THREW', name: 'Error', message });
    },
  );

  test('does not break the report when it cannot be read', async () => {
    const body = `throw new Proxy({}, { get() { throw new Error('trap'); } });`;
    expect(ended(await runBody(pool, body), 'failed').error.type).toBe('ACTION_THREW');
  });

  test('never carries the value of a secret', async () => {
    const event = { secrets: { TOKEN: 'tok-4711-secret' } };
    const { error } = ended(await runBody(pool, `throw new Error('bad token ' + event.secrets.TOKEN);`, { event }), 'failed');
    expect(error.message).toBe('bad token [secret TOKEN]');
    expect(JSON.stringify(error)).not.toContain('tok-4711');
  });

  test('nor do the lines that it has written', async () => {
    const event = { secrets: { TOKEN: 'tok-4711-secret', SHORT: 'id' } };
    expect(texts(await runBody(pool, `console.log('with', event.secrets, event.secrets.SHORT);`, { event }))).toEqual([`with { TOKEN: '[secret TOKEN]', SHORT: 'id' } id`]);
  });

  test('tells its cause', async () => {
    const { error } = ended(await runBody(pool, `throw new Error('outer', { cause: new Error('inner') });`), 'failed');
    expect(error.message).toBe('outer [cause: inner]');
  });
});

describe('require', () => {
  test("gives Node's own modules, with and without node:", async () => {
    expect(texts(await runBody(pool, `console.log(require('path').join('a', 'b'), require('node:url').URL === URL);`))).toEqual(['a/b true']);
  });

  test.each([
    ['axios', `Cannot find module 'axios': add "axios" to the Action's dependencies and deploy it again.`],
    ['@slack/webhook/dist/x', `Cannot find module '@slack/webhook/dist/x': add "@slack/webhook" to the Action's dependencies and deploy it again.`],
    ['./other', `Cannot find module './other': an Action is a single file and can only require npm packages and Node's own modules.`],
    ['actions:shared', `Cannot find module 'actions:shared': add the module "shared" to the Action's modules and deploy it again.`],
  ])('of %s says what to do and is not retried', async (name, message) => {
    const body = ended(await runBody(pool, `require('${name}');`), 'failed');
    expect(body.error).toMatchObject({ type: 'ACTION_INVALID', message, retryable: false });
    const top = ended(await pool.run(invocation(version(`require('${name}');\n${handler('')}`))), 'failed');
    expect(top.error).toMatchObject({ type: 'ACTION_INVALID', message, retryable: false });
  });
});

describe('console', () => {
  test('is captured with level, time and format, from every way of writing', async () => {
    const before = Date.now();
    const result = ended(await runBody(pool, `
      console.log('%s is %d', 'answer', 42, { a: { b: { c: {} } } });
      console.info('i'); console.warn('w'); console.error('e'); console.debug('d');
      console.group('outer'); console.log('inner'); console.groupEnd();
      process.stdout.write('raw\\n'); process.stderr.write('err');
      require('console').log('module');
    `), 'succeeded');
    expect(result.logs.map(({ level, text }) => `${level}: ${text}`)).toEqual([
      "log: answer is 42 { a: { b: { c: {} } } }", 'info: i', 'warn: w', 'error: e', 'debug: d', 'log: outer', 'log:   inner', 'log: raw', 'error: err', 'log: module',
    ]);
    expect(result.logs.every(({ at }) => at >= before && at <= Date.now())).toBe(true);
  });

  test('keeps what was written before the process was killed', async () => {
    const result = ended(await runBody(pool, `console.log('before'); for (;;);`, { timeoutMs: 5_000 }), 'failed');
    expect(texts(result)).toEqual(['before']);
  });
});

test('the event arrives whole, secrets included, and its changes do not reach the next call', async () => {
  const of = version(handler(`console.log(JSON.stringify(event)); event.user.email = 'changed'; event.secrets = {};`));
  const event = { user: { email: 'a@example.com', app_metadata: {} }, secrets: { KEY: 'v' }, usher: { attempt: 3 } };
  for (const _ of [1, 2]) expect(texts(await pool.run(invocation(of, { event })))).toEqual([JSON.stringify(event)]);
});
