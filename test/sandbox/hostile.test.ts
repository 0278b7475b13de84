import { describe, expect, test } from 'vitest';
import type { LogLine } from '../../src/domain/invocation.ts';
import { ended, handler, invocation, isAlive, runBody, testPool, texts, until, version } from './harness.ts';

const pool = await testPool();

describe('an Action that misbehaves only harms itself', () => {
  test('an endless loop is dead when its deadline is reported', async () => {
    const single = await testPool({ slots: 1 });
    const running = runBody(single, `for (;;);`, { timeoutMs: 400 });
    await until('the process', () => single.pids().length === 1);
    const pids = single.pids();
    const result = ended(await running, 'failed');
    expect(result.error).toMatchObject({ type: 'ACTION_TIMED_OUT', message: 'The Action did not finish within 0.4 s.' });
    expect(pids.map(isAlive)).toEqual([false]);
  });

  test.each([['by process.exit', 'process.exit(0)', 'code 0'], ['by process.abort', 'process.abort()', 'signal SIGABRT'], ['by a signal to itself', `process.kill(process.pid, 'SIGKILL'); await new Promise((r) => setTimeout(r, 5000))`, 'signal SIGKILL']])(
    'ending its process %s is a crash, and the next call gets a new one',
    async (_name, way, how) => {
      const of = version(handler(`if (event.end) { console.log('last words'); ${way}; }`));
      const result = ended(await pool.run(invocation(of, { event: { end: true } })), 'failed');
      expect(result.error).toMatchObject({ type: 'ACTION_CRASHED', retryable: true });
      expect(result.error.message).toContain(how);
      expect(texts(result)).toEqual(['last words']);
      ended(await pool.run(invocation(of)), 'succeeded');
    },
  );

  test('filling the heap ends it as out of memory', async () => {
    const { error } = ended(await runBody(pool, `const all = []; for (;;) all.push(new Array(10000).fill({}));`, { timeoutMs: 30_000 }), 'failed');
    expect(error).toMatchObject({ type: 'ACTION_OUT_OF_MEMORY', message: 'The Action ran out of memory (heap limit 128 MiB).' });
  });

  test('filling buffers, which the heap does not hold, ends it as out of memory', async () => {
    // So slowly that the watch, which looks ten times a second, comes before the kernel's limit.
    const { error } = ended(await runBody(pool, `const all = []; for (;;) { all.push(Buffer.alloc(8e6, 1)); await new Promise((done) => setTimeout(done, 50)); }`, { timeoutMs: 30_000 }), 'failed');
    expect(error).toMatchObject({ type: 'ACTION_OUT_OF_MEMORY', message: 'The Action used more than 384 MiB of memory.' });
  });

  test('output is kept up to 256 KiB, and said to be cut', async () => {
    const result = ended(await runBody(pool, `for (let i = 0; i < 1000; i++) console.log('ä'.repeat(500));`), 'succeeded');
    const kept = Buffer.byteLength(texts(result).join(''));
    expect(result.logsTruncated).toBe(true);
    expect(kept).toBeGreaterThan(200 * 1024);
    expect(kept).toBeLessThanOrEqual(256 * 1024);
  });

  test.each([['many lines', `for (;;) console.log('x'.repeat(1000));`], ['empty lines', `for (;;) console.log('');`], ['one huge line', `console.log('x'.repeat(50e6)); for (;;);`]])(
    'a flood of output (%s) ends the attempt',
    async (_name, body) => {
      const result = ended(await runBody(pool, body, { timeoutMs: 30_000 }), 'failed');
      expect(result.error).toMatchObject({ type: 'ACTION_OUTPUT_LIMIT', message: 'The Action wrote more than 8 MiB of output.' });
      expect(Buffer.byteLength(texts(result).join(''))).toBeLessThanOrEqual(256 * 1024);
    },
  );

  test('what left-over work writes is bounded with its attempt', async () => {
    const late: LogLine[] = [];
    const of = version(handler(`if (event.flood) setTimeout(() => { for (let i = 0; i < 2000; i++) console.log('x'.repeat(1000)); }, 2100); else await new Promise((r) => setTimeout(r, 300));`));
    await pool.run(invocation(of, { event: { flood: true } }), { onLateOutput: (line) => late.push(line) });
    await pool.run(invocation(of));
    const bytes = late.reduce((sum, { text }) => sum + text.length, 0);
    expect(bytes).toBeGreaterThan(100 * 1024);
    expect(bytes).toBeLessThanOrEqual(256 * 1024);
  });
});

