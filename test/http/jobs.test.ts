import { gunzipSync } from 'node:zlib';
import { hash as argon2 } from '@node-rs/argon2';
import { hash as bcrypt } from '@node-rs/bcrypt';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { isPasswordOf } from '../../src/passwords.ts';
import { DEFAULT_CONNECTION } from '../../src/store/connections.ts';
import { type Answer, bearer, postJson, send, signUp, startTestApp, type TestApp } from './test-app.ts';

let app: TestApp;
let headers: { authorization: string };
let connectionId: string;
beforeAll(async () => {
  app = await startTestApp();
  headers = await bearer(app);
  const { id } = await app.database.db.selectFrom('connection').select('id').where('name', '=', DEFAULT_CONNECTION).executeTakeFirstOrThrow();
  connectionId = id;
});
afterAll(() => app.close());

async function importUsers(users: unknown, fields: Record<string, string> = {}): Promise<Answer> {
  const form = new FormData();
  form.append('users', new Blob([typeof users === 'string' ? users : JSON.stringify(users)], { type: 'application/json' }), 'users.json');
  for (const [name, value] of Object.entries({ connection_id: connectionId, ...fields })) form.append(name, value);
  return await send(`${app.url}/api/v2/jobs/users-imports`, { method: 'POST', headers, body: form });
}

