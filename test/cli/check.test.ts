import { cp } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { CheckedAction, CheckedExport } from '../../src/cli/check/check-export.ts';
import { startRegistry, type TestRegistry } from '../builds/registry.ts';
import { type Desk, exported, exportedModule, makeDesk } from './cli.ts';

const EXAMPLE = fileURLToPath(new URL('../../examples/export', import.meta.url));

let registry: TestRegistry;

beforeAll(async () => {
  registry = await startRegistry();
  await registry.publish('axios', '1.16.1');
  await registry.publish('auth0', '7.1.0');
  await registry.publish('@slack/webhook', '8.0.2');
  for (let index = 0; index < 11; index++) await registry.publish(`p${index}`, '1.0.0');
  await registry.publish('compiled', '2.0.0', { manifest: { scripts: { install: 'node-gyp rebuild' } } });
  await registry.publish('brings-compiled', '1.0.0', { manifest: { dependencies: { compiled: '^2.0.0' } } });
});
afterAll(() => registry.close());

const post = (body = '') => `exports.onExecutePostUserRegistration = async (event, api) => {\n${body}\n};\n`;
const pre = (body = '') => `exports.onExecutePreUserRegistration = async (event, api) => {\n${body}\n};\n`;
const PRE = { supported_triggers: [{ id: 'pre-user-registration', version: 'v2' }] };
const needs = (...names: string[]) => ({ dependencies: names.map((name) => ({ name, version: 'latest' })) });

async function check(desk: Desk, folder = '.'): Promise<{ code: number | null; checked: CheckedExport }> {
  const { code, out, err } = await desk.usher('check', '--json', folder);
  if (out === '') throw new Error(`exit code ${code}: ${err}`);
  return { code, checked: JSON.parse(out) };
}

describe('the export of the examples', () => {
  test('runs here, in the order of its bindings; an Action of another trigger does no harm', async () => {
    const desk = await makeDesk(registry.url);
    await cp(EXAMPLE, join(desk.dir, 'export'), { recursive: true });
    const { code, checked } = await check(desk, 'export');
    expect(code).toBe(0);
    expect(checked).toMatchObject({ ok: true, notes: [] });
    expect(checked.actions.map(({ name, trigger, runsHere, position }) => [name, trigger, runsHere, position])).toEqual([
      ['Add claims', 'post-login', false, 1],
      ['Deny fingerprints', 'pre-user-registration', true, 1],
      ['Notify Slack', 'post-user-registration', true, 1],
      ['Store the user id', 'post-user-registration', true, 2],
    ]);
    expect(checked.actions[0]!.reasons).toEqual([expect.stringContaining('the trigger post-login does not run here')]);

    const { out } = await desk.usher('check', 'export');
    expect(out).toContain('3 of 3 registration Actions run here; 1 of other triggers is kept and not run.');
    expect(out).toMatch(/hint export\/actions\/Store the user id\/code\.js:6 {2}An error is caught and only logged/);
  });
});

