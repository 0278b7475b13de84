import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { bearer, newestLog, PASSWORD, send, signUp, startTestApp, type TestAction, type TestApp } from '../http/test-app.ts';

let app: TestApp;

beforeAll(async () => {
  app = await startTestApp();
});

afterAll(async () => {
  await app.close();
});

beforeEach(async () => {
  await app.bind('pre-user-registration', []);
});

const action = (name: string, body: string, rest: Partial<TestAction> = {}): TestAction => ({
  name,
  code: `exports.onExecutePreUserRegistration = async (event, api) => { ${body} };`,
  ...rest,
});

const bind = async (...actions: TestAction[]): Promise<void> => await app.bind('pre-user-registration', actions);

async function execution(id: string, of = app) {
  return (await send(`${of.url}/api/v2/actions/executions/${id}`, { headers: await bearer(of) })).body;
}

async function userRow(email: string) {
  return await app.database.db.selectFrom('user_account').selectAll().where('email', '=', email).executeTakeFirst();
}

describe('api.access.deny', () => {
  it('refuses the sign-up with the message for the person, and keeps nobody', async () => {
    await bind(action('Gate', "api.access.deny('blocked_domain', 'Please use your work address');"));
    const { status, body } = await signUp(app, { email: 'denied@example.com' });
    expect({ status, body }).toEqual({ status: 400, body: { error: 'extensibility_error', error_description: 'Please use your work address' } });
    expect(await userRow('denied@example.com')).toBeUndefined();
  });

  it('shows the reason when it is all there is', async () => {
    await bind(action('Gate', "api.access.deny('USER_ACCOUNT_NOT_ACTIVE');"));
    expect((await signUp(app)).body).toEqual({ error: 'extensibility_error', error_description: 'USER_ACCOUNT_NOT_ACTIVE' });
  });

  it('stops the Actions after it, and leaves reason and logs for who looks', async () => {
    await bind(
      action('First', "console.log('first was here');"),
      action('Gate', "console.log('denying', event.user.email); api.access.deny('because', 'no');"),
      action('Never', "throw new Error('must not run');"),
    );
    await signUp(app, { email: 'watched@example.com' });
    const log = await newestLog(app, 'fs');
    expect(log).toMatchObject({ user_name: 'watched@example.com', description: 'because' });
    const found = await execution(log.details.usher.executions[0]);
    expect(found).toMatchObject({ trigger_id: 'pre-user-registration', status: 'final', results: [{ started_at: expect.any(String) }, {}] });
    expect(found.usher).toMatchObject({
      registration_id: null,
      actions: [
        { outcome: 'succeeded', logs: [{ text: 'first was here' }] },
        { outcome: 'denied', logs: [{ text: 'denying watched@example.com' }] },
      ],
    });
    expect(found.usher.actions).toHaveLength(2);
  });

  it('holds when the Action fails after it, even where failures are allowed', async () => {
    await bind(action('Gate', "api.access.deny('r', 'denied all the same'); throw new Error('afterwards');", { onError: 'allow' }));
    expect((await signUp(app)).body).toEqual({ error: 'extensibility_error', error_description: 'denied all the same' });
  });
});

it('api.validation.error refuses the sign-up with its message', async () => {
  await bind(action('Check', "api.validation.error('bad_phone', 'This phone number is not valid');"));
  expect(await signUp(app)).toMatchObject({ status: 400, body: { error: 'extensibility_error', error_description: 'This phone number is not valid' } });
});

describe('the seed Action that looks at TLS fingerprints', () => {
  const code = readFileSync(new URL('../../examples/actions/deny-fingerprints.js', import.meta.url), 'utf8');
  const bad = 't13d1517h2_8daaf6152771_b6f405a00624';

  it('denies a fingerprint that a trusted proxy has set, and nothing that anybody else sends', async () => {
    expect(code).toContain('onExecutePreUserRegistration');
    const proxied = await startTestApp({ trustedProxies: ['127.0.0.0/8'] });
    try {
      const actions = [{ name: 'JA4', code }];
      await proxied.bind('pre-user-registration', actions);
      await app.bind('pre-user-registration', actions);
      expect((await signUp(proxied, {}, { 'x-ja4': bad })).body).toEqual({ error: 'extensibility_error', error_description: 'Your TLS fingerprint has been flagged as suspicious' });
      expect((await signUp(proxied, {}, { 'x-ja4': 't13d1516h2_other' })).status).toBe(200);
      // What came in twice was sent by somebody before the proxy.
      expect((await signUp(proxied, {}, { 'x-ja4': `t13d1516h2_other, ${bad}` })).status).toBe(200);
      expect((await signUp(app, {}, { 'x-ja4': bad, 'x-forwarded-for': '127.0.0.1' })).status).toBe(200);
    } finally {
      await proxied.close();
    }
  });
});

