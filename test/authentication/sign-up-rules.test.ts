import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { DEFAULT_CONNECTION } from '../../src/store/connections.ts';
import { writeTenantSettings } from '../../src/store/tenant-settings.ts';
import { newestLog, PASSWORD, send, signUp, startTestApp, type TestApp } from '../http/test-app.ts';
import { medianTimes } from './median-times.ts';

let app: TestApp;

beforeAll(async () => {
  app = await startTestApp();
});

beforeEach(async () => {
  await app.setConnectionOptions({ passwordPolicy: 'good' });
});

afterAll(async () => {
  await app.close();
});

describe('a connection that asks for usernames', () => {
  it('takes no sign-up without one, or with one of another length', async () => {
    await app.setConnectionOptions({ requires_username: true });
    expect(await signUp(app)).toMatchObject({ status: 400, body: { code: 'invalid_body', description: expect.stringContaining('Missing required property: username') } });
    expect(await signUp(app, { username: 'a-very-long-username' })).toMatchObject({ status: 400, body: { code: 'invalid_body', description: expect.stringContaining('1 to 15') } });
    expect((await signUp(app, { username: 'Short' })).body).toMatchObject({ username: 'short' });
    await app.setConnectionOptions({ requires_username: true, validation: { username: { min: 4, max: 30 } } });
    expect((await signUp(app, { username: 'abc' })).status).toBe(400);
    expect((await signUp(app, { username: 'a-very-long-username' })).status).toBe(200);
  });
});

describe('the password rules of a connection', () => {
  const weak = (password: string, fields = {}) => signUp(app, { password, ...fields });

  it('have the minimum length that it says', async () => {
    await app.setConnectionOptions({ passwordPolicy: 'none', password_complexity_options: { min_length: 12 } });
    const { status, body } = await weak('elevenchars');
    expect(status).toBe(400);
    expect(body.description.rules).toContainEqual({ message: 'At least %d characters in length', format: [12], code: 'lengthAtLeast', verified: false });
    expect((await weak('twelve-chars')).status).toBe(200);
  });

  it('refuse common passwords and those of its own list', async () => {
    await app.setConnectionOptions({ passwordPolicy: 'low', password_dictionary: { enable: true, dictionary: ['Acme2026'] } });
    const common = { name: 'PasswordDictionaryError', message: 'Password is too common', code: 'invalid_password', description: 'Password is not allowed, it might be too common.', statusCode: 400 };
    expect(await weak('Password1')).toMatchObject({ status: 400, body: common });
    expect(await weak('acme2026')).toMatchObject({ status: 400, body: common });
    expect((await weak('acme2027')).status).toBe(200);
    expect(await newestLog(app, 'fs')).toMatchObject({ description: 'Password is too common' });
  });

  it('refuse passwords with personal data', async () => {
    await app.setConnectionOptions({ passwordPolicy: 'low', password_no_personal_info: { enable: true } });
    const personal = { name: 'PasswordNoUserInfoError', code: 'invalid_password', statusCode: 400 };
    expect(await weak('I-am-GRACE-7', { email: 'grace@example.com' })).toMatchObject({ status: 400, body: personal });
    expect(await weak('Hopper-1906-x', { email: 'gh@example.com', family_name: 'Hopper' })).toMatchObject({ status: 400, body: personal });
    expect((await weak('nothing-of-mine', { email: 'gh2@example.com', family_name: 'Hopper' })).status).toBe(200);
  });
});

it('a connection that a client may not use is none for it', async () => {
  await app.database.db.updateTable('connection').set({ enabled_clients: '["another"]' }).where('name', '=', DEFAULT_CONNECTION).execute();
  expect(await signUp(app)).toMatchObject({ status: 400, body: { code: 'invalid_connection' } });
  await app.database.db.updateTable('connection').set({ enabled_clients: null }).where('name', '=', DEFAULT_CONNECTION).execute();
});

describe('a tenant that does not tell who exists', () => {
  it('answers generically, after the same Actions', async () => {
    await signUp(app, { email: 'there@example.com', username: 'there' });
    await app.database.transaction((tx) => writeTenantSettings(tx, { tellsUserExists: false }));
    await app.bind('pre-user-registration', [{ name: 'ask', code: 'exports.onExecutePreUserRegistration = async (event, api) => { await new Promise((done) => setTimeout(done, 150)); if (event.user.email.startsWith("denied")) api.access.deny("no", "no"); };' }]);
    const generic = { name: 'BadRequestError', code: 'invalid_signup', description: 'Invalid sign up', statusCode: 400 };
    const startedAt = performance.now();
    expect(await signUp(app, { email: 'there@example.com', password: PASSWORD })).toMatchObject({ status: 400, body: generic });
    expect(performance.now() - startedAt).toBeGreaterThan(150);
    expect(await signUp(app, { username: 'there' })).toMatchObject({ status: 400, body: generic });
    expect(await newestLog(app, 'fs')).toMatchObject({ description: 'The user already exists.' });
    expect((await signUp(app, { email: 'new@example.com' })).status).toBe(200);
    expect(await signUp(app, { email: 'denied@example.com' })).toMatchObject({ body: { error: 'extensibility_error' } });
    await app.database.transaction((tx) => writeTenantSettings(tx, { tellsUserExists: true }));
    await app.bind('pre-user-registration', []);
    expect(await signUp(app, { email: 'there@example.com' })).toMatchObject({ body: { code: 'user_exists' } });
  });

  it('takes as long for an address that is there', async () => {
    await signUp(app, { email: 'timed@example.com' });
    await app.database.transaction((tx) => writeTenantSettings(tx, { tellsUserExists: false }));
    const expectStatus = async (email: string, status: number) => expect((await signUp(app, { email })).status).toBe(status);
    const [there, not] = await medianTimes(() => expectStatus('timed@example.com', 400), (round) => expectStatus(`stranger${round}@example.com`, 200));
    await app.database.transaction((tx) => writeTenantSettings(tx, { tellsUserExists: true }));
    // Without the hash it is a fraction: the rest is noise of a busy machine.
    expect(there / not).toBeGreaterThan(0.5);
    expect(there / not).toBeLessThan(2);
  });
});

it('the document tells the endpoints of sign-up, logins and mails', async () => {
  const { body } = await send(`${app.url}/openapi.json`);
  expect(Object.keys(body.paths)).toEqual(expect.arrayContaining(['/dbconnections/signup', '/dbconnections/change_password', '/passwordless/start', '/oauth/token', '/api/v2/tickets/password-change', '/api/v2/jobs/verification-email', '/usher/messages']));
});
