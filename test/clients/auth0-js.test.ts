import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { fileURLToPath } from 'node:url';
import { type Browser, chromium, type Page } from 'playwright-core';
import { decodeJwt } from 'jose';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { DEFAULT_CONNECTION } from '../../src/store/connections.ts';
import { type LoginApp, OTP, startLoginApp } from '../authentication/login-app.ts';
import { mustSkip } from '../helpers/must-skip.ts';
import { onPath } from '../helpers/on-path.ts';
import { PASSWORD } from '../http/test-app.ts';
import { until } from '../messages/mail-server.ts';
import { type HttpsUsher, serveOverHttps } from './https-usher.ts';

const program = await onPath('chromium');
const AUTH0_JS = fileURLToPath(new URL('../../node_modules/auth0-js/dist/auth0.min.js', import.meta.url));

/** How a call of auth0-js ended, as its callback was told. */
interface Called {
  error: Record<string, unknown> | null;
  result: Record<string, unknown> | null;
}

describe.skipIf(mustSkip('npm auth0-js in a browser', program === undefined ? 'there is no chromium on the PATH' : null))('npm auth0-js in a browser', () => {
  let usher: HttpsUsher<LoginApp>;
  let pages: Server;
  let browser: Browser;
  let page: Page;

  beforeAll(async () => {
    usher = await serveOverHttps(await startLoginApp());
    pages = createServer((_req, res) => res.setHeader('content-type', 'text/html').end('<!doctype html><title>An application</title>'));
    pages.listen(0, '127.0.0.1');
    await once(pages, 'listening');
    const origin = originOf('127.0.0.1');
    await usher.app.addClient('spa', { allowed_origins: [origin], web_origins: [origin] });
    browser = await chromium.launch({ executablePath: program!, args: ['--no-sandbox'] });
    page = await openPage(origin);
  });

  afterAll(async () => {
    await browser?.close();
    pages?.close();
    await usher?.close();
  });

  const originOf = (host: string) => `http://${host}:${(pages.address() as AddressInfo).port}`;

  async function openPage(origin: string): Promise<Page> {
    const context = await browser.newContext({ ignoreHTTPSErrors: true });
    const opened = await context.newPage();
    await opened.goto(origin);
    await opened.addScriptTag({ path: AUTH0_JS });
    return opened;
  }

  /** Calls a method of `new auth0.WebAuth(…)`, by its path: `client.login`. */
  async function call(method: string, options: Record<string, unknown>, on = page): Promise<Called> {
    return await on.evaluate(async ({ domain, method, options }) => {
      // oxlint-disable-next-line typescript/no-explicit-any -- what a page and its script have
      const { auth0, location } = globalThis as any;
      const webAuth = new auth0.WebAuth({ domain, clientID: 'spa', redirectUri: location.origin, responseType: 'token id_token' });
      const names = method.split('.');
      const target = names.slice(0, -1).reduce((object, name) => object[name], webAuth);
      return await new Promise<Called>((resolve) => {
        target[names.at(-1)!](options, (error: Called['error'], result: Called['result']) => resolve({ error: error ?? null, result: result ?? null }));
      });
    }, { domain: usher.domain, method, options });
  }

  test('signs somebody up, and hears why not', async () => {
    const options = { connection: DEFAULT_CONNECTION, email: 'ada@example.com', password: PASSWORD, user_metadata: { plan: 'free' } };
    expect(await call('signup', options)).toEqual({ error: null, result: expect.objectContaining({ email: 'ada@example.com', emailVerified: false }) });
    expect(await call('signup', options)).toMatchObject({ result: null, error: { statusCode: 400, code: 'user_exists' } });
    expect(await call('signup', { ...options, email: 'weak@example.com', password: 'weak' })).toMatchObject({ error: { code: 'invalid_password', name: 'PasswordStrengthError' } });
  });

  test('logs in with a password, in one step with the sign-up too', async () => {
    const login = await call('client.login', { realm: DEFAULT_CONNECTION, username: 'ada@example.com', password: PASSWORD, scope: 'openid email' });
    expect(decodeJwt(login.result!['idToken'] as string)).toMatchObject({ aud: 'spa', email: 'ada@example.com' });
    const both = await call('signupAndAuthorize', { connection: DEFAULT_CONNECTION, email: 'bea@example.com', password: PASSWORD, scope: 'openid' });
    expect(both).toMatchObject({ error: null, result: { accessToken: expect.any(String), idToken: expect.any(String) } });
    expect(await call('client.login', { realm: DEFAULT_CONNECTION, username: 'ada@example.com', password: 'wrong' })).toMatchObject({ error: { statusCode: 403, code: 'invalid_grant', description: 'Wrong email or password.' } });
  });

  test('starts a passwordless login; the code becomes tokens by its oauthToken', async () => {
    const started = await call('passwordlessStart', { connection: 'email', send: 'code', email: 'cleo@example.com' });
    expect(started).toMatchObject({ error: null, result: { email: 'cleo@example.com' } });
    await until(() => usher.app.mail.to('cleo@example.com').length === 1, 'the mail');
    const otp = /\b\d{6}\b/.exec(usher.app.mail.to('cleo@example.com')[0]!.text)![0];
    const login = await call('client.oauthToken', { grantType: OTP, realm: 'email', username: 'cleo@example.com', otp, scope: 'openid email' });
    expect(decodeJwt(login.result!['idToken'] as string)).toMatchObject({ sub: expect.stringMatching(/^email\|/), email: 'cleo@example.com', email_verified: true });
    expect(await call('client.oauthToken', { grantType: OTP, realm: 'email', username: 'cleo@example.com', otp })).toMatchObject({ error: { code: 'invalid_grant', description: 'Wrong email or verification code.' } });
    expect(await call('passwordlessStart', { connection: 'nothing', send: 'code', email: 'cleo@example.com' })).toMatchObject({ error: { code: 'bad.connection', description: 'Connection does not exist' } });
  });

  test('asks for a change of password', async () => {
    const { error } = await call('changePassword', { connection: DEFAULT_CONNECTION, email: 'ada@example.com' });
    expect(error).toBeNull();
    await until(() => usher.app.mail.to('ada@example.com').some(({ text }) => text.includes('/usher/change-password')), 'the mail');
  });

  test('cannot log in by its calls that need Auth0\'s login pages: they hear of an error', async () => {
    // `/co/authenticate` and `/authorize` are not here; see docs/not-here.md.
    expect(await call('login', { realm: DEFAULT_CONNECTION, username: 'ada@example.com', password: PASSWORD })).toMatchObject({ result: null, error: expect.any(Object) });
    expect(await call('passwordlessLogin', { connection: 'email', email: 'cleo@example.com', verificationCode: '123456' })).toMatchObject({ result: null, error: expect.any(Object) });
  });

  test('on a page whose origin the client does not have, gets no answer', async () => {
    const elsewhere = await openPage(originOf('localhost'));
    const { error, result } = await call('signup', { connection: DEFAULT_CONNECTION, email: 'elsewhere@example.com', password: PASSWORD }, elsewhere);
    expect(result).toBeNull();
    expect(error).not.toBeNull();
    expect(await usher.app.database.db.selectFrom('user_account').select('id').where('email', '=', 'elsewhere@example.com').execute()).toEqual([]);
  });
});
