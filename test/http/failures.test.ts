import { sql } from 'kysely';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { send, signUp, startTestApp, type TestApp } from './test-app.ts';

let app: TestApp;

beforeAll(async () => {
  app = await startTestApp({
    readiness: () => Promise.reject(Object.assign(new Error('what happened inside'), { body: { password: 'p4ssw0rd-in-an-error' } })),
  });
});

afterAll(async () => {
  await app.close();
});

describe('a failure of ours', () => {
  it('tells the client an id, and the log what happened, but nothing that the error carried with it', async () => {
    const { status, body } = await send(`${app.url}/readyz`);
    expect({ status, body }).toEqual({
      status: 500,
      body: { statusCode: 500, error: 'Internal Server Error', message: 'An internal server error occurred', errorCode: 'internal_error', usher: { error_id: expect.any(String) } },
    });
    const line = app.logText().split('\n').find((text) => text.includes(body.usher.error_id));
    expect(JSON.parse(line ?? '{}')).toMatchObject({ level: 50, method: 'GET', path: '/readyz', error: { message: 'what happened inside', stack: expect.any(String) } });
    expect(app.logText()).not.toContain('p4ssw0rd-in-an-error');
  });

  it('to write the store is a 503 that says when to come again, and the same sign-up then succeeds', async () => {
    await sql`pragma query_only = on`.execute(app.database.db);
    const refused = await signUp(app, { email: 'later@example.com' });
    expect(refused).toMatchObject({ status: 503, body: { code: 'temporarily_unavailable', statusCode: 503 } });
    expect(refused.headers.get('retry-after')).toBe('5');
    await sql`pragma query_only = off`.execute(app.database.db);
    expect((await signUp(app, { email: 'later@example.com' })).status).toBe(200);
  });
});