describe('what does not run here', () => {
  const cases: [string, string, object, RegExp][] = [
    ['no trigger', post(), { supported_triggers: [] }, /names no trigger/],
    ['old version', post(), { supported_triggers: [{ id: 'post-user-registration', version: 'v1' }] }, /version v1 of the trigger/],
    ['old runtime', post(), { runtime: 'node12' }, /runtime node12 is not supported/],
    ['syntax', post('const a = ;'), {}, /cannot be compiled: SyntaxError.*line 2/],
    ['es module', 'export const onExecutePostUserRegistration = async () => {};', {}, /SyntaxError/],
    ['no handler', 'exports.other = async () => {};', {}, /does not export onExecutePostUserRegistration/],
    ['the other handler', pre(), {}, /does not export onExecutePostUserRegistration/],
    ['not async', 'exports.onExecutePostUserRegistration = (event) => fetch(event.secrets.URL);', {}, /\(line 1\) is not an async function/],
    ['generator', 'exports.onExecutePostUserRegistration = async function* () {};', {}, /is not an async function/],
    ['not async by name', '"use strict";\nconst run = function () {};\nmodule.exports = { onExecutePostUserRegistration: run };', {}, /is not an async function/],
    ['no such package', post("require('no-such-thing')"), needs('no-such-thing'), /not in the registry/],
    ['no such version', post("require('axios')"), { dependencies: [{ name: 'axios', version: '99.0.0' }] }, /not in the registry/],
    ['package from git', post(), { dependencies: [{ name: 'axios', version: 'github:axios/axios' }] }, /not named by a version/],
    ['own registry', post(), { dependencies: [{ name: 'axios', version: '1.16.1', registry_url: 'https://npm.example.com' }] }, /registry of its own/],
    ['undeclared', post("require('axios')"), {}, /requires axios \(line 2\), which is not among its dependencies/],
    ['module not named', post("require('actions:shared')"), {}, /requires actions:shared \(line 2\), which is not among its modules/],
    ['module not there', post("require('actions:gone')"), { modules: [{ module_name: 'gone', module_version_number: 1 }] }, /uses the module gone, which is not in the export/],
    ['second file', "const help = require('./help');\n" + post(), {}, /requires the file \.\/help \(line 1\)/],
    ['much code', `//${'x'.repeat(101 * 1024)}\n${post()}`, {}, /KiB; 100 are the limit/],
    ['many packages', post(), needs(...Array.from({ length: 11 }, (_, index) => `p${index}`)), /11 dependencies; 10 are the limit/],
    ['many secrets', post(), { secrets: Array.from({ length: 31 }, (_, index) => ({ name: `S${index}` })) }, /31 secrets; 30 are the limit/],
  ];
  const fine: [string, string, object][] = [
    ['plain', post(), {}],
    ['object', 'const run = async () => {};\nmodule.exports = { onExecutePostUserRegistration: run };', {}],
    ['method', 'module.exports = { async onExecutePostUserRegistration() {} };', {}],
    ['compiled by typescript', '"use strict";\nObject.defineProperty(exports, "__esModule", { value: true });\nexports.onExecutePostUserRegistration = void 0;\nconst handler = async () => {};\nexports.onExecutePostUserRegistration = handler;', {}],
    ['both spellings', 'exports = module.exports = { onExecutePostUserRegistration: async () => {} };', {}],
    ['built-in', post("require('node:crypto'); require('fs/promises')"), {}],
    ['pre', pre(), PRE],
    ['old runtime that runs', post(), { runtime: 'node18-actions' }],
  ];
  let byName: Map<string, CheckedAction>;
  let code: number | null;

  beforeAll(async () => {
    const desk = await makeDesk(registry.url);
    for (const [name, text, definition] of [...cases, ...fine]) await desk.write(exported(name, text, definition));
    await desk.write({ 'actions/broken.json': '{ "name": "@@NAME@@" "code" }', 'actions/no code.json': { name: 'no code', code: './actions/no code/code.js' } });
    const answer = await check(desk);
    code = answer.code;
    byName = new Map(answer.checked.actions.map((action) => [action.name.split('/').at(-1)!, action]));
  });

  test.each(cases)('%s: it says why', (name, _code, _definition, reason) => {
    const action = byName.get(name)!;
    expect(action.runsHere).toBe(false);
    expect(action.reasons.join('\n')).toMatch(reason);
    expect(action.reasons.length).toBe(1);
  });

  test.each(fine)('%s: that does run', (name) => {
    expect(byName.get(name)).toMatchObject({ runsHere: true, reasons: [] });
  });

  test('a definition or a code that cannot be read is told, and the others are checked all the same', () => {
    expect(byName.get('broken.json')!.reasons).toEqual([expect.stringMatching(/broken\.json is not JSON.*keyword @@NAME@@/)]);
    expect(byName.get('no code.json')!.reasons).toEqual([expect.stringMatching(/no code\/code\.js is missing/)]);
  });

  test('the exit code is 1', () => expect(code).toBe(1));
});

