import { request } from 'node:http';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { messagesPath } from '../../src/http/pages/messages-routes.ts';
import { DEFAULT_CONNECTION } from '../../src/store/connections.ts';
import { createMessageStore } from '../../src/store/messages.ts';
import { bearer, CLIENT_ID, PASSWORD, postJson, send, signUp, startTestApp } from '../http/test-app.ts';
import { until } from '../messages/mail-server.ts';
import { type LoginApp, startLoginApp } from './login-app.ts';

let app: LoginApp;
const NEW_PASSWORD = 'another-Horse-8-staple';
const ASKED = "We've just sent you an email to reset your password.";

beforeAll(async () => {
  app = await startLoginApp();
});

afterAll(async () => {
  await app.close();
});

async function newUser(email: string): Promise<string> {
  const { status, body } = await signUp(app, { email });
  expect(status).toBe(200);
  return `auth0|${body._id}`;
}

/** The link of the newest mail to an address that matches. */
async function linkTo(email: string, path: string): Promise<string> {
  const link = () => app.mail.to(email).map(({ text }) => new RegExp(`https?://\\S+${path}\\S+`).exec(text)?.[0]).findLast((each) => each !== undefined);
  await until(() => link() !== undefined, `a link ${path} for ${email}`);
  return link()!;
}

async function open(url: string, init: RequestInit = {}): Promise<{ status: number; html: string; headers: Headers }> {
  const response = await fetch(url, { redirect: 'manual', ...init });
  return { status: response.status, html: await response.text(), headers: response.headers };
}

async function choose(link: string, password: string, again = password): Promise<string> {
  const form = new URLSearchParams({ ticket: new URL(link).searchParams.get('ticket')!, password, password_again: again });
  return (await open(link.split('?')[0]!, { method: 'POST', body: form })).html;
}

const login = async (email: string, password: string) => (await app.token({ grant_type: 'password', username: email, password })).status;
const api = async (path: string, body: unknown, scope: string) => await postJson(`${app.url}/api/v2${path}`, body, await bearer(app, scope));

describe('the mail of a sign-up', () => {
  it('verifies the address by its link, also when a program has followed it before', async () => {
    const id = await newUser('ada@example.com');
    const link = await linkTo('ada@example.com', '/usher/verify-email');
    expect(link.startsWith(`${app.url}/usher/verify-email?ticket=`)).toBe(true);
    expect(await app.user(id)).toMatchObject({ email_verified: 0 });

    for (let visit = 0; visit < 2; visit++) {
      const { status, html, headers } = await open(link);
      expect([status, headers.get('content-type'), headers.get('cache-control')]).toEqual([200, 'text/html; charset=utf-8', 'no-store']);
      expect(html).toContain('Your address is verified');
      expect(html).not.toContain('<script');
    }
    expect(await app.user(id)).toMatchObject({ email_verified: 1 });
    expect(await app.newestLog('sv')).toMatchObject({ user_id: id });
    expect(app.logText()).not.toContain(new URL(link).searchParams.get('ticket'));
  });

  it('is written with the user or not at all', async () => {
    await newUser('taken@example.com');
    await linkTo('taken@example.com', '/usher/verify-email');
    const before = app.mail.to('taken@example.com').length;
    expect((await signUp(app, { email: 'taken@example.com' })).status).toBe(400);
    await newUser('marker@example.com');
    await linkTo('marker@example.com', '/usher/verify-email');
    expect(app.mail.to('taken@example.com')).toHaveLength(before);
  });

  it('has a link to our own address, whatever host the request claims', async () => {
    const body = JSON.stringify({ client_id: CLIENT_ID, connection: DEFAULT_CONNECTION, email: 'host@example.com', password: PASSWORD });
    expect(await rawStatus(app.url, { method: 'POST', path: '/dbconnections/signup', headers: { host: 'evil.example', 'x-forwarded-host': 'evil.example', 'content-type': 'application/json' }, body })).toBe(200);
    expect(new URL(await linkTo('host@example.com', '/usher/verify-email')).origin).toBe(app.url);
  });

  it('verifies no other address than its own, and nothing when it has ended', async () => {
    const id = await newUser('before@example.com');
    const link = await linkTo('before@example.com', '/usher/verify-email');
    await app.database.db.updateTable('user_account').set({ email: 'after@example.com' }).where('id', '=', id).execute();
    expect((await open(link)).html).toContain('cannot be used');
    await app.database.db.updateTable('user_account').set({ email: 'before@example.com' }).where('id', '=', id).execute();
    await app.database.db.updateTable('ticket').set({ expires_at: 1 }).where('user_id', '=', id).execute();
    expect((await open(link)).html).toContain('cannot be used');
    expect((await open(`${app.url}/usher/verify-email`)).html).toContain('cannot be used');
    expect(await app.user(id)).toMatchObject({ email_verified: 0 });
  });
});