async function eventOf(app: TestApp, fields: Record<string, unknown>, headers: Record<string, string> = {}) {
  // Too short to be masked in what is logged.
  await app.bind('pre-user-registration', [action('Print', 'console.log(JSON.stringify(event));', { secrets: { KEY: 'value' } })]);
  expect((await signUp(app, fields, headers)).status).toBe(200);
  const log = await newestLog(app, 'ss');
  const found = await execution(log.details.actions.executions[0], app);
  return { event: JSON.parse(found.usher.actions[0].logs[0].text), executionId: found.id };
}

describe('the event', () => {
  it('has what Auth0 gives, plus event.usher', async () => {
    const fields = { email: 'Event@example.com', given_name: 'Eve', user_metadata: { plan: 'x' }, 'ulp-fullName': 'Eve Nt' };
    const { event, executionId } = await eventOf(app, fields, { 'user-agent': 'curl/8', 'accept-language': 'de-DE,en;q=0.5' });
    expect(event).toEqual({
      client: { client_id: 'test-client', name: 'First client', metadata: {} },
      configuration: {},
      connection: { id: expect.stringMatching(/^con_/), name: 'Username-Password-Authentication', strategy: 'auth0', metadata: {} },
      request: {
        body: { ...fields, client_id: 'test-client', connection: 'Username-Password-Authentication' },
        geoip: {},
        hostname: '127.0.0.1',
        ip: '127.0.0.1',
        language: 'de-DE',
        method: 'POST',
        user_agent: 'curl/8',
      },
      secrets: { KEY: 'value' },
      tenant: { id: 'usher' },
      transaction: { acr_values: [], locale: '', requested_scopes: [], ui_locales: [] },
      user: {
        email: 'event@example.com',
        given_name: 'Eve',
        name: 'event@example.com',
        nickname: 'event',
        picture: expect.stringContaining('gravatar'),
        user_metadata: { plan: 'x' },
        app_metadata: {},
      },
      usher: { execution_id: executionId, attempt: 1, idempotency_key: expect.stringContaining(executionId) },
    });
  });

  it('has address, host and fingerprints as a trusted proxy tells them, and as nobody else does', async () => {
    const headers = { 'x-forwarded-for': '198.51.100.1, 203.0.113.7', 'x-forwarded-host': 'login.example.com', 'x-ja3': 'c13a3e168d43e62e0ad96fae6347e2e4', 'x-ja4': 't13d' };
    const proxied = await startTestApp({ trustedProxies: ['127.0.0.1/32'] });
    try {
      const forwarded = await eventOf(proxied, {}, headers);
      // The proxy vouches for the last address only; what stands before it came from outside.
      expect(forwarded.event.request).toMatchObject({ ip: '203.0.113.7', hostname: 'login.example.com' });
      expect(forwarded.event.security_context).toEqual({ ja3: 'c13a3e168d43e62e0ad96fae6347e2e4', ja4: 't13d' });
    } finally {
      await proxied.close();
    }
    const { event } = await eventOf(app, {}, headers);
    expect(event.request).toMatchObject({ ip: '127.0.0.1', hostname: '127.0.0.1' });
    expect(event).not.toHaveProperty('security_context');
  });

  it('never has the password', async () => {
    const { event } = await eventOf(app, {});
    expect(JSON.stringify(event)).not.toContain(PASSWORD);
  });
});

describe('metadata set by Actions', () => {
  it('is gathered, in order, and committed with the user', async () => {
    await bind(
      action('One', "api.user.setUserMetadata('a', 1); api.user.setAppMetadata('roles', ['x']); api.user.setUserMetadata('gone', 'x');"),
      action('Two', "console.log(JSON.stringify(event.user.user_metadata)); api.user.setUserMetadata('a', 2); api.user.setUserMetadata('gone', null); api.user.setUserMetadata('sent', null);"),
    );
    const { body } = await signUp(app, { email: 'meta@example.com', user_metadata: { sent: 's', kept: 'k' } });
    expect(body.user_metadata).toEqual({ sent: 's', kept: 'k' });
    const row = await userRow('meta@example.com');
    expect(JSON.parse(row?.user_metadata ?? '')).toEqual({ kept: 'k', a: 2 });
    expect(JSON.parse(row?.app_metadata ?? '')).toEqual({ roles: ['x'] });
    const log = await newestLog(app, 'ss');
    const { usher } = await execution(log.details.actions.executions[0]);
    expect(JSON.parse(usher.actions[1].logs[0].text)).toEqual({ sent: 's', kept: 'k' });
  });

  it('above 32 KiB fails the Action that goes beyond', async () => {
    await bind(action('Hoarder', "api.user.setAppMetadata('big', 'x'.repeat(33 * 1024));"));
    expect((await signUp(app)).status).toBe(400);
    expect((await newestLog(app, 'actions_execution_failed')).details).toMatchObject({ error_class: 'action_error', action_error: { name: 'MetadataTooLarge' } });
  });
});

