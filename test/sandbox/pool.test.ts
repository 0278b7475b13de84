import { chmod, mkdtemp, rm } from 'node:fs/promises';
import type { ServerResponse } from 'node:http';
import { getPriority, tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { createSandboxPool } from '../../src/sandbox/pool.ts';
import { ended, handler, invocation, isAlive, receiver, runBody, silent, testPool, texts, until, version } from './harness.ts';

describe('warm processes', () => {
  test('module scope lives on from call to call of one version, and no version shares it', async () => {
    const pool = await testPool();
    const code = `let calls = 0;\n${handler('console.log(++calls, process.pid);')}`;
    const [one, other] = [version(code), version(code)];
    const lines = [];
    for (const of of [one, one, other, one]) lines.push(texts(await pool.run(invocation(of)))[0]?.split(' '));
    expect(lines.map((line) => line?.[0])).toEqual(['1', '2', '1', '3']);
    expect(new Set(lines.map((line) => line?.[1])).size).toBe(2);
  });

  test('the next call after a crash gets a new process', async () => {
    const pool = await testPool();
    const of = version(`let calls = 0;\n${handler('console.log(++calls); if (event.crash) process.exit(1);')}`);
    const lines = [];
    for (const crash of [false, true, false]) lines.push(...texts(await pool.run(invocation(of, { event: { crash } }))));
    expect(lines).toEqual(['1', '2', '1']);
  });

  test('a call whose warm process dies just then runs in a new one', async () => {
    const pool = await testPool({ slots: 1 });
    const of = version(handler(`console.log(process.pid);`));
    const [first] = texts(await pool.run(invocation(of)));
    process.kill(Number(first), 'SIGKILL');
    const [second] = texts(ended(await pool.run(invocation(of)), 'succeeded'));
    expect(second).not.toBe(first);
  });

  test('a process is retired after 500 calls', async () => {
    const pool = await testPool({ slots: 1 });
    const of = version(`let calls = 0;\n${handler('console.log(++calls);')}`);
    let highest = 0;
    for (let i = 0; i < 505; i++) highest = Math.max(highest, Number(texts(await pool.run(invocation(of)))[0]));
    expect(highest).toBe(500);
  });

  test('no more than 16 are kept', async () => {
    const pool = await testPool({ slots: 2 });
    for (let i = 0; i < 20; i++) ended(await runBody(pool, ''), 'succeeded');
    await expect.poll(() => pool.pids().length).toBe(16);
  });
});

describe('slots', () => {
  test('50 calls at once over 3 slots all succeed, never more than 3 at work', async () => {
    const pool = await testPool({ slots: 3, maxWaitMs: 60_000 });
    let atWork = 0;
    let most = 0;
    const second = Promise.withResolvers<void>();
    const answer = (response: ServerResponse) => {
      atWork--;
      response.end();
    };
    const gate = await receiver((_request, response, number) => {
      most = Math.max(most, ++atWork);
      if (number === 2) second.resolve();
      void second.promise.then(() => setTimeout(answer, 10, response));
    });
    const ofs = [1, 2, 3, 4].map(() => version(handler(`await fetch(event.url); console.log(event.n);`)));
    const results = await Promise.all(Array.from({ length: 50 }, (_, n) => pool.run(invocation(ofs[n % 4] ?? version(''), { event: { url: gate.url, n } }))));
    expect(results.map((result) => texts(result)[0])).toEqual(Array.from({ length: 50 }, (_, n) => String(n)));
    expect(most).toBeGreaterThan(1);
    expect(most).toBeLessThanOrEqual(3);
  });

  test('a call that finds no free slot in time is not run, and does not count as the Action’s failure', async () => {
    const pool = await testPool({ slots: 1, maxWaitMs: 200 });
    const held = Promise.withResolvers<void>();
    const gate = await receiver((_request, response) => void held.promise.then(() => response.end()));
    const long = runBody(pool, `await fetch(event.url); console.log('ran');`, { event: { url: gate.url } });
    expect(await runBody(pool, '')).toEqual({ outcome: 'not-run', reason: 'No sandbox was free within 0.2 s.', delayMs: 1000 });
    held.resolve();
    expect(texts(await long)).toEqual(['ran']);
    ended(await runBody(pool, ''), 'succeeded');
  });
});

describe('cancelling', () => {
  test.each([['an endless loop', 'for (;;);'], ['a waiting handler', 'await new Promise((done) => setTimeout(done, 60000));']])('%s is dead when it answers cancelled', async (_name, body) => {
    const pool = await testPool({ slots: 1 });
    const started = await receiver((_request, response) => response.end());
    const controller = new AbortController();
    const running = runBody(pool, `await fetch(event.url); ${body}`, { event: { url: started.url }, signal: controller.signal });
    await until('the call', () => started.requests.length === 1);
    const pids = pool.pids();
    controller.abort();
    expect(await running).toEqual({ outcome: 'cancelled' });
    expect(pids.map(isAlive)).toEqual([false]);
    ended(await runBody(pool, ''), 'succeeded');
  });

  test('a call that waits in the queue, or comes too late, never starts', async () => {
    const pool = await testPool({ slots: 1 });
    const long = runBody(pool, `await new Promise((done) => setTimeout(done, 500));`);
    const controller = new AbortController();
    const queued = runBody(pool, `console.log('ran');`, { signal: controller.signal });
    controller.abort();
    expect(await queued).toEqual({ outcome: 'cancelled' });
    expect(await runBody(pool, '', { signal: controller.signal })).toEqual({ outcome: 'cancelled' });
    ended(await long, 'succeeded');
  });
});

describe('starting', () => {
  test('leaves a busy processor to sign-ups where it is told to, and only there', async () => {
    for (const [givesWay, nice] of [[true, 10], [false, getPriority()]] as const) {
      const pool = await createSandboxPool({ slots: 1, givesWay, egress: { allow: [], loopbackOpen: true }, logger: silent });
      ended(await runBody(pool, ''), 'succeeded');
      expect(pool.pids().map((pid) => getPriority(pid))).toEqual([nice]);
      await pool.close({ graceMs: 0 });
    }
  });

  test.runIf(process.getuid?.() === 0)('says so where the sandboxes\' user cannot get at the dependencies, and runs them all the same', async () => {
    const closed = await mkdtemp(join(tmpdir(), 'usher-closed-'));
    const pool = await createSandboxPool({ slots: 1, egress: { allow: [], loopbackOpen: true }, dependenciesRoot: closed, logger: silent });
    expect(pool.describeIsolation()).toContainEqual(expect.stringMatching(/^user: MISSING/));
    ended(await runBody(pool, ''), 'succeeded');
    await pool.close({ graceMs: 0 });
    await rm(closed, { recursive: true });
  });
});

describe('closing', () => {
  test('lets a call end within the grace time, sends the queue away and leaves no process', async () => {
    const pool = await createSandboxPool({ slots: 1, egress: { allow: [], loopbackOpen: true }, logger: silent });
    const started = await receiver((_request, response) => response.end());
    const short = runBody(pool, `await fetch(event.url); await new Promise((done) => setTimeout(done, 300)); console.log('finished');`, { event: { url: started.url } });
    const queued = runBody(pool, '');
    await until('the call', () => started.requests.length === 1);
    const pids = pool.pids();
    await pool.close({ graceMs: 30_000 });
    expect(texts(await short)).toEqual(['finished']);
    expect(await queued).toMatchObject({ outcome: 'not-run', reason: 'Usher is stopping.' });
    expect(await runBody(pool, '')).toMatchObject({ outcome: 'not-run', reason: 'Usher is stopping.' });
    expect([...pids, ...pool.pids()].map(isAlive)).not.toContain(true);
  });

  test('cuts short what takes longer, which then does not count', async () => {
    const pool = await createSandboxPool({ slots: 1, egress: { allow: [], loopbackOpen: true }, logger: silent });
    const started = await receiver((_request, response) => response.end());
    const long = runBody(pool, `await fetch(event.url); for (;;);`, { event: { url: started.url } });
    await until('the call', () => started.requests.length === 1);
    await pool.close({ graceMs: 100 });
    expect(await long).toMatchObject({ outcome: 'not-run', reason: /^Usher is stopping: the attempt was cut short/ });
    expect(pool.pids()).toEqual([]);
  });
});

test.runIf(process.getuid?.() === 0)('dependencies that the sandboxes’ user cannot read are our mistake and say so', async () => {
  const pool = await testPool();
  const dir = await mkdtemp(join(tmpdir(), 'usher-unreadable-'));
  await chmod(dir, 0o700);
  const result = ended(await runBody(pool, '', { version: { dependenciesDir: dir } }), 'not-run');
  expect(result.reason).toContain(`${dir} needs mode o+rx`);
  await rm(dir, { recursive: true });
});

test('a pool goes on when the system has cleaned its temporary folder', async () => {
  const before = process.env['TMPDIR'];
  const own = await mkdtemp(join(tmpdir(), 'usher-cleaned-'));
  await chmod(own, 0o755);
  process.env['TMPDIR'] = own;
  const pool = await testPool().finally(() => {
    if (before === undefined) delete process.env['TMPDIR'];
    else process.env['TMPDIR'] = before;
  });
  const [main = ''] = texts(await runBody(pool, `console.log(process.argv[1]);`));
  expect(main.startsWith(own)).toBe(true);
  await rm(main);
  ended(await runBody(pool, ''), 'succeeded');
  await rm(own, { recursive: true });
});

test('the walls in force are named, and so are those that are missing', async () => {
  const pool = await testPool({ egress: { allow: ['10.1.0.0/16'], loopbackOpen: true } });
  const lines = pool.describeIsolation();
  expect(lines.map((line) => line.split(':')[0])).toEqual(['processes', 'permissions', 'network', 'environment', 'user', 'memory', 'deadline', 'death with Usher', 'namespaces']);
  expect(lines[2]).toContain('(open: loopback, 10.1.0.0/16)');
});
