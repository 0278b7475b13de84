import { mkdir, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startRegistry, type TestRegistry } from '../builds/registry.ts';
import { isAlive, receiver, until } from '../sandbox/harness.ts';
import { type Desk, exported, exportedModule, makeDesk, startProgram, USHER } from './cli.ts';

let registry: TestRegistry;
let desk: Desk;

beforeAll(async () => {
  registry = await startRegistry();
  await registry.publish('greeting', '1.0.0');
  await registry.publish('greeting', '1.5.0');
  desk = await makeDesk(registry.url);
});
afterAll(() => registry.close());

const post = (body: string) => `exports.onExecutePostUserRegistration = async (event, api) => {\n${body}\n};\n`;
const pre = (body: string) => `exports.onExecutePreUserRegistration = async (event, api) => {\n${body}\n};\n`;

async function runJson(...args: string[]) {
  const { code, out, err } = await desk.usher('action', 'run', '--json', ...args);
  if (out === '') throw new Error(`exit code ${code}: ${err}`);
  return { code, run: JSON.parse(out) };
}

describe('the Action', () => {
  test('gets the sample event of its trigger, which is told by the handler that it exports', async () => {
    await desk.write({ 'post.js': post('console.log(event.user.user_id, event.usher.attempt)'), 'pre.js': pre('console.log(event.user.user_id, event.client.name)') });
    const [first, second] = [await runJson('post.js'), await runJson('pre.js')];
    expect(first).toMatchObject({ code: 0, run: { action: 'post', trigger: 'post-user-registration', error: null, logs: [{ text: 'auth0|5f7c8ec7c33c6c004bbafe82 1' }] } });
    expect(second).toMatchObject({ code: 0, run: { trigger: 'pre-user-registration', error: null, logs: [{ text: 'undefined My App' }] } });
  });

  test('gets the given event as it is, with secrets and usher added', async () => {
    await desk.write({ 'keys.js': post('console.log(Object.keys(event).join(), event.user.email, event.secrets.KEY.length)'), 'event.json': { user: { email: 'ada@example.com' } }, 'keys.env': 'KEY=12345' });
    const { run } = await runJson('keys.js', '--event', 'event.json', '--secrets', 'keys.env');
    expect(run.logs).toMatchObject([{ text: 'user,secrets,usher ada@example.com 5' }]);
  });

  test('reaches services of this machine, and what came of each call is told', async () => {
    const { url, port } = await receiver((_request, response) => void response.writeHead(500).end());
    await desk.write({ 'call.js': post(`await fetch('${url}/path-that-stays-secret', { method: 'POST' })`) });
    const { code, out } = await desk.usher('action', 'run', 'call.js');
    expect(code).toBe(0);
    expect(out).toMatch(new RegExp(`call +POST 127\\.0\\.0\\.1:${port} +500 +\\d+ ms`));
    expect(out).toMatch(/succeeded in \d+ ms .*with 1 failed call/);
    expect(out).not.toContain('path-that-stays-secret');
  });

  test('that fails ends with exit code 1, and its frames stand in its own file', async () => {
    await desk.write({ 'sub/broken.js': `// one\n// two\n${post("helper();\n}\nfunction helper() {\n  throw new TypeError('no plan', { cause: new Error('the reason') });")}` });
    const { code, out } = await desk.usher('action', 'run', 'sub/broken.js');
    expect(code).toBe(1);
    expect(out).toMatch(/✗ failed in \d+ ms .*: ACTION_THREW/);
    expect(out).toContain('TypeError: no plan\n');
    expect(out).toMatch(/at helper \(sub\/broken\.js:7:\d+\)/);
    expect(out).toMatch(/at exports\.onExecutePostUserRegistration \(sub\/broken\.js:4:\d+\)/);
    expect(out).toContain('no plan [cause: the reason]');
    expect(out).not.toContain('node:');
  });

  test('with a syntax error shows the line', async () => {
    await desk.write({ 'syntax.js': post('const a = ;') });
    const { code, out } = await desk.usher('action', 'run', 'syntax.js');
    expect(code).toBe(1);
    expect(out).toContain('syntax.js:2\n');
    expect(out).toContain("SyntaxError: Unexpected token ';'");
  });

  test('of pre-user-registration may deny, and all that it asked for is told', async () => {
    await desk.write({ 'deny.js': pre("api.user.setAppMetadata('plan', { level: 3 });\napi.cache.set('seen', 'yes');\napi.access.deny('spam', 'Not today');") });
    const { code, out } = await desk.usher('action', 'run', 'deny.js');
    expect(code).toBe(0);
    expect(out).toContain('user.setAppMetadata("plan", {"level":3})');
    expect(out).toContain('access.deny("spam", "Not today")');
    expect(out).toContain('cache.set("seen", "yes") until 2');
    expect(out).toContain('It denies the sign-up.');
  });
});

