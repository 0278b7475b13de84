import { createReadStream } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { ManagementClient } from 'auth0';
import { ManagementClient as ManagementClient4 } from 'auth0-4';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { DEFAULT_CONNECTION } from '../../src/store/connections.ts';
import { until } from '../builds/harness.ts';
import { CLIENT_ID, CLIENT_SECRET, signUp } from '../http/test-app.ts';
import { type HttpsUsher, startHttpsUsher } from './https-usher.ts';
import { expectEveryOperation } from './sdk-coverage.ts';

let usher: HttpsUsher;
let folder: string;
let connectionId: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'usher-jobs-sdk-'));
  usher = await startHttpsUsher();
  const { id } = await usher.app.database.db.selectFrom('connection').select('id').where('name', '=', DEFAULT_CONNECTION).executeTakeFirstOrThrow();
  connectionId = id;
});
afterAll(async () => {
  await usher?.close();
  await rm(folder, { recursive: true, force: true });
});

const credentials = () => ({ domain: usher.domain, clientId: CLIENT_ID, clientSecret: CLIENT_SECRET });

function file(prefix: string): string {
  return JSON.stringify([{ email: `${prefix}-1@example.com`, user_id: `${prefix}-1` }, { email: 'nonsense' }]);
}

async function newUser(name: string): Promise<string> {
  const { body } = await signUp(usher.app, { email: `${name}@example.com` });
  return `auth0|${body._id}`;
}

async function download(location: string): Promise<{ user_id: string }[]> {
  const answer = await fetch(location);
  expect(answer.status).toBe(200);
  const lines = gunzipSync(Buffer.from(await answer.arrayBuffer())).toString().trim().split('\n');
  return lines.map((line) => JSON.parse(line) as { user_id: string });
}

describe('npm auth0, the current major', () => {
  test('imports users from a file, shows how far it is and what failed, and exports them', async () => {
    const client = new ManagementClient(credentials());
    const path = join(folder, 'users.json');
    await writeFile(path, file('seven'));

    const made = await client.jobs.usersImports.create({ users: createReadStream(path), connection_id: connectionId, upsert: false, external_id: 'seven', send_completion_email: false });
    expect(made).toMatchObject({ status: 'pending', type: 'users_import', connection_id: connectionId, external_id: 'seven' });
    const job = await until(() => client.jobs.get(made.id), ({ status }) => status === 'completed');
    expect(job.summary).toEqual({ inserted: 1, updated: 0, failed: 1, total: 2 });
    expect(await client.jobs.errors.get(made.id)).toMatchObject([{ user: { email: 'nonsense' }, errors: [{ code: 'FORMAT', path: 'email' }] }]);

    const exporting = await client.jobs.usersExports.create({ connection_id: connectionId, format: 'json', limit: 100, fields: [{ name: 'user_id' }] });
    expect(exporting).toMatchObject({ type: 'users_export', format: 'json', limit: 100, fields: [{ name: 'user_id' }] });
    const done = await until(() => client.jobs.get(exporting.id), ({ status }) => status === 'completed');
    expect(await download(done.location!)).toContainEqual({ user_id: 'auth0|seven-1' });
    expect(await client.jobs.errors.get(exporting.id)).toBeUndefined();
  });

  test('sends the mail that asks to verify an address', async () => {
    const client = new ManagementClient(credentials());
    const job = await client.jobs.verificationEmail.create({ user_id: await newUser('seven-mail') });
    expect(job).toMatchObject({ type: 'verification_email', status: 'completed' });
    expect(await client.jobs.get(job.id)).toMatchObject({ status: 'completed' });
  });

  test('tells of a job that is not there as of Auth0\'s own', async () => {
    const client = new ManagementClient(credentials());
    await expect(client.jobs.get('job_none')).rejects.toMatchObject({ statusCode: 404, body: { errorCode: 'inexistent_job' } });
  });
});

describe('npm auth0 4', () => {
  test('imports users from a file, shows how far it is and what failed, and exports them', async () => {
    const client = new ManagementClient4(credentials());

    const { data: made } = await client.jobs.importUsers({ users: new Blob([file('four')]), connection_id: connectionId, upsert: true });
    expect(made).toMatchObject({ status: 'pending', type: 'users_import', upsert: true });
    const { data: job } = await until(() => client.jobs.get({ id: made.id }), ({ data }) => data.status === 'completed');
    expect(job['summary']).toEqual({ inserted: 1, updated: 0, failed: 1, total: 2 });
    const { data: failures } = await client.jobs.getErrors({ id: made.id });
    expect(failures).toMatchObject([{ user: { email: 'nonsense' } }]);

    const { data: exporting } = await client.jobs.exportUsers({ format: 'json' });
    const { data: done } = await until(() => client.jobs.get({ id: exporting.id }), ({ data }) => data.status === 'completed');
    expect(await download(done['location'])).toContainEqual(expect.objectContaining({ user_id: 'auth0|four-1' }));
  });

  test('sends the mail that asks to verify an address', async () => {
    const client = new ManagementClient4(credentials());
    const { data: job } = await client.jobs.verifyEmail({ user_id: await newUser('four-mail') });
    expect(job).toMatchObject({ type: 'verification_email', status: 'completed' });
  });
});

test('each SDK has asked for every operation on jobs', async () => {
  await expectEveryOperation(usher, 'jobs');
});
