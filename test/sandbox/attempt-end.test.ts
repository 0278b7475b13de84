import { describe, expect, test } from 'vitest';
import type { LogLine } from '../../src/domain/invocation.ts';
import { ended, handler, invocation, receiver, runBody, runToEnd, TELL_END, testPool, texts, until, version } from './harness.ts';

const pool = await testPool({ slots: 4 });
const hanging = await receiver(() => {});
const slow = await receiver((_request, response) => setTimeout(() => response.writeHead(200).end('done'), 300));
const halfAnswer = await receiver((_request, response) => response.writeHead(200, { 'content-length': 10 }).write('half'));

describe('an attempt waits for the work that it began', () => {
  test.each([
    ['fetch', `fetch(event.url)`],
    ['http', `require('http').get(event.url, (response) => response.resume())`],
    ['a promise chain', `fetch(event.url).then((r) => r.text()).then(() => fetch(event.url))`],
    ['an agent with keep-alive', `require('http').get(event.url, { agent: new (require('http').Agent)({ keepAlive: true }) }, (r) => r.resume())`],
  ])('%s that nobody awaits: over as soon as the answer is there', async (_name, send) => {
    const result = await runToEnd((options) => runBody(pool, `${TELL_END} ${send};`, { event: { url: slow.url }, ...options }));
    expect(result.calls.map(({ status }) => status)).toContain(200);
    expect(result.durationMs).toBeGreaterThanOrEqual(290);
  });

  // Long deadlines: what the sandbox has told must have come by then.
  test.concurrent.each([
    ['fetch', hanging, `fetch(event.url, { method: 'POST' })`],
    ['http', hanging, `require('http').request(event.url, { method: 'POST' }).end()`],
    ['the rest of an answer that it reads with fetch', halfAnswer, `fetch(event.url, { method: 'POST' }).then((r) => r.text())`],
    ['the rest of an answer that it reads with http', halfAnswer, `require('http').request(event.url, { method: 'POST' }, (r) => r.on('data', () => {})).end()`],
  ])('%s to a hanging receiver fails at the deadline and is named', async (_name, { url, port }, send) => {
    const result = ended(await runBody(pool, `${send};`, { event: { url }, timeoutMs: 8000 }), 'failed');
    expect(result.error).toMatchObject({ type: 'ACTION_TIMED_OUT', retryable: true });
    expect(result.durationMs).toBeGreaterThanOrEqual(8000);
    expect(result.calls).toHaveLength(1);
    if (url === hanging.url) {
      expect(result.error.message).toBe(`The handler had ended, but requests that it began had no answer within 8 s: POST 127.0.0.1:${port}.`);
      expect(result.calls[0]).toMatchObject({ method: 'POST', host: `127.0.0.1:${port}`, error: 'no answer' });
    }
  });

  test('an answer whose body nobody reads does not count as work', async () => {
    ended(await runBody(pool, `await fetch(event.url);`, { event: { url: halfAnswer.url } }), 'succeeded');
  });

  test('a handler that hangs on a request is told so at the deadline', async () => {
    const { error } = ended(await runBody(pool, `await fetch(event.url);`, { event: { url: hanging.url }, timeoutMs: 8000 }), 'failed');
    expect(error.message).toBe(`The Action did not finish within 8 s; waiting for an answer to GET 127.0.0.1:${hanging.port}.`);
  });

  test('timers, immediates and file reads that nobody awaits are waited for', async () => {
    const result = await runBody(pool, `setTimeout(() => setImmediate(() => require('zlib').gzip('x', () => console.log('late'))), 20);`);
    expect(texts(result)).toEqual(['late']);
  });
});

test('a verdict that is there in time counts, however late this process gets to read it', async () => {
  const timeoutMs = 2000;
  const { url } = await receiver((_request, response) => {
    response.end('done');
    // From here on until after the deadline this process does nothing at all.
    setImmediate(() => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, timeoutMs + 300));
  });
  const result = await runBody(pool, `console.log(await (await fetch(event.url)).text());`, { event: { url }, timeoutMs });
  expect(result.outcome).toBe('succeeded');
  expect(texts(result)).toEqual(['done']);
});