describe('packages', () => {
  test('that the code requires are installed at their latest once, and a second run needs no registry', async () => {
    await desk.write({ 'greet.js': `const greeting = require('greeting');\n${post('console.log(greeting)')}` });
    const first = await desk.usher('action', 'run', 'greet.js');
    expect(first).toMatchObject({ code: 0, err: expect.stringContaining('Installing greeting@latest') });
    expect(first.out).toContain('greeting@1.5.0');
    expect(first.out).toContain('are taken at "latest"');

    await registry.publish('greeting', '1.6.0');
    const asked = registry.requests.length;
    const second = await desk.usher('action', 'run', 'greet.js');
    expect(second.out).toContain('greeting@1.5.0');
    expect(registry.requests.length).toBe(asked);

    expect((await desk.usher('action', 'run', 'greet.js', '--reinstall')).out).toContain('greeting@1.6.0');
  });

  test('of an export are those of its JSON file, however the Action is named', async () => {
    const files = exported('Greet people', post("console.log(require('greeting'), Object.keys(event.secrets))"), {
      dependencies: [{ name: 'greeting', version: '1.0.0' }],
      secrets: [{ name: 'GIVEN' }, { name: 'MISSING' }],
    });
    await desk.write({ ...files, 'secrets.json': { GIVEN: 'x', MORE: 'y' } });
    for (const path of ['actions/Greet people', 'actions/Greet people.json', 'actions/Greet people/code.js']) {
      const { code, run } = await runJson(path, '--secrets', 'secrets.json');
      expect(code).toBe(0);
      expect(run).toMatchObject({ action: 'Greet people', packages: [{ name: 'greeting', version: '1.0.0' }], logs: [{ text: "greeting@1.0.0 [ 'GIVEN', 'MORE' ]" }] });
      expect(run.notes).toEqual([expect.stringContaining('No value is given for the secret MISSING'), expect.stringContaining('not there once deployed: MORE')]);
    }
  });

  test('that are not in the registry are a failure of the Action; a registry that does not answer is none', async () => {
    await desk.write({ 'gone.js': `require('no-such-thing');\n${post('')}` });
    expect(await desk.usher('action', 'run', 'gone.js')).toMatchObject({ code: 1, out: expect.stringContaining('A dependency is not in the registry') });
    const alone = await makeDesk();
    await alone.write({ 'gone.js': `require('greeting');\n${post('')}` });
    expect(await alone.usher('action', 'run', 'gone.js')).toMatchObject({ code: 2, out: '', err: expect.stringContaining('The npm registry did not answer') });
  });

  test('that npm cannot write down are no failure of the Action', async () => {
    await desk.write({ 'a-file': '', 'late.js': `require('greeting');\n${post('')}` });
    for (const name of ['npm_config_cache', 'XDG_CACHE_HOME']) {
      const env = { ...desk.env, [name]: join(desk.dir, 'a-file', 'cache') };
      const { code, err } = await startProgram(process.execPath, [USHER, 'action', 'run', 'late.js', '--reinstall'], { cwd: desk.dir, env }).ended;
      expect(code).toBe(2);
      expect(err).toMatch(/cannot (be kept|write) .*ENOTDIR/);
      expect(err).not.toContain('    at ');
    }
  });
});

describe('modules', () => {
  test('of the export are there for the Action, each with its own secrets and packages', async () => {
    const action = exported('Uses modules', post("const { greet } = require('actions:greetings');\ngreet();\nconsole.log(Object.keys(event.secrets).join())"), {
      secrets: [{ name: 'OWN' }, { name: 'SHARED' }],
      modules: [{ module_name: 'greetings', module_version_number: 1 }],
    });
    const module = exportedModule('greetings', "exports.greet = () => console.log(require('greeting'), Object.keys(actions.secrets).join());\n", {
      dependencies: [{ name: 'greeting', version: '1.0.0' }],
      secrets: [{ name: 'OF_MODULE' }, { name: 'SHARED' }],
    });
    await desk.write({ ...action, ...module, 'of-modules.json': { OWN: 'own', SHARED: 'shared', OF_MODULE: 'its own' } });
    const { code, run } = await runJson('actions/Uses modules', '--secrets', 'of-modules.json');
    expect(run).toMatchObject({ error: null, notes: [], packages: [{ name: 'greeting', version: '1.0.0' }], logs: [{ text: 'greeting@1.0.0 SHARED,OF_MODULE' }, { text: 'OWN,SHARED' }] });
    expect(code).toBe(0);
  });

  test('that are not in the export are told', async () => {
    await desk.write(exported('Lacks a module', post("require('actions:nowhere')"), { modules: [{ module_name: 'nowhere', module_version_number: 1 }] }));
    const { code, run } = await runJson('actions/Lacks a module');
    expect(code).toBe(1);
    expect(run).toMatchObject({ error: { type: 'ACTION_INVALID' }, notes: ['The module nowhere is not in the folder action-modules of the export.'] });
  });
});