describe('a change of password by mail', () => {
  async function ask(email: string, fields: Record<string, unknown> = {}) {
    const response = await fetch(`${app.url}/dbconnections/change_password`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ client_id: CLIENT_ID, connection: DEFAULT_CONNECTION, email, ...fields }) });
    return { status: response.status, text: await response.text() };
  }

  it('sets the new password by the form that the mail leads to, once', async () => {
    const id = await newUser('change@example.com');
    expect(await ask('Change@Example.com')).toEqual({ status: 200, text: ASKED });
    const link = await linkTo('change@example.com', '/usher/change-password');
    const { html } = await open(link);
    expect(html).toContain('<form method="post"');
    expect(html).not.toContain('<script');

    expect(await choose(link, NEW_PASSWORD)).toContain('Your password is changed');
    expect([await login('change@example.com', NEW_PASSWORD), await login('change@example.com', PASSWORD)]).toEqual([200, 403]);
    expect(await app.user(id)).toMatchObject({ email_verified: 1, last_password_reset: expect.any(Number) });
    expect(await app.newestLog('scp')).toMatchObject({ user_id: id });
    expect(await choose(link, 'third-Horse-9-staple')).toContain('cannot be used');
    expect((await open(link)).html).toContain('cannot be used');
    expect(await login('change@example.com', NEW_PASSWORD)).toBe(200);
    expect(app.logText()).not.toContain(NEW_PASSWORD);
  });

  it('works once of many times at once, and ends the other links that the user has', async () => {
    await newUser('many@example.com');
    await ask('many@example.com');
    const first = await linkTo('many@example.com', '/usher/change-password');
    await ask('many@example.com');
    await until(() => app.mail.to('many@example.com').filter(({ text }) => text.includes('change-password')).length === 2, 'a second mail');
    const second = await linkTo('many@example.com', '/usher/change-password');
    expect(second).not.toBe(first);
    const pages = await Promise.all(Array.from({ length: 5 }, (_, index) => choose(second, `${NEW_PASSWORD}${index}`)));
    expect(pages.filter((html) => html.includes('Your password is changed'))).toHaveLength(1);
    expect(await choose(first, 'third-Horse-9-staple')).toContain('cannot be used');
  });

  it.each([
    ['address', { email: 'moved@example.com' }],
    ['password', { password: 'set-by-Support-5-staple' }],
  ])('is of no use any more once the %s was changed otherwise', async (what, change) => {
    const id = await newUser(`stale-${what}@example.com`);
    await ask(`stale-${what}@example.com`);
    const link = await linkTo(`stale-${what}@example.com`, '/usher/change-password');
    const changed = await send(`${app.url}/api/v2/users/${encodeURIComponent(id)}`, { method: 'PATCH', headers: { ...(await bearer(app)), 'content-type': 'application/json' }, body: JSON.stringify(change) });
    expect(changed.status).toBe(200);
    expect((await open(link)).html).toContain('cannot be used');
    expect(await choose(link, NEW_PASSWORD)).toContain('cannot be used');
    expect(await login(changed.body.email, NEW_PASSWORD)).toBe(403);
  });

  it('takes no weak password, and none that was mistyped; the link stays good', async () => {
    await newUser('weak@example.com');
    await ask('weak@example.com');
    const link = await linkTo('weak@example.com', '/usher/change-password');
    expect(await choose(link, 'weak')).toContain('At least 8 characters in length');
    expect(await choose(link, NEW_PASSWORD, 'something else')).toContain('not the same');
    expect(await choose(link, NEW_PASSWORD)).toContain('Your password is changed');
  });

  it('is answered the same for nobody, who gets no mail', async () => {
    expect(await ask('nobody@example.com')).toEqual({ status: 200, text: ASKED });
    await newUser('second-marker@example.com');
    await linkTo('second-marker@example.com', '/usher/verify-email');
    expect(app.mail.to('nobody@example.com')).toEqual([]);
  });

  it('sends one person no more than 20 mails an hour, and does not tell', async () => {
    await newUser('bombed@example.com');
    await linkTo('bombed@example.com', '/usher/verify-email');
    for (let count = 0; count < 22; count++) expect(await ask('bombed@example.com')).toEqual({ status: 200, text: ASKED });
    await expect.poll(() => app.database.db.selectFrom('message').select('id').where('due_at', 'is not', null).execute()).toEqual([]);
    expect(app.mail.to('bombed@example.com').filter(({ text }) => text.includes('change-password'))).toHaveLength(20);
  });

  it.each([
    ['an unknown client', { client_id: 'nobody' }, 'invalid_client'],
    ['a passwordless connection', { connection: 'email' }, 'invalid_connection'],
    ['no address', { email: undefined }, 'invalid_body'],
  ])('refuses %s', async (_, fields, code) => {
    const { status, text } = await ask('a@example.com', fields);
    expect([status, JSON.parse(text)]).toMatchObject([400, { code }]);
  });
});