describe('hints', () => {
  const axios = "const axios = require('axios');\n";
  const KEY = "headers: { 'Idempotency-Key': event.usher.idempotency_key }";
  /** Name, code, definition, and the hints as `rule:line`. */
  const cases: [string, string, object, string[]][] = [
    ['empty catch', post('try {\n JSON.parse(event.x);\n} catch {}'), {}, ['swallowed-error:4']],
    ['catch that logs', post('try {\n JSON.parse(event.x);\n} catch (e) {\n console.error(e);\n}'), {}, ['swallowed-error:4']],
    ['catch that throws on', post('try {\n JSON.parse(event.x);\n} catch (e) {\n console.error(e);\n throw e;\n}'), {}, []],
    ['catch that logs before a sign-up', pre('try {\n JSON.parse(event.x);\n} catch (e) {\n console.error(e);\n}'), PRE, []],
    ['promise catch', post("await fetch('u').catch(() => {});\nawait fetch('u').catch(console.error);\nawait fetch('u').catch((e) => { throw e; });"), {}, ['swallowed-error:2', 'swallowed-error:3']],
    ['not awaited', axios + post("axios.get('u');\nfetch('u');\nevent.client.send('x');\nhelp();") + 'async function help() {}', needs('axios'), ['not-awaited:3', 'not-awaited:4', 'not-awaited:5', 'not-awaited:6']],
    ['awaited or not a promise', axios + post("await axios.get('u');\nconst p = fetch('u');\nawait p;\nfetch('u').then(() => 1);\nnew Map().delete('x');\napi.cache.delete('x');\nhelp();") + 'function help() {}', needs('axios'), []],
    ['a client of a service', "const { ManagementClient } = require('auth0');\n" + post('const client = new ManagementClient({});\nclient.users.update({}, {});\nawait client.users.get({});'), needs('auth0'), ['not-awaited:4']],
    ['forEach', axios + post("[1].forEach(async () => {});\n[1].forEach((x) => axios.get('u'));\n[1].forEach((x) => x);"), needs('axios'), ['not-awaited:3', 'not-awaited:4']],
    ['posts', axios + post("await axios.post('u', {});\nawait fetch('u', { method: 'post' });\nconst options = { method: 'POST' };\nawait fetch('u', options);\nawait axios({ method: 'POST', url: 'u' });"), needs('axios'), [3, 4, 6, 7].map((line) => `post-without-key:${line}`)],
    ['posts with a key', axios + post(`await axios.post('u', {}, { ${KEY} });\nconst headers = { 'x-request-id': event.user.user_id };\nawait fetch('u', { method: 'POST', headers });\nconst client = axios.create({ ${KEY} });\nawait client.post('u');\nawait fetch('u', { method: 'GET' });`), needs('axios'), []],
    ['post before a sign-up', pre("await fetch('u', { method: 'POST' });"), PRE, []],
    ['install script', post(), needs('compiled'), ['install-script:1']],
    ['install script further down', post(), needs('brings-compiled'), ['install-script:1']],
    ['secrets', post(), { secrets: [{ name: 'A' }, { name: 'B', value: '' }, { name: 'C' }] }, ['secret-without-value:1']],
    ['perhaps no module', post("try {\n require('actions:shared');\n} catch (e) { throw e; }"), {}, ['actions-module:3']],
    [
      'not in the sandbox',
      post("require('child_process');\nconst fs = require('node:fs');\nfs.writeFileSync('x', '');\nfs.readFileSync('x');\nconst { mkdir: make } = require('fs/promises');\nawait make('x');\nprocess.exit(1);\nconsole.log(process.env.HOME);\nrequire('http').createServer();\nconst http = require('http');\nhttp.createServer();\nawait import('axios');"),
      needs('axios'),
      [2, 4, 7, 8, 9, 12, 13].map((line) => `not-in-sandbox:${line}`),
    ],
    ['perhaps missing', post("require('axios');\ntry {\n require('color');\n} catch (e) { throw e; }"), needs('compiled'), ['install-script:1', 'missing-package:2', 'missing-package:4']],
    ['keyword', post("console.log('##ENV##')"), {}, ['keyword:2']],
    ['unclear handler', "module.exports = require('axios').create();", needs('axios'), ['unreadable:1']],
    ['seldom called', post('if (event.request) return;\nawait fetch(event.secrets.URL);'), {}, []],
  ];
  let byName: Map<string, CheckedAction>;

  beforeAll(async () => {
    const desk = await makeDesk(registry.url);
    for (const [name, text, definition] of cases) await desk.write(exported(name, text, definition));
    const { checked } = await check(desk);
    byName = new Map(checked.actions.map((action) => [action.name, action]));
  });

  test.each(cases)('%s', (name, _code, _definition, expected) => {
    const { hints, reasons } = byName.get(name)!;
    expect(reasons).toEqual([]);
    expect(hints.map(({ rule, line }) => `${rule}:${line}`).toSorted()).toEqual(expected.toSorted());
    for (const { file } of hints) expect(file).toMatch(/(code\.js|\.json)$/);
  });
});