describe('what stays alive for ever', () => {
  test('is given 2 s, does not fail the attempt, and the process stays warm', async () => {
    const of = version(`const started = Date.now(); setInterval(() => console.log('tick'), 100); const server = {};\n${handler('console.log(started);')}`);
    const first = ended(await pool.run(invocation(of)), 'succeeded');
    expect(first.durationMs).toBeGreaterThanOrEqual(1990);
    const [started, ...ticks] = texts(first);
    // However slow the machine is, there are not more of them in 2 s.
    expect(ticks.length).toBeLessThanOrEqual(25);
    expect(texts(await pool.run(invocation(of)))).toEqual([started]);
  });

  test('a pool of kept-alive sockets at module scope delays nothing', async () => {
    const of = version(`${TELL_END} const http = require('http'); const agent = new http.Agent({ keepAlive: true });
      const send = (url) => new Promise((done) => http.get(url, { agent }, (r) => r.resume().on('end', done)));
      ${handler('await send(event.url); await (await fetch(event.url)).text();')}`);
    for (const _ of [1, 2]) await runToEnd((options) => pool.run(invocation(of, { event: { url: slow.url } }), options));
  });

  test('writes its later output to the attempt that began it, while another one runs', async () => {
    const of = version(handler(`
      if (event.first) { setTimeout(() => console.log('from the first'), 2400); setTimeout(() => Promise.reject(new Error('late failure')), 2500); }
      await new Promise((done) => setTimeout(done, event.first ? 0 : 1200));
      console.log('own line');`));
    const late: Record<string, LogLine[]> = { first: [], second: [] };
    const first = await pool.run(invocation(of, { event: { first: true } }), { onLateOutput: (line) => late['first']?.push(line) });
    expect(texts(ended(first, 'succeeded'))).toEqual(['own line']);
    const second = await pool.run(invocation(of), { onLateOutput: (line) => late['second']?.push(line) });
    expect(texts(ended(second, 'succeeded'))).toEqual(['own line']);
    await until('the late lines', () => late['first']?.length === 2);
    expect(late['first']?.[0]).toMatchObject({ level: 'log', text: 'from the first' });
    expect(late['first']?.[1]?.text).toMatch(/^Unhandled rejection after the attempt had ended: Error: late failure\n/);
    expect(late['second']).toEqual([]);
  });
});

describe('errors that no handler sees', () => {
  test.each([
    ['an unhandled rejection', `Promise.reject(new Error('stray'));`],
    ['an unhandled rejection later', `setTimeout(() => Promise.reject(new Error('stray')), 100);`],
    ['an exception in a callback', `setTimeout(() => { throw new Error('stray'); }, 100);`],
    ['an error event without a listener', `setTimeout(() => new (require('events'))().emit('error', new Error('stray')), 50);`],
  ])('%s fails the attempt', async (_name, body) => {
    const of = version(handler(`if (event.bad) { ${body} }`));
    const { error } = ended(await pool.run(invocation(of, { event: { bad: true } })), 'failed');
    expect(error).toMatchObject({ type: 'ACTION_THREW', message: 'stray', retryable: true });
    ended(await pool.run(invocation(of)), 'succeeded');
  });

  test('a rejection that is handled in time does not', async () => {
    ended(await runBody(pool, `const p = Promise.reject(new Error('x')); await p.catch(() => {});`), 'succeeded');
  });
});

test('a handler that waits for something that cannot happen fails at once', async () => {
  const { error } = ended(await runBody(pool, `await new Promise(() => {});`), 'failed');
  expect(error).toMatchObject({ type: 'ACTION_UNSETTLED', retryable: true });
});

test('a failed handler is over only when its requests are', async () => {
  const result = ended(await runBody(pool, `fetch(event.url); throw new Error('early');`, { event: { url: slow.url } }), 'failed');
  expect(result.error.message).toBe('early');
  expect(result.calls).toMatchObject([{ status: 200 }]);
});

test('a handler that failed while a request hangs keeps its own error at the deadline', async () => {
  const result = ended(await runBody(pool, `fetch(event.url); throw new Error('early');`, { event: { url: hanging.url }, timeoutMs: 8000 }), 'failed');
  expect(result.error).toMatchObject({ type: 'ACTION_THREW', message: 'early' });
});

describe("waiting for the handler alone ('handler')", () => {
  const waitFor = 'handler' as const;

  test('answers as soon as the handler settles', async () => {
    ended(await runBody(pool, `fetch(event.url); setTimeout(() => {}, 60000);`, { event: { url: hanging.url }, waitFor }), 'succeeded');
  });

  test.each([
    ['is done', `busy = true; setTimeout(() => { busy = false; }, 300);`, 290],
    ['has had its 2 s', `setInterval(() => {}, 100);`, 1900],
  ])('a process takes the next call only when its left-over work %s', async (_name, leftOver, atLeastMs) => {
    const of = version(`let busy = false; let last; ${handler(`console.log(busy, last === undefined ? 'new' : Date.now() - last); last = Date.now(); ${leftOver}`)}`);
    const lines: string[] = [];
    const next = async () => {
      lines.push(...texts(await pool.run(invocation(of, { waitFor }))));
      return lines.at(-1)?.endsWith('new');
    };
    await expect.poll(next, { timeout: 10_000, interval: 200 }).toBe(false);
    expect(lines.filter((line) => line.startsWith('true'))).toEqual([]);
    expect(lines.length).toBeGreaterThan(1);
    expect(Number(lines.at(-1)?.split(' ')[1])).toBeGreaterThanOrEqual(atLeastMs);
  });

  test('a process that never becomes free is ended', async () => {
    const single = await testPool({ slots: 1 });
    await runBody(single, `setTimeout(() => { for (;;); }, 20);`, { waitFor });
    expect(single.pids()).toHaveLength(1);
    await until('the process to be gone', () => single.pids().length === 0);
  });
});