describe('secrets', () => {
  const values = { API_KEY: 'sk_live_4711/+"quoted"', PEM: '-----BEGIN-----\nline-of-the-key\n-----END-----', WORD: 'abcd', TINY: 'xy' };

  test.each([['as lines', '.env'], ['as JSON', 'json']])('given %s are never printed, also not when the Action logs, throws or sends them to api', async (_how, kind) => {
    const lines = `export API_KEY='${values.API_KEY}'\nPEM="${values.PEM}"\nWORD=abcd\n# a comment\nTINY=xy\n`;
    await desk.write({
      [`s.${kind}`]: kind === 'json' ? values : lines,
      'leak.js': pre(
        "console.log(event.secrets);\nconsole.log(event.secrets.API_KEY, event.secrets.TINY);\nconsole.warn(JSON.stringify(event.secrets));\n" +
        "console.log(event.secrets.PEM.split('\\n')[1], encodeURIComponent(event.secrets.API_KEY));\nconsole.log(`${event.secrets.WORD}${event.secrets.WORD}`);\n" +
        "api.user.setUserMetadata('k', { [event.secrets.WORD]: event.secrets.API_KEY });\napi.cache.set('c', event.secrets.PEM);\n" +
        "throw new Error(event.secrets.API_KEY + event.secrets.WORD);",
      ),
    });
    for (const json of [[], ['--json']]) {
      const { code, out, err } = await desk.usher('action', 'run', 'leak.js', '--secrets', `s.${kind}`, ...json);
      expect(code).toBe(1);
      for (const part of ['sk_live_4711', 'line-of-the-key', 'abcd', '-----BEGIN']) expect(out + err).not.toContain(part);
      expect(out).toContain('[secret API_KEY] xy');
      expect(out).toContain('[secret WORD][secret WORD]');
      expect(out).toContain('Error: [secret API_KEY][secret WORD]');
    }
  });

  test('that cannot be read are refused without quoting the file', async () => {
    await desk.write({ 'half.json': '{ "KEY": "sk_live_4711" "B": 1 }', 'number.json': { KEY: 4711 }, 'list.json': ['sk_live_4711'], 'colon.env': 'KEY: sk_live_4711', 'ok.js': post('') });
    for (const file of ['half.json', 'number.json', 'list.json', 'colon.env', 'nowhere.json']) {
      const { code, out, err } = await desk.usher('action', 'run', 'ok.js', '--secrets', file);
      expect(code).toBe(2);
      expect(out + err).toContain(file);
      expect(out + err).not.toContain('4711');
    }
  });
});

describe('wrong use', () => {
  test.each([
    ['no file', ['action', 'run'], 'missing required argument'],
    ['an unknown option', ['action', 'run', 'ok.js', '--evnt', 'x'], 'unknown option'],
    ['a file that is not there', ['action', 'run', 'nowhere.js'], 'There is no file'],
    ['a folder without an Action', ['action', 'run', '.'], 'is not the folder of one Action'],
    ['an event that is not JSON', ['action', 'run', 'ok.js', '--event', 'ok.js'], 'is not JSON'],
    ['an event that is a list', ['action', 'run', 'ok.js', '--event', 'list.json'], 'is not a JSON object'],
    ['a trigger that does not run here', ['action', 'run', 'ok.js', '--trigger', 'post-login'], '"post-login" does not run here'],
    ['an Action of such a trigger', ['action', 'run', 'login.js'], 'exports onExecutePostLogin'],
    ['code that does not tell its trigger', ['action', 'run', 'plain.js'], 'name the trigger by --trigger'],
    ['a definition that is none', ['action', 'run', 'actions/wrong.json'], 'is not the definition of an Action'],
  ])('%s ends with exit code 2 and a sentence', async (_what, args, says) => {
    await desk.write({ 'ok.js': post(''), 'list.json': '[]', 'login.js': 'exports.onExecutePostLogin = async () => {};', 'plain.js': 'module.exports = require("os");', 'actions/wrong.json': { name: 7 } });
    const { code, out, err } = await desk.usher(...args);
    expect(code).toBe(2);
    expect(out).toBe('');
    expect(err).toContain(says);
    expect(err).not.toMatch(/^\s+at /m);
  });

  test('help is no wrong use', async () => {
    expect(await desk.usher('--help')).toMatchObject({ code: 0, out: expect.stringContaining('Usage: usher') });
  });
});

