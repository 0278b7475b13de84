import { AuthenticationClient as AuthenticationClient4, AuthApiError } from 'auth0-4';
import { AuthenticationClient as LegacyAuthenticationClient } from 'auth0/legacy';
import { decodeJwt } from 'jose';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { DEFAULT_CONNECTION } from '../../src/store/connections.ts';
import { type LoginApp, startLoginApp } from '../authentication/login-app.ts';
import { CLIENT_ID, CLIENT_SECRET, PASSWORD } from '../http/test-app.ts';
import { until } from '../messages/mail-server.ts';
import { type HttpsUsher, serveOverHttps } from './https-usher.ts';

let usher: HttpsUsher<LoginApp>;
let names = 0;

beforeAll(async () => {
  usher = await serveOverHttps(await startLoginApp());
});
afterAll(() => usher?.close());
beforeEach(() => {
  names++;
});

/** The code of the newest message to somebody, once there are as many. */
async function newestCode(recipient: string, count: number): Promise<string> {
  const { mail, sms } = usher.app;
  const texts = () => (recipient.includes('@') ? mail.to(recipient).map(({ text }) => text) : sms.messages.filter(({ body }) => body.to === recipient).map(({ body }) => body.text));
  await until(() => texts().length === count, `message ${count} to ${recipient}`);
  return /\b\d{6}\b/.exec(texts().at(-1)!)![0];
}

// As of its version 7 npm auth0 has its AuthenticationClient under `auth0/legacy` only.
describe.each([
  ['npm auth0 4.x', AuthenticationClient4],
  ['npm auth0, the current major, its legacy entry', LegacyAuthenticationClient as unknown as typeof AuthenticationClient4],
])('%s', (_, Client) => {
  const client = () => new Client({ domain: usher.domain, clientId: CLIENT_ID, clientSecret: CLIENT_SECRET });

  test('somebody signs up, logs in and changes the password', async () => {
    const email = `ada${names}@example.com`;
    const { data: user } = await client().database.signUp({ email, password: PASSWORD, connection: DEFAULT_CONNECTION, user_metadata: { plan: 'free' } });
    expect(user).toMatchObject({ id: expect.stringMatching(/^[0-9a-f]{24}$/), email, email_verified: false });

    // The client itself verifies the id token: signature, issuer, audience, times.
    const { data: tokens } = await client().oauth.passwordGrant({ username: email, password: PASSWORD, scope: 'openid email' });
    expect(decodeJwt(tokens.id_token!)).toMatchObject({ sub: `auth0|${user.id}`, email });
    const { data: realm } = await client().oauth.passwordGrant({ username: email, password: PASSWORD, realm: DEFAULT_CONNECTION, scope: 'openid' });
    expect(realm.id_token).toBeDefined();

    const { data: text } = await client().database.changePassword({ email, connection: DEFAULT_CONNECTION });
    expect(text).toBe("We've just sent you an email to reset your password.");
    await until(() => usher.app.mail.to(email).some((mail) => mail.text.includes('/usher/change-password')), 'the mail');
  });

  test('errors arrive as the client knows them', async () => {
    const email = `ben${names}@example.com`;
    await client().database.signUp({ email, password: PASSWORD, connection: DEFAULT_CONNECTION });
    await expect(client().database.signUp({ email, password: PASSWORD, connection: DEFAULT_CONNECTION })).rejects.toMatchObject({ statusCode: 400, body: expect.stringContaining('user_exists') });
    await expect(client().oauth.passwordGrant({ username: email, password: 'wrong' })).rejects.toMatchObject({ statusCode: 403, error: 'invalid_grant', error_description: 'Wrong email or password.' });
    await expect(client().passwordless.sendEmail({ email, connection: 'nothing' } as never)).rejects.toMatchObject({ statusCode: 400, error: 'bad.connection' });
  });

  test('somebody logs in with a code from a mail', async () => {
    const email = `cleo${names}@example.com`;
    for (let login = 1; login <= 2; login++) {
      await client().passwordless.sendEmail({ email, send: 'code' });
      const { data } = await client().passwordless.loginWithEmail({ email, code: await newestCode(email, login), scope: 'openid email' });
      expect(decodeJwt(data.id_token!)).toMatchObject({ sub: expect.stringMatching(/^email\|/), email, email_verified: true });
    }
    const rows = await usher.app.database.db.selectFrom('user_account').select('id').where('email', '=', email).execute();
    expect(await usher.app.registrations(rows[0]!.id)).toEqual([{ id: expect.any(String), source: 'passwordless-email' }]);
    await expect(client().passwordless.loginWithEmail({ email, code: '000000' })).rejects.toMatchObject({ statusCode: 403, error: 'invalid_grant', error_description: 'Wrong email or verification code.' });
  });

  test('somebody logs in with a code from a text message', async () => {
    const number = `+49151000000${names}`;
    await client().passwordless.sendSMS({ phone_number: number });
    const { data } = await client().passwordless.loginWithSMS({ phone_number: number, code: await newestCode(number, 1), scope: 'openid phone' });
    expect(decodeJwt(data.id_token!)).toMatchObject({ sub: expect.stringMatching(/^sms\|/), phone_number: number });
  });
});

test('errors of 4.x are its AuthApiError', async () => {
  const client = new AuthenticationClient4({ domain: usher.domain, clientId: CLIENT_ID, clientSecret: 'wrong' });
  await expect(client.oauth.passwordGrant({ username: 'a@example.com', password: 'x' })).rejects.toBeInstanceOf(AuthApiError);
});