describe('an Action sees nothing of the machine', () => {
  test.each([
    ['/etc/passwd', `require('fs').readFileSync('/etc/passwd')`],
    ["Usher's own files", `require('fs').readFileSync(${JSON.stringify(new URL('../../package.json', import.meta.url).pathname)})`],
    ['its environment on disk', `require('fs').readFileSync('/proc/self/environ')`],
    ['a folder', `require('fs').readdirSync('/')`],
    ['writing a file', `require('fs').writeFileSync('/tmp/usher-was-here', 'x')`],
    ['a child process', `require('child_process').execSync('id')`],
    ['a fork', `require('child_process').fork('/dev/null')`],
    ['a cluster worker', `require('cluster').fork()`],
    ['a worker thread', `new (require('worker_threads').Worker)('1', { eval: true })`],
    ['the inspector', `require('inspector').open(0)`],
    ["Node's bindings", `process.binding('spawn_sync')`],
    ['an addon', `process.dlopen({ exports: {} }, '/tmp/x.node')`],
    ['a diagnostic report', `process.report.writeReport('/tmp/r.json')`],
    ['a heap snapshot', `require('v8').writeHeapSnapshot('/tmp/h')`],
    ['another program in its place', `process.execve('/bin/sh', ['sh'])`],
    ['WASI', `new (require('wasi').WASI)({ version: 'preview1', preopens: { '/': '/' } })`],
  ])('%s is denied', async (_name, call) => {
    const { error } = ended(await runBody(pool, `${call};`), 'failed');
    expect(error.type).toBe('ACTION_THREW');
    expect(error.message).toMatch(/restricted|denied|disabled|process\.binding|not available in an Action/i);
  });

  test.each([['node:sqlite', `require('node:sqlite')`], ['node:ffi', `require('node:ffi')`]])('%s is not there', async (_name, call) => {
    expect(ended(await runBody(pool, `${call};`), 'failed').error.message).toMatch(/No such built-in module|add "node:/);
  });

  test('its environment is empty', async () => {
    expect(texts(await runBody(pool, `console.log(JSON.stringify(process.env), Object.keys(process.report.getReport().environmentVariables).length);`))).toEqual(['{} 0']);
  });

  test('no other process can be signalled, woken or slowed down', async () => {
    const result = await runBody(pool, `
      const attempt = (work) => { try { work(); return 'done'; } catch (error) { return error.code ?? error.message; } };
      console.log(attempt(() => process.kill(process.ppid, 0)), attempt(() => process.kill(process.ppid, 'SIGKILL')), attempt(() => process.kill(-1, 0)),
        typeof process._debugProcess, attempt(() => require('os').setPriority(process.ppid, 10)), attempt(() => process.kill(process.pid, 0)));`);
    expect(texts(result)).toEqual(['EPERM EPERM EPERM undefined os.setPriority: an Action can only change its own. done']);
  });

  test.runIf(process.getuid?.() === 0)('it runs as nobody when Usher runs as root', async () => {
    expect(texts(await runBody(pool, `console.log(process.getuid(), process.getgid(), process.getgroups().join());`))).toEqual(['65534 65534 65534']);
    expect(ended(await runBody(pool, `process.setuid(0);`), 'failed').error.message).toContain('EPERM');
  });
});

describe('an Action cannot speak for the sandbox', () => {
  test('the ways of speaking to the parent are gone, and a forged reply is not believed', async () => {
    const { error } = ended(await runBody(pool, `
      console.log(typeof process.send, process._send?.({ type: 'verdict', token: 'x', free: true, cacheChanges: [], commands: [] }));
      try { process.on('message', () => {}); } catch (error) { console.log(error.message); }
      throw new Error('the truth');`), 'failed');
    expect(error).toMatchObject({ type: 'ACTION_THREW', message: 'the truth' });
  });

  const raw = (bytes: string): string => `require('fs').writeSync(3, ${bytes}); await new Promise((done) => setTimeout(done, 3000));`;
  const verdict = `JSON.stringify(JSON.stringify({ type: 'verdict', token: 'guess', free: true, cacheChanges: [], commands: [] })) + '\\n'`;

  test('a verdict with a wrong token, written to the descriptor, is not believed', async () => {
    const body = `require('fs').writeSync(3, ${verdict}); await new Promise((done) => setTimeout(done, 100)); throw new Error('the truth');`;
    expect(ended(await runBody(pool, body), 'failed').error.message).toBe('the truth');
  });

  test.each([
    ['what is not JSON', raw(`'garbage\\n'`), /^The Action disturbed the sandbox: it sent what is not a message/],
    ['an acknowledgement that nobody asked for', raw(`'{"cmd":"NODE_HANDLE_ACK"}\\n'`), /acknowledged what was not sent/],
    ["a message of Node's own", raw(`'{"cmd":"NODE_HANDLE","type":"net.Socket"}\\n'`), /a message of Node's own/],
    ['what the protocol does not know', raw(`'{"type":"verdict"}\\n'`), /what the protocol does not know/],
    ['a message with a field too many', raw(`JSON.stringify(JSON.stringify({ type: 'ready', protocol: 1, more: 1 })) + '\\n'`), /what the protocol does not know/],
    ['a line without end', `const fs = require('fs'); const block = Buffer.alloc(65536, 'x'); for (;;) { try { fs.writeSync(3, block); } catch (error) { if (error.code !== 'EAGAIN') throw error; } }`, /it sent more than it may/],
  ])('%s, written to the descriptor, ends the Action and not its parent', async (_name, body, message) => {
    const { error } = ended(await runBody(pool, body), 'failed');
    expect(error.type).toBe('ACTION_CRASHED');
    expect(error.message).toMatch(message);
    ended(await runBody(pool, ''), 'succeeded');
  });
});

test('polluted prototypes neither break the runner nor reach another Action', async () => {
  const pollution = `
    for (const name of ['error', 'type', 'addresses', 'path', 'carrier', 'failure', 'stack', 'then']) {
      if (name !== 'path' && name !== 'then') Object.prototype[name] = 'polluted';
    }
    JSON.stringify = () => '{}'; Date.now = () => 0; globalThis.Error = null; Reflect.apply = () => 0; process.kill = null; console.log = () => {};
    Array.prototype.push = () => { throw 1; };`;
  const of = version(handler(`if (event.first) { ${pollution} }`));
  ended(await pool.run(invocation(of, { event: { first: true } })), 'succeeded');
  ended(await pool.run(invocation(of)), 'succeeded');
  expect(texts(await runBody(pool, `console.log(typeof ({}).error, JSON.stringify([1]), Date.now() > 0);`))).toEqual(['undefined [1] true']);
});