/** Waits until a job has ended. */
async function ended(id: string): Promise<Answer['body']> {
  const giveUpAt = Date.now() + 30_000;
  for (;;) {
    const { status, body } = await send(`${app.url}/api/v2/jobs/${id}`, { headers });
    expect(status).toBe(200);
    if (body.status === 'completed' || body.status === 'failed') return body;
    if (Date.now() > giveUpAt) throw new Error(`still ${body.status}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

async function imported(users: unknown, fields: Record<string, string> = {}): Promise<Answer['body']> {
  const { status, body } = await importUsers(users, fields);
  expect(status).toBe(202);
  return await ended(body.id);
}

async function failures(jobId: string): Promise<Answer> {
  return await send(`${app.url}/api/v2/jobs/${jobId}/errors`, { headers });
}

async function user(id: string) {
  return await app.database.db.selectFrom('user_account').selectAll().where('id', '=', id).executeTakeFirst();
}

describe('POST /api/v2/jobs/users-imports', () => {
  it('answers at once, and imports what Auth0 knows of a user, with the hash as it came', async () => {
    const hash = await bcrypt('old password', { cost: 10 });
    const created = await importUsers(
      [{ email: 'Old@Example.com', email_verified: true, user_id: '5f7c8ec7c33c6c004bbafe82', username: 'Old', given_name: 'O', password_hash: hash, blocked: true, user_metadata: { a: 1 }, app_metadata: { plan: 'free' } }],
      { external_id: 'move 1' },
    );

    expect(created.status).toBe(202);
    expect(created.body).toEqual({ status: 'pending', type: 'users_import', created_at: expect.any(String), id: expect.stringMatching(/^job_/), connection_id: connectionId, upsert: false, external_id: 'move 1' });
    expect(await ended(created.body.id)).toMatchObject({ status: 'completed', summary: { inserted: 1, updated: 0, failed: 0, total: 1 }, external_id: 'move 1' });
    expect(await user('auth0|5f7c8ec7c33c6c004bbafe82')).toMatchObject({
      email: 'old@example.com', email_verified: 1, username: 'old', blocked: 1, password_hash: hash, user_metadata: '{"a":1}', app_metadata: '{"plan":"free"}',
    });
    expect(JSON.parse((await user('auth0|5f7c8ec7c33c6c004bbafe82'))!.profile)).toMatchObject({ given_name: 'O', name: 'old@example.com', nickname: 'old' });
    expect((await failures(created.body.id)).status).toBe(204);
  });

  it('takes ids with the provider, as exports have them, for the same ids', async () => {
    await imported([{ email: 'prefix@example.com', user_id: 'auth0|with-prefix' }]);
    expect(await user('auth0|with-prefix')).toBeDefined();
  });

  it.each([
    ['bcrypt', async () => await bcrypt('old password', { cost: 5 })],
    ['argon2', async () => await argon2('old password', { memoryCost: 8192, timeCost: 2, parallelism: 1 })],
  ])('takes custom hashes of %s, and the old password is right', async (algorithm, make) => {
    const value = await make();
    await imported([{ email: `${algorithm}@example.com`, user_id: algorithm, custom_password_hash: { algorithm, hash: { value, encoding: 'utf8' } } }]);
    const { password_hash: kept } = (await user(`auth0|${algorithm}`))!;
    expect(await isPasswordOf(kept, 'old password')).toBe(true);
    expect(await isPasswordOf(kept, 'another one')).toBe(false);
  });

  it('says of each user that it could not import why, without hashes, and imports the others', async () => {
    await signUp(app, { email: 'taken@example.com' });
    const hash = await bcrypt('p', { cost: 4 });
    const job = await imported([
      { email: 'not an address' },
      { email: 'fine@example.com' },
      { email: 'taken@example.com', password_hash: hash },
      { user_metadata: {} },
      { email: 'md5@example.com', custom_password_hash: { algorithm: 'md5', hash: { value: '5f4dcc3b5aa765d61d8327deb882cf99', encoding: 'hex' } } },
      { email: 'slow@example.com', password_hash: hash.replace('$04$', '$31$') },
      ...['m=1,t=0,p=0$c29tZXNhbHRzb21lc2FsdA$', 'm=4096,t=3,p=1$c29tZXNhbHRzb21lc2Fsd$'].map((rest) => ({
        email: 'argon2@example.com', custom_password_hash: { algorithm: 'argon2', hash: { value: `$argon2id$v=19$${rest}c29tZWhhc2hzb21laGFzaHNvbWVoYXNoc29tZWhhc2g`, encoding: 'utf8' } },
      })),
      { email: 'misplaced@example.com', custom_password_hash: hash },
      { email: 'mfa@example.com', mfa_factors: [{ totp: { secret: 'JBTWY3DPEHPK3PNP' } }] },
      { email: 'nul@example.com', user_metadata: { text: 'a\0b' } },
      { email: 'more@example.com', nonsense: 1 },
      'no user at all',
    ]);

    expect(job).toMatchObject({ status: 'completed', summary: { inserted: 1, updated: 0, failed: 12, total: 13 } });
    const { status, body } = await failures(job.id);
    expect(status).toBe(200);
    const told = (body as { user: object; errors: { code: string; message: string; path: string }[] }[]).map(({ errors }) => errors.map(({ code, path }) => `${code} ${path}`).join());
    expect(told).toEqual(['FORMAT email', 'DUPLICATED_USER ', 'ANY_OF_MISSING ', 'ENUM_MISMATCH custom_password_hash.algorithm', 'FORMAT password_hash', 'FORMAT custom_password_hash.hash.value', 'FORMAT custom_password_hash.hash.value', 'INVALID_TYPE custom_password_hash', 'MFA_FACTORS_FAILED mfa_factors', 'FORMAT ', 'NOT_PASSED ', 'INVALID_TYPE ']);
    expect(body[1].user).toEqual({ email: 'taken@example.com', password_hash: '*****' });
    expect(body[3].user.custom_password_hash).toEqual({ algorithm: 'md5', hash: { value: '*****', encoding: 'hex' } });
    expect(body[3].errors[0].message).toMatch(/md5 are not supported here/);
    expect(JSON.stringify(body)).not.toContain(hash.slice(8));
  });

  it('updates with upsert what Auth0 lets an upsert update, and nothing else', async () => {
    await imported([{ email: 'up@example.com', user_id: 'up', name: 'Before', user_metadata: { a: 1, b: 1 }, password_hash: await bcrypt('p', { cost: 4 }) }]);
    const before = (await user('auth0|up'))!;
    const job = await imported(
      [{ email: 'up@example.com', user_id: 'up', name: 'After', email_verified: true, blocked: true, user_metadata: { b: 2 }, password_hash: await bcrypt('other', { cost: 4 }) }],
      { upsert: 'true' },
    );

    expect(job.summary).toEqual({ inserted: 0, updated: 1, failed: 0, total: 1 });
    const after = (await user('auth0|up'))!;
    expect(JSON.parse(after.profile)).toMatchObject({ name: 'After', nickname: 'up' });
    expect(after).toMatchObject({ email_verified: 1, blocked: 0, password_hash: before.password_hash, user_metadata: '{"a":1,"b":2}' });
  });

  it('updates a custom hash with upsert until the person has logged in', async () => {
    const entry = async (password: string) => [{ email: 'custom@example.com', user_id: 'custom', custom_password_hash: { algorithm: 'bcrypt', hash: { value: await bcrypt(password, { cost: 4 }) } } }];
    await imported(await entry('one'));
    await imported(await entry('two'), { upsert: 'true' });
    expect(await isPasswordOf((await user('auth0|custom'))!.password_hash, 'two')).toBe(true);

    await app.database.db.updateTable('user_account').set({ logins_count: 1 }).where('id', '=', 'auth0|custom').execute();
    await imported(await entry('three'), { upsert: 'true' });
    expect(await isPasswordOf((await user('auth0|custom'))!.password_hash, 'two')).toBe(true);
  });

  it('fails a user whose identifiers belong to two', async () => {
    await imported([{ email: 'one@example.com', username: 'one' }, { email: 'two@example.com', username: 'two' }]);
    const job = await imported([{ email: 'one@example.com', username: 'two' }], { upsert: 'true' });
    expect(job.summary).toMatchObject({ failed: 1 });
    expect((await failures(job.id)).body[0].errors[0].code).toBe('CONFLICT');
  });

  it('fires no registration unless it is asked to, and then one for each inserted user', async () => {
    const { db } = app.database;
    const count = async (): Promise<number> => (await db.selectFrom('registration').select('id').execute()).length;
    const before = await count();
    await imported([{ email: 'quiet@example.com' }]);
    expect(await count()).toBe(before);

    await imported([{ email: 'quiet@example.com', name: 'Updated' }, { email: 'loud@example.com', user_id: 'loud' }], { upsert: 'true', usher_registrations: 'true' });
    expect(await count()).toBe(before + 1);
    expect(await db.selectFrom('registration').select(['source', 'user_id']).orderBy('created_at', 'desc').limit(1).executeTakeFirst()).toEqual({ source: 'import', user_id: 'auth0|loud' });
  });

  it.each([['no JSON', '[{"email":'], ['no array', '{"email":"a@example.com"}']])('fails as a whole when the file is %s, as Auth0 does', async (_what, file) => {
    const job = await imported(file);
    expect(job).toMatchObject({ status: 'failed', status_details: 'Failed to parse users file JSON when importing users. Make sure it is valid JSON.' });
    expect((await failures(job.id)).body).toEqual(job);
  });

  it('refuses a file of more than 500 kB with 413, and forms that are not as they should be', async () => {
    const large = await importUsers('x'.repeat(512_001));
    expect(large.status).toBe(413);
    expect(large.body.message).toBe('Payload content length greater than maximum allowed: 512000');

    const missing = await send(`${app.url}/api/v2/jobs/users-imports`, { method: 'POST', headers, body: new FormData() });
    expect(missing.body.message).toBe("Payload validation error: 'Missing required property: users'.");
    const noForm = await postJson(`${app.url}/api/v2/jobs/users-imports`, { users: '[]' }, headers);
    expect(noForm.status).toBe(400);
    const cut = await send(`${app.url}/api/v2/jobs/users-imports`, { method: 'POST', headers: { ...headers, 'content-type': 'multipart/form-data; boundary=x' }, body: '--x\r\ncontent-disposition: form-data; name="users"; filename="u"\r\n\r\n[' });
    expect(cut.status).toBe(400);
    expect((await importUsers([], { external_id: 'a\0b' })).body.message).toBe('The form holds a NUL character.');
    expect((await importUsers([], { connection_id: 'con_none' })).status).toBe(404);
    expect((await importUsers([], { more: '1' })).body.message).toBe("Payload validation error: 'Additional properties not allowed: more'.");
  });

  it('answers 429 while two imports are not done', async () => {
    const { db } = app.database;
    for (const id of ['job_a', 'job_b']) {
      await db.insertInto('job').values({ id, type: 'users_import', status: 'processing', options: '{}', position: 0, claimed_until: Date.now() + 60_000, created_at: Date.now(), updated_at: Date.now() }).execute();
    }
    const { status, body } = await importUsers([]);
    await db.deleteFrom('job').where('id', 'in', ['job_a', 'job_b']).execute();
    expect(status).toBe(429);
    expect(body.message).toBe('There are 2 active import users jobs, please wait until some of them are finished and try again');
  });
});

describe('GET /api/v2/jobs/{id}', () => {
  const MINUTE_MS = 60_000;

  /** What is told of an import of 100 users that somebody works on since a minute, and has done so many of. */
  async function progressAt(position: number): Promise<Answer['body']> {
    const { db } = app.database;
    const summary = position === 0 ? null : JSON.stringify({ inserted: position, updated: 0, failed: 0, total: 100 });
    await db.insertInto('job').values({
      id: 'job_half', type: 'users_import', status: 'processing', options: JSON.stringify({ connectionId, upsert: false }), summary, position,
      claimed_until: Date.now() + MINUTE_MS, created_at: Date.now() - MINUTE_MS, updated_at: Date.now(),
    }).execute();
    const { body } = await send(`${app.url}/api/v2/jobs/job_half`, { headers });
    await db.deleteFrom('job').where('id', '=', 'job_half').execute();
    return body;
  }

  it('tells how far an import is, and how long it will take at its pace', async () => {
    const begun = await progressAt(0);
    expect(begun).toMatchObject({ status: 'processing', percentage_done: 0 });
    expect(begun).not.toHaveProperty('time_left_seconds');

    const quarter = await progressAt(25);
    expect(quarter).toMatchObject({ status: 'processing', percentage_done: 25 });
    // A minute for 25 of them, so three for the other 75, and what the machine has taken since.
    expect(quarter.time_left_seconds).toBeGreaterThanOrEqual(180);
    expect(quarter.time_left_seconds).toBeLessThan(240);
    expect(quarter).not.toHaveProperty('summary');
  });
});

describe('POST /api/v2/jobs/users-exports', () => {
  async function exported(body: object): Promise<{ job: Answer['body']; text: string; type: string | null }> {
    const { status, body: created } = await postJson(`${app.url}/api/v2/jobs/users-exports`, body, headers);
    expect(status).toBe(200);
    const job = await ended(created.id);
    const file = await fetch(job.location);
    expect(file.status).toBe(200);
    return { job, text: gunzipSync(Buffer.from(await file.arrayBuffer())).toString(), type: file.headers.get('content-type') };
  }

  it('writes a line of JSON for each user, as `GET /users` has it, into a file at `location`', async () => {
    const { job, text, type } = await exported({ connection_id: connectionId });
    expect(job).toMatchObject({ status: 'completed', type: 'users_export', format: 'json', connection_id: connectionId });
    expect(job.location).toContain('/usher.json.gz?token=');
    expect(type).toBe('application/gzip');
    const users = text.trim().split('\n').map((line) => JSON.parse(line));
    const { total } = await app.database.db.selectFrom('user_account').select((eb) => eb.fn.countAll<number>().as('total')).executeTakeFirstOrThrow();
    expect(users).toHaveLength(total);
    expect(users.find((each) => each.user_id === 'auth0|5f7c8ec7c33c6c004bbafe82')).toMatchObject({ email: 'old@example.com', identities: [{ connection: DEFAULT_CONNECTION, provider: 'auth0' }], user_metadata: { a: 1 } });
    expect(text).not.toContain('$2');
  });

  it('writes the chosen fields as CSV, safe for table calculators', async () => {
    await imported([{ email: 'aa-csv@example.com', given_name: '=1+"1"' }]);
    const { text } = await exported({ format: 'csv', fields: [{ name: 'email' }, { name: 'identities[0].connection', export_as: 'provider' }, { name: 'given_name' }, { name: 'email_verified' }, { name: 'created_at' }] });
    const lines = text.trim().split('\n');
    expect(lines[0]).toBe('"email","provider","given_name","email_verified","created_at"');
    expect(lines.find((line) => line.includes('aa-csv'))).toMatch(/^"'aa-csv@example\.com","'Username-Password-Authentication","'=1\+""1""",false,"\d{4}-[^']*Z"$/);
  });

  it('keeps to `limit`', async () => {
    const { text } = await exported({ limit: 2, fields: [{ name: 'email', export_as: 'address' }] });
    expect(text.trim().split('\n').map((line) => Object.keys(JSON.parse(line)))).toEqual([['address'], ['address']]);
  });

  it('gives the link only to who may read users, and the file to no cache', async () => {
    const { job } = await exported({});
    const importer = await bearer(app, 'create:users');
    const { status, body } = await send(`${app.url}/api/v2/jobs/${job.id}`, { headers: importer });
    expect({ status, location: body.location }).toEqual({ status: 200, location: undefined });
    expect((await fetch(job.location)).headers.get('cache-control')).toBe('no-store');
  });

  it('gives the file to nobody without the link', async () => {
    const { job } = await exported({});
    const other = await exported({});
    for (const link of [job.location.replace(/token=.*/, 'token=x'), job.location.replace(/token=.*/, other.job.location.split('?')[1]), job.location.replace(job.id, 'job_none')]) {
      expect((await send(link)).status).toBe(404);
    }
  });
});

it('a job that is not there is a 404 in Auth0\'s words', async () => {
  const { status, body } = await send(`${app.url}/api/v2/jobs/job_none`, { headers });
  expect(status).toBe(404);
  expect(body).toEqual({ statusCode: 404, error: 'Not Found', message: 'The job does not exist.', errorCode: 'inexistent_job' });
});