describe('tickets of the Management API', () => {
  it('verify an address and send the person on', async () => {
    const id = await newUser('ticket@example.com');
    const { status, body } = await api('/tickets/email-verification', { user_id: id, result_url: 'https://app.example/done?x=1', ttl_sec: 60 }, 'create:user_tickets');
    expect({ status, body }).toEqual({ status: 201, body: { ticket: expect.stringContaining(`${app.url}/usher/verify-email?ticket=`) } });
    const { status: redirect, headers } = await open(body.ticket);
    expect(redirect).toBe(302);
    expect(Object.fromEntries(new URL(headers.get('location')!).searchParams)).toMatchObject({ x: '1', success: 'true', message: expect.stringContaining('verified') });
    expect(await app.user(id)).toMatchObject({ email_verified: 1 });
  });

  it('change a password, by user or by connection and address, and verify the address only when told to', async () => {
    const id = await newUser('reset@example.com');
    const plain = await api('/tickets/password-change', { user_id: id, result_url: 'https://app.example/"><script>' }, 'create:user_tickets');
    const html = await choose(plain.body.ticket, NEW_PASSWORD);
    expect(html).toContain('href="https://app.example/%22%3E%3Cscript%3E?success=true');
    expect(await app.user(id)).toMatchObject({ email_verified: 0 });
    expect(await login('reset@example.com', NEW_PASSWORD)).toBe(200);

    const connection = await app.database.db.selectFrom('connection').select('id').where('name', '=', DEFAULT_CONNECTION).executeTakeFirstOrThrow();
    const marked = await api('/tickets/password-change', { connection_id: connection.id, email: 'Reset@example.com', mark_email_as_verified: true }, 'create:user_tickets');
    expect(marked.status).toBe(201);
    expect(await choose(marked.body.ticket, PASSWORD)).toContain('Your password is changed');
    expect(await app.user(id)).toMatchObject({ email_verified: 1 });
  });

  it('are refused for who is not there, or has no password or address', async () => {
    const { body } = await app.login('+4915112345678', await app.codeFor('+4915112345678'));
    expect(body.id_token).toBeDefined();
    const [{ id }] = await app.database.db.selectFrom('user_account').select('id').where('phone_number', '=', '+4915112345678').execute() as [{ id: string }];
    expect(await api('/tickets/email-verification', { user_id: 'auth0|nobody' }, 'create:user_tickets')).toMatchObject({ status: 404, body: { errorCode: 'inexistent_user' } });
    expect(await api('/tickets/email-verification', { user_id: id }, 'create:user_tickets')).toMatchObject({ status: 400 });
    expect(await api('/tickets/password-change', { user_id: id }, 'create:user_tickets')).toMatchObject({ status: 400 });
    expect(await api('/tickets/password-change', {}, 'create:user_tickets')).toMatchObject({ status: 400 });
    expect(await api('/tickets/password-change', { user_id: id, colour: 'red' }, 'create:user_tickets')).toMatchObject({ status: 400 });
    expect(await api('/tickets/password-change', { user_id: id }, 'read:users')).toMatchObject({ status: 403 });
  });
});