it('api.cache is passed on from Action to Action and from sign-up to sign-up, a denied one included', async () => {
  const count = "const n = Number(api.cache.get('n')?.value ?? 0) + 1; api.cache.set('n', String(n)); console.log(n);";
  await bind(action('Count', count), action('Count again', `${count} if (event.user.email.startsWith('no')) api.access.deny('no', 'no');`));
  await signUp(app, { email: 'no1@example.com' });
  await signUp(app);
  const log = await newestLog(app, 'ss');
  const { usher } = await execution(log.details.actions.executions[0]);
  expect(usher.actions.map((one: { logs: { text: string }[] }) => one.logs[0]?.text)).toEqual(['3', '4']);
});

describe('an Action that fails', () => {
  it('denies by default, tells the person nothing of it, and the operator which it is', async () => {
    await bind(action('Broken gate', "throw new TypeError('secret internals of x@example.com');"));
    const { status, body } = await signUp(app, { email: 'unlucky@example.com' });
    expect({ status, body }).toEqual({ status: 400, body: { error: 'extensibility_error', error_description: 'The sign-up could not be completed. Please try again later.' } });
    expect(await userRow('unlucky@example.com')).toBeUndefined();

    const entry = await newestLog(app, 'actions_execution_failed');
    expect(entry.details).toEqual({
      trigger_id: 'pre-user-registration',
      execution_id: expect.any(String),
      action_id: expect.any(String),
      action_name: expect.stringMatching(/^Broken gate/),
      version_id: expect.any(String),
      binding_id: expect.any(String),
      error_class: 'action_error',
      action_error: { name: 'TypeError', message: 'secret internals of x@example.com', code: 'ACTION_THREW', stack: expect.any(String) },
    });
    expect(await execution(entry.details.execution_id)).toMatchObject({ status: 'partial', results: [{ error: { msg: 'secret internals of x@example.com' } }] });

    const line = app.logText().split('\n').find((text) => text.includes('the pre-user-registration Action \\"Broken gate'));
    expect(JSON.parse(line ?? '{}')).toMatchObject({ level: 50, action_id: entry.details.action_id, binding_id: entry.details.binding_id, version_id: entry.details.version_id, execution_id: entry.details.execution_id, error_type: 'ACTION_THREW' });
    expect(app.logText()).not.toContain('secret internals');
  });

  it('lets the sign-up go on when its binding says so, without what it had set, and the next Action runs', async () => {
    await bind(
      action('Optional', "api.user.setAppMetadata('half', true); throw new Error('x');", { onError: 'allow' }),
      action('Next', "api.user.setAppMetadata('next', true);"),
    );
    expect((await signUp(app, { email: 'lucky@example.com' })).status).toBe(200);
    expect(JSON.parse((await userRow('lucky@example.com'))?.app_metadata ?? '')).toEqual({ next: true });
    expect((await newestLog(app, 'actions_execution_failed')).user_name).toBe('lucky@example.com');
    const log = await newestLog(app, 'ss');
    expect(await execution(log.details.actions.executions[0])).toMatchObject({ status: 'partial', usher: { registration_id: expect.any(String), actions: [{ outcome: 'failed' }, { outcome: 'succeeded' }] } });
  });

  it('by never ending is ended at the one deadline of all', async () => {
    const deadlineMs = 6000;
    const hasty = await startTestApp({ preUserRegistrationMs: deadlineMs });
    const ofOne = (work: string) => `if (event.user.email === 'endless@example.com') ${work}`;
    try {
      await hasty.bind('pre-user-registration', [
        action('Slow', ofOne('await new Promise((resolve) => setTimeout(resolve, 700));')),
        action('Endless', ofOne('for (;;);')),
        action('Never', ''),
      ]);
      // Starts their processes, so that the deadline of the next one goes to what the Actions do.
      expect((await signUp(hasty)).status).toBe(200);
      const startedAt = performance.now();
      expect((await signUp(hasty, { email: 'endless@example.com' })).status).toBe(400);
      // Less than the 20 s that it is by default.
      expect(performance.now() - startedAt).toBeLessThan(deadlineMs + 10_000);
      const entry = await newestLog(hasty, 'actions_execution_failed');
      expect(entry.details).toMatchObject({ action_name: expect.stringMatching(/^Endless/), error_class: 'action_timeout' });
    } finally {
      await hasty.close();
    }
  });

  it('because we cannot run it counts like one that failed', async () => {
    await bind(action('Vanished', ''));
    await app.database.db.updateTable('action_version').set({ archive_key: 'gone' }).execute();
    expect((await signUp(app)).status).toBe(400);
    expect((await newestLog(app, 'actions_execution_failed')).details.error_class).toBe('platform_error');
  });
});
