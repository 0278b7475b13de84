import { afterAll, beforeAll, expect, test } from 'vitest';
import { type LoginApp, startLoginApp } from '../authentication/login-app.ts';
import { bearer, CLIENT_SECRET, signUp } from '../http/test-app.ts';
import { until } from '../messages/mail-server.ts';

const SECRET = 'canary-secret-6b1f';
const PASSWORD = 'Canary-Password-77';
const WRONG = 'Canary-Wrong-88';
const EMAIL = 'canary-ann@example.com';
const PRE_CODE = `exports.onExecutePreUserRegistration = async (event) => {
  console.log('canary-logged-' + 'by-action', event.user.email, event.secrets.KEY);
};`;

let app: LoginApp;

beforeAll(async () => {
  app = await startLoginApp();
});
afterAll(() => app.close());

/** Names of the tables that have a text in one of their rows. */
async function tablesWith(find: RegExp): Promise<string[]> {
  const { db } = app.database;
  const tables = await db.introspection.getTables();
  const found: string[] = [];
  for (const { name } of tables) {
    const rows = await db.withTables<Record<string, object>>().selectFrom(name).selectAll().execute();
    if (find.test(JSON.stringify(rows))) found.push(name);
  }
  return found.toSorted();
}

/** As a text of its own: a code is no part of a longer number, or of an id. */
function alone(text: string): RegExp {
  return new RegExp(`(?<![0-9A-Za-z])${text.replaceAll(/[.+]/g, '\\$&')}(?![0-9A-Za-z])`);
}

test('no row holds a secret, a password, a code, a token or what an Action logs, and an address only where it is searched by', async () => {
  await app.bind('pre-user-registration', [{ name: 'Check', code: PRE_CODE, secrets: { KEY: SECRET } }]);
  expect((await signUp(app, { email: EMAIL, password: PASSWORD })).status).toBe(200);
  await until(() => app.mail.to(EMAIL).length > 0, 'the mail');
  const ticket = /ticket=([\w-]+)/.exec(app.mail.to(EMAIL)[0]!.text)![1]!;
  const login = async (password: string) => await app.token({ grant_type: 'password', username: EMAIL, password, scope: 'openid' });
  expect((await login(WRONG)).status).toBe(403);
  const { body } = await login(PASSWORD);
  // One that is used, and one that is not.
  const codes = [await app.codeFor(EMAIL), await app.codeFor('+4915112345678')];
  expect((await app.login(EMAIL, codes[0]!)).status).toBe(200);
  const { authorization } = await bearer(app);

  for (const canary of [SECRET, PASSWORD, WRONG, CLIENT_SECRET, 'canary-logged-by-action', ticket, ...codes, body.access_token, body.id_token, authorization.slice('Bearer '.length)]) {
    expect(await tablesWith(alone(canary)), canary).toEqual([]);
  }
  // The control: what is not sealed is found.
  expect(await tablesWith(alone(EMAIL))).toEqual(['ticket', 'user_account']);
  expect(await tablesWith(alone('+4915112345678'))).toEqual(['passwordless_code']);
});