test('keywords of the deploy CLI are left alone and told', async () => {
  await desk.write({ 'env.js': post("console.log('##ENVIRONMENT##')") });
  const { out } = await desk.usher('action', 'run', 'env.js');
  expect(out).toContain('env.js:2 holds the keyword ##ENVIRONMENT##');
  expect(out).toMatch(/log +##ENVIRONMENT##/);
});

describe('--watch', () => {
  test('runs again when a file has changed, cuts a run short that has not ended, and ends with Ctrl-C', async () => {
    await desk.write({ 'watched.js': post("console.log('first', event.user.name)"), 'watched.json': { user: { name: 'Ada' } } });
    const running = desk.start('action', 'run', 'watched.js', '--watch', '--event', 'watched.json');
    await until('the first run', () => running.out().includes('succeeded'));
    expect(running.out()).toContain('first Ada');

    await writeFile(join(desk.dir, 'watched.json'), JSON.stringify({ user: { name: 'Grace' } }));
    await until('a run with the other event', () => running.out().includes('first Grace'));

    const { requests, url } = await receiver(() => undefined);
    await writeFile(join(desk.dir, 'watched.js'), post(`await fetch('${url}')`));
    await until('the third run waits for an answer', () => requests.length === 1);
    await writeFile(join(desk.dir, 'watched.js'), post("throw new Error('fourth')"));
    await until('the fourth run', () => running.out().includes('Error: fourth'));

    // Half a file is no reason to end.
    await writeFile(join(desk.dir, 'watched.json'), '{');
    await writeFile(join(desk.dir, 'watched.js'), post("console.log('fifth')"));
    await writeFile(join(desk.dir, 'watched.json'), '{}');
    await until('the fifth run', () => running.out().includes('fifth'));

    running.child.kill('SIGINT');
    expect((await running.ended).code).toBe(0);
  });

  test('does not run again when nothing but the time of a file has changed', async () => {
    await desk.write({ 'same.js': post("console.log('once')") });
    const running = desk.start('action', 'run', 'same.js', '--watch', '--json');
    await until('the first run', () => running.out().includes('once'));
    await utimes(join(desk.dir, 'same.js'), new Date(), new Date());
    // Takes longer than a run would need to begin.
    await desk.usher('--help');
    await writeFile(join(desk.dir, 'same.js'), post("console.log('twice')"));
    await until('a run of the other code', () => running.out().includes('twice'));
    running.child.kill('SIGTERM');
    const { out } = await running.ended;
    expect(out.trimEnd().split('\n').map((line) => JSON.parse(line).logs[0].text)).toEqual(['once', 'twice']);
  });
});

test('Ctrl-C ends an Action that hangs, and no process stays', async () => {
  const { requests, url } = await receiver(() => undefined);
  await desk.write({ 'hang.js': post(`await fetch('${url}/' + process.pid)`) });
  const running = desk.start('action', 'run', 'hang.js');
  await until('the Action calls', () => requests.length === 1);
  const pid = Number(requests[0]!.url.slice(1));
  expect(isAlive(pid)).toBe(true);
  running.child.kill('SIGINT');
  expect((await running.ended).code).toBe(130);
  expect(isAlive(pid)).toBe(false);
});

test("the program runs by the project's own Node, whichever is on the PATH", async () => {
  await desk.write({ 'ok.js': post('console.log(process.version)') });
  await mkdir(join(desk.dir, 'bin'));
  await writeFile(join(desk.dir, 'bin', 'node'), '#!/bin/sh\nexit 99\n', { mode: 0o755 });
  const env = { ...desk.env, PATH: `${join(desk.dir, 'bin')}:/usr/bin:/bin` };
  const { code, out } = await startProgram(USHER, ['action', 'run', 'ok.js'], { cwd: desk.dir, env }).ended;
  expect(code).toBe(0);
  expect(out).toContain(process.version);
});
