import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { sampleEvent } from '../../src/domain/sample-events.ts';
import { CLIENT_ID, CLIENT_SECRET, newestLog, postJson, startTestApp, type TestApp } from '../http/test-app.ts';

const ROOT = new URL('../..', import.meta.url).pathname;

let app: TestApp;
let page: string;
let secrets: Record<string, string>;

beforeAll(async () => {
  app = await startTestApp();
  page = await readFile(join(ROOT, 'docs/registrations.md'), 'utf8');
  secrets = { USHER_URL: app.url, USHER_CLIENT_ID: CLIENT_ID, USHER_CLIENT_SECRET: CLIENT_SECRET };
});
afterAll(() => app.close());

/** The page's example in this language that has these words in it. */
function example(language: string, words: string): string {
  const found = [...page.matchAll(/```(\w+)\n([\s\S]*?)```/g)].filter(([, lang, code]) => lang === language && code!.includes(words));
  expect(found, `an example with ${words}`).toHaveLength(1);
  return found[0]![2]!;
}

async function handedIn(): Promise<{ user_id: string; connection_name: string }[]> {
  return await app.database.db.selectFrom('registration').select(['user_id', 'connection_name']).where('source', '=', 'outside').orderBy('id').execute();
}

/** What the example has handed in; whatever it does twice counts once. */
async function added(run: () => Promise<unknown>): Promise<{ user_id: string; connection_name: string }[]> {
  const before = await handedIn();
  await run();
  await run();
  return (await handedIn()).slice(before.length);
}

it('the line of curl hands in a registration', async () => {
  const env = { PATH: process.env['PATH'], USHER_URL: app.url, CLIENT_ID, CLIENT_SECRET };
  const run = async () => {
    const child = spawn('sh', ['-c', example('sh', 'idempotency-key')], { env, stdio: ['ignore', 'pipe', 'inherit'] });
    let output = '';
    child.stdout.on('data', (chunk: Buffer) => { output += chunk.toString(); });
    await once(child, 'close');
    expect(JSON.parse(output)).toMatchObject({ status: 'accepted' });
  };
  expect(await added(run)).toEqual([{ user_id: 'google-oauth2|1029384756', connection_name: 'google-oauth2' }]);
});

it('the post-user-registration Action for Auth0, run in the sandbox with Auth0\'s sample event, hands it in without its secrets', async () => {
  const event = { ...sampleEvent('post-user-registration', { now: new Date() }), secrets };
  const run = async () => {
    const result = await app.sandbox.run({
      version: { id: 'example', actionName: 'Feed Usher', triggerId: 'post-user-registration', code: example('js', 'onExecutePostUserRegistration'), dependenciesDir: null },
      id: 'example',
      event,
      cache: {},
      timeoutMs: 20_000,
      waitFor: 'work',
    });
    expect(result).toMatchObject({ outcome: 'succeeded', calls: [{ method: 'POST', status: 202 }] });
  };
  expect(await added(run)).toEqual([{ user_id: 'auth0|5f7c8ec7c33c6c004bbafe82', connection_name: 'Username-Password-Authentication' }]);
});

it('the post-login Action for Auth0 hands in the first login of a social user, and no later one', async () => {
  const exports: { onExecutePostLogin?: (event: unknown) => Promise<void> } = {};
  // oxlint-disable-next-line typescript/no-implied-eval -- as Auth0 loads an Action
  new Function('exports', example('js', 'onExecutePostLogin'))(exports);
  const event = { secrets, connection: { id: 'con_3', name: 'google-oauth2', strategy: 'google-oauth2' }, user: { user_id: 'google-oauth2|77', email: 'cy@example.com' } };

  expect(await added(() => exports.onExecutePostLogin!({ ...event, stats: { logins_count: 1 } }))).toEqual([{ user_id: 'google-oauth2|77', connection_name: 'google-oauth2' }]);
  const later = { ...event, user: { ...event.user, user_id: 'google-oauth2|78' }, stats: { logins_count: 2 } };
  expect(await added(() => exports.onExecutePostLogin!(later))).toEqual([]);
});

it('the event of an Auth0 Event Stream is taken as Auth0 sends it, and its connection and request reach the Actions', async () => {
  const headers = { authorization: `Basic ${btoa(`${CLIENT_ID}:${CLIENT_SECRET}`)}` };
  const event: unknown = JSON.parse(example('json', 'user.created'));
  const run = async () => {
    expect((await postJson(`${app.url}/usher/registrations/auth0-events`, event, headers)).status).toBe(202);
  };
  expect(await added(run)).toEqual([{ user_id: 'google-oauth2|5647382910', connection_name: 'google-oauth2' }]);
  expect(await newestLog(app, 'ss')).toMatchObject({ connection_id: 'con_2', ip: '203.0.113.9', user_name: 'bea@example.com' });
  expect(example('sh', 'auth0 events create')).toContain('/usher/registrations/auth0-events');
});

it('the adapter for any other provider passes its hook on, and its answer back', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'usher-adapter-'));
  await symlink(join(ROOT, 'node_modules'), join(folder, 'node_modules'));
  await writeFile(join(folder, 'adapter.mjs'), example('js', "import express from 'express'").replace('listen(PORT, () => console.log(\'listening\'))', 'listen(PORT, function () { console.log(this.address().port) })'));
  const child = spawn(process.execPath, [join(folder, 'adapter.mjs')], { env: { USHER_URL: app.url, CLIENT_ID, CLIENT_SECRET, PORT: '0' }, stdio: ['ignore', 'pipe', 'inherit'] });
  try {
    const [line] = (await once(child.stdout, 'data')) as [Buffer];
    const hook = `http://127.0.0.1:${line.toString().trim()}/user-created`;
    const post = async (body: object) => await fetch(hook, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) });

    expect(await added(async () => expect((await post({ uid: '9', mail: 'di@example.com' })).status).toBe(202))).toEqual([{ user_id: 'acme|9', connection_name: 'acme' }]);
    expect((await post({ uid: '9', mail: 'another@example.com' })).status).toBe(409);
  } finally {
    child.kill('SIGKILL');
    await once(child, 'close');
    await rm(folder, { recursive: true, force: true });
  }
});