describe('modules', () => {
  const uses = (name: string, version = 1) => ({ modules: [{ module_name: name, module_version_number: version }] });
  const LOGIN = { supported_triggers: [{ id: 'post-login', version: 'v3' }] };

  test('are checked with the Actions that use them: code, packages, secrets and version', async () => {
    const desk = await makeDesk(registry.url);
    await desk.write({
      ...exported('fine', post("require('actions:fine');"), uses('fine')),
      ...exportedModule('fine', 'exports.x = 1;'),
      ...exported('hints', post("require('actions:hints');"), uses('hints', 3)),
      ...exportedModule('hints', 'exports.x = 1;', { secrets: [{ name: 'KEY' }], ...needs('compiled') }),
      ...exported('syntax', post("require('actions:syntax');"), uses('syntax')),
      ...exportedModule('syntax', 'const a = ;'),
      ...exported('clash', post("require('actions:clash');"), { ...uses('clash'), ...needs('axios') }),
      ...exportedModule('clash', 'exports.x = 1;', { dependencies: [{ name: 'axios', version: '1.16.1' }] }),
    });
    const { code, checked } = await check(desk);
    const found = Object.fromEntries(checked.actions.map(({ name, reasons, hints }) => [name, [...reasons, ...hints.map(({ rule }) => rule).toSorted()]]));
    expect(found).toEqual({
      fine: [],
      hints: ['actions-module', 'install-script', 'secret-without-value'],
      syntax: [expect.stringContaining("The code of the module 'syntax' cannot be compiled: SyntaxError")],
      clash: [expect.stringContaining('axios@1.16.1')],
    });
    expect(code).toBe(1);
  });

  test('that an Action of another trigger lacks would break the import of that one, too', async () => {
    const desk = await makeDesk();
    await desk.write({ ...exported('login', 'exports.onExecutePostLogin = async () => {};', { ...LOGIN, ...uses('gone') }), ...exported('here', post()) });
    const { code, checked } = await check(desk);
    expect(code).toBe(1);
    expect(checked).toMatchObject({ ok: false, notes: [expect.stringContaining('"login" uses the module gone, which is not in the export, and cannot be imported')] });
  });
});

test('an Action of another trigger, which is only kept, needs no values of its secrets', async () => {
  const desk = await makeDesk();
  await desk.write({ ...exported('login', 'exports.onExecutePostLogin = async () => {};', { supported_triggers: [{ id: 'post-login', version: 'v3' }], secrets: [{ name: 'KEY' }] }), ...exported('here', post()) });
  const { code, checked } = await check(desk);
  expect(code).toBe(0);
  expect(checked.actions.flatMap(({ hints }) => hints)).toEqual([]);
});

describe('bindings', () => {
  test('of an Action that is missing or not deployed would break the import', async () => {
    const desk = await makeDesk();
    await desk.write({
      ...exported('here', post()),
      ...exported('draft', post(), { deployed: false }),
      'triggers/triggers.json': { 'post-user-registration': [{ action_name: 'gone' }, { action_name: 'here' }, { action_name: 'draft' }], 'post-login': [{ action_name: 'login' }] },
    });
    const { code, checked } = await check(desk);
    expect(code).toBe(1);
    expect(checked.notes).toEqual([expect.stringContaining('"gone" is bound to post-user-registration, but is not in the export'), expect.stringContaining('"draft" is bound to post-user-registration, but its file says "deployed": false')]);
    expect(checked.actions.map(({ name, position }) => [name, position])).toEqual([['draft', 3], ['here', 2]]);
  });
});

test('without a registry it says so, and checks the rest', async () => {
  const desk = await makeDesk();
  await desk.write({ ...exported('one', post(), needs('axios')), ...exported('two', post(), needs('got')) });
  const { code, checked } = await check(desk);
  expect(code).toBe(0);
  expect(checked.notes).toEqual([expect.stringContaining('The npm registry cannot be reached')]);
  expect(checked.actions.map(({ runsHere }) => runsHere)).toEqual([true, true]);
});

describe('wrong use', () => {
  test.each([
    ['no folder', 'nowhere', 'There is no folder'],
    ['a folder that is no export', 'empty', 'has no folder "actions"'],
    ['an export without Actions', 'bare', 'holds no Action'],
    ['a YAML export', 'yaml', 'is a YAML export. Only the directory format is read: export again by a0deploy export --format=directory'],
    ['its file', 'yaml/tenant.yaml', 'is a YAML export'],
    ['a file that is no export', 'empty/readme.txt', 'has no folder "actions"'],
  ])('%s ends with exit code 2 and a sentence', async (_what, path, says) => {
    const desk = await makeDesk();
    await desk.write({ 'empty/readme.txt': '', 'bare/actions/readme.txt': '', 'yaml/tenant.yaml': 'actions: []' });
    const { code, out, err } = await desk.usher('check', path);
    expect(code).toBe(2);
    expect(out).toBe('');
    expect(err).toContain(says);
  });
});