describe('/jobs/verification-email', () => {
  it('sends the mail again', async () => {
    const id = await newUser('job@example.com');
    await linkTo('job@example.com', '/usher/verify-email');
    const { status, body } = await api('/jobs/verification-email', { user_id: id, client_id: CLIENT_ID }, 'update:users');
    expect({ status, body }).toEqual({ status: 201, body: { id: expect.stringMatching(/^job_/), type: 'verification_email', status: 'completed', created_at: expect.any(String) } });
    await until(() => app.mail.to('job@example.com').length === 2, 'a second mail');
    expect(await send(`${app.url}/api/v2/jobs/${body.id}`, { headers: await bearer(app) })).toMatchObject({ status: 200, body: { status: 'completed' } });
  });
});

describe('without an SMTP server', () => {
  it('messages are kept and shown to requests of this machine alone, by the link that the start prints', async () => {
    const own = await startTestApp();
    try {
      const path = messagesPath(own.keyring);
      expect((await open(`${own.url}${path}`)).html).toContain('None was kept');
      // As an Action could ask, which comes from this machine too.
      for (const query of ['', '?key=', `?key=${'0'.repeat(32)}`]) {
        const refused = await open(`${own.url}/usher/messages${query}`);
        expect(refused.status).toBe(404);
        expect(refused.html).not.toContain('None was kept');
      }
      await signUp(own, { email: 'kept@example.com', name: '<b>x</b>' });
      const store = createMessageStore(own);
      await until(async () => (await store.listKept()).length === 1, 'the mail to be kept');
      const { html } = await open(`${own.url}${path}`);
      expect(html).toContain('kept@example.com');
      expect(html).not.toContain('<script');
      const link = /<a href="([^"]+)"/.exec(html)![1]!;
      expect((await open(link)).html).toContain('Your address is verified');
      for (const headers of [{ 'x-forwarded-for': '203.0.113.1' }, { forwarded: 'for=203.0.113.1' }]) {
        expect((await open(`${own.url}${path}`, { headers })).status).toBe(404);
      }
      expect(await rawStatus(own.url, { path, headers: { host: 'rebound.example' } })).toBe(404);
      expect(await rawStatus(own.url, { path, headers: { host: 'localhost' } })).toBe(200);
    } finally {
      await own.close();
    }
  });
});

/** The status of a request whose host its sender has chosen. */
async function rawStatus(url: string, { body, ...options }: { method?: string; path: string; headers: Record<string, string>; body?: string }): Promise<number> {
  const { hostname, port } = new URL(url);
  return await new Promise((resolve, reject) => {
    const sent = request({ hostname, port, ...options }, (response) => {
      response.resume();
      resolve(response.statusCode ?? 0);
    });
    sent.on('error', reject).end(body);
  });
}

describe('/.well-known/openid-configuration', () => {
  it('names the endpoints under the address of the request, or the one that is configured', async () => {
    expect(await send(`${app.url}/.well-known/openid-configuration`)).toMatchObject({ status: 200, body: { issuer: `${app.url}/`, token_endpoint: `${app.url}/oauth/token`, jwks_uri: `${app.url}/.well-known/jwks.json`, id_token_signing_alg_values_supported: ['RS256'] } });
    const own = await startTestApp({ publicUrl: 'https://usher.example.com' });
    try {
      expect(await send(`${own.url}/.well-known/openid-configuration`)).toMatchObject({ body: { issuer: 'https://usher.example.com/', token_endpoint: 'https://usher.example.com/oauth/token' } });
    } finally {
      await own.close();
    }
  });
});
