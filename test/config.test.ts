import { expect, test } from 'vitest';
import { ConfigError, DEFAULT_PORT, loadConfig, VARIABLES } from '../src/config.ts';

const KEY = Buffer.alloc(32, 1);

function problemsOf(env: Record<string, string>): string[] {
  try {
    loadConfig(env, '/srv/ada');
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    const [first, ...problems] = error.message.split('\n');
    expect(first).toBe('Usher cannot start with this environment:');
    return problems.map((problem) => problem.replace(/^ {2}- /, ''));
  }
  return [];
}

test('with an empty environment everything has its default', () => {
  expect(loadConfig({ HOME: '/home/me' }, '/srv/ada')).toEqual({
    port: null,
    host: '127.0.0.1',
    publicUrl: null,
    dataDir: '/srv/ada/.usher',
    databaseUrl: null,
    clientId: null,
    clientSecret: null,
    masterKey: null,
    previousMasterKey: null,
    trustedProxies: [],
    ja3Header: null,
    ja4Header: null,
    egressAllow: [],
    ownCertificate: null,
    extraCaCerts: null,
    rateLimits: { signUp: 60, token: 120, passwordless: 30, management: 1200 },
    retention: { registrations: 90, logs: 30 },
    smtp: null,
    smsGateway: null,
    workerSandboxes: 16,
    logLevel: 'info',
    opsPort: null,
    opsHost: '127.0.0.1',
    otlpEndpoint: null,
    temporalUiUrl: null,
    temporalDeployment: null,
    temporal: { address: null, namespace: 'default', security: {} },
    cacheDir: '/home/me/.cache/usher',
  });
  expect(VARIABLES.USHER_PORT.default).toBe(String(DEFAULT_PORT));
});

test('an empty variable counts as not set', () => {
  const empty = Object.fromEntries([...Object.keys(VARIABLES), 'TEMPORAL_ADDRESS'].map((name) => [name, '']));
  expect(loadConfig(empty, '/srv/ada')).toEqual(loadConfig({}, '/srv/ada'));
});

test('each variable is read', () => {
  const env = {
    USHER_PORT: '0',
    USHER_HOST: '::1',
    USHER_PUBLIC_URL: 'https://Usher.example.com:443/',
    USHER_TLS_CERT: 'tls/cert.pem',
    USHER_TLS_KEY: '/etc/usher/key.pem',
    USHER_EXTRA_CA_CERTS: 'ca.pem',
    USHER_DATA_DIR: '/var/lib/usher',
    DATABASE_URL: 'postgres://usher:pw@db.example.com/usher',
    USHER_CLIENT_ID: 'my-client',
    USHER_CLIENT_SECRET: 's'.repeat(32),
    USHER_MASTER_KEY: KEY.toString('base64'),
    USHER_MASTER_KEY_PREVIOUS: Buffer.alloc(32, 2).toString('base64'),
    USHER_TRUST_PROXY: '10.0.0.0/8, ::1/128',
    USHER_JA3_HEADER: 'X-JA3',
    USHER_JA4_HEADER: 'X-JA4',
    USHER_EGRESS_ALLOW: '192.168.7.0/24',
    USHER_RATE_LIMITS: 'management=5, token=off',
    USHER_RETENTION_DAYS: 'registrations=off, logs=7',
    USHER_SMTP_URL: 'smtps://usher:p%40ss@mail.example.com',
    USHER_MAIL_FROM: 'Example <no-reply@example.com>',
    USHER_SMS_URL: 'https://sms.example.com/send',
    USHER_SMS_AUTHORIZATION: 'Bearer gateway-token',
    USHER_WORKER_SANDBOXES: '40',
    USHER_OPS_PORT: '9000',
    USHER_OPS_HOST: '0.0.0.0',
    USHER_TEMPORAL_UI_URL: 'https://temporal.example.com/ui/',
    USHER_TEMPORAL_DEPLOYMENT: 'usher',
    OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:4318/',
    USHER_LOG_LEVEL: 'debug',
    TEMPORAL_ADDRESS: 'temporal.example:7233',
    TEMPORAL_NAMESPACE: 'users',
    XDG_CACHE_HOME: '/cache',
  };
  expect(Object.keys(VARIABLES).filter((name) => !(name in env))).toEqual([]);
  expect(loadConfig(env, '/srv/ada')).toEqual({
    port: 0,
    host: '::1',
    publicUrl: 'https://usher.example.com',
    dataDir: '/var/lib/usher',
    databaseUrl: 'postgres://usher:pw@db.example.com/usher',
    clientId: 'my-client',
    clientSecret: 's'.repeat(32),
    masterKey: KEY,
    previousMasterKey: Buffer.alloc(32, 2),
    trustedProxies: ['10.0.0.0/8', '::1/128'],
    ja3Header: 'x-ja3',
    ja4Header: 'x-ja4',
    egressAllow: ['192.168.7.0/24'],
    ownCertificate: { cert: '/srv/ada/tls/cert.pem', key: '/etc/usher/key.pem' },
    extraCaCerts: '/srv/ada/ca.pem',
    rateLimits: { signUp: 60, token: null, passwordless: 30, management: 5 },
    retention: { registrations: null, logs: 7 },
    smtp: { url: 'smtps://usher:p%40ss@mail.example.com', from: 'Example <no-reply@example.com>' },
    smsGateway: { url: 'https://sms.example.com/send', authorization: 'Bearer gateway-token' },
    workerSandboxes: 40,
    logLevel: 'debug',
    opsPort: 9000,
    opsHost: '0.0.0.0',
    otlpEndpoint: 'http://127.0.0.1:4318',
    temporalUiUrl: 'https://temporal.example.com/ui',
    temporalDeployment: 'usher',
    temporal: { address: 'temporal.example:7233', namespace: 'users', security: {} },
    cacheDir: '/cache/usher',
  });
});

test('a master key in base64url, as many tools print it, is read as well', () => {
  const key = Buffer.alloc(32, 0xfb);
  expect(loadConfig({ USHER_MASTER_KEY: key.toString('base64url') }, '/srv/ada').masterKey).toEqual(key);
});

test.each([
  ['USHER_PORTS', 'USHER_PORT'],
  ['USHER_DATADIR', 'USHER_DATA_DIR'],
  ['USHER_JA5_HEADER', 'USHER_JA3_HEADER'],
  ['USHER_EGRESS', 'USHER_EGRESS_ALLOW'],
  ['USHER_RATE_LIMIT', 'USHER_RATE_LIMITS'],
  ['USHER_SOMETHING_ELSE_ALTOGETHER', 'USHER_'],
])('%s, which is not there, is an error that names the nearest one', (name, nearest) => {
  expect(problemsOf({ [name]: 'x' })).toEqual([expect.stringMatching(new RegExp(`^${name} is not a variable of Usher; the nearest is ${nearest}`))]);
});

test.each([
  ['USHER_PORT', '65536'],
  ['USHER_PORT', '-1'],
  ['USHER_PORT', '3000 '],
  ['USHER_PUBLIC_URL', 'usher.example.com'],
  ['USHER_PUBLIC_URL', 'https://usher.example.com/auth'],
  ['USHER_PUBLIC_URL', 'https://me@usher.example.com'],
  ['USHER_PUBLIC_URL', 'ftp://usher.example.com'],
  ['USHER_CLIENT_ID', 'a b'],
  ['USHER_MASTER_KEY', KEY.subarray(1).toString('base64')],
  ['USHER_MASTER_KEY', `${KEY.toString('base64')}!`],
  ['USHER_TRUST_PROXY', '10.0.0.1'],
  ['USHER_TRUST_PROXY', 'true'],
  ['USHER_JA4_HEADER', 'x ja4'],
  ['USHER_EGRESS_ALLOW', '10.0.0.0/8,'],
  ['USHER_RATE_LIMITS', 'false'],
  ['USHER_RATE_LIMITS', 'signUp=0'],
  ['USHER_RATE_LIMITS', 'login=5'],
  ['USHER_RETENTION_DAYS', '90'],
  ['USHER_RETENTION_DAYS', 'logs=0'],
  ['USHER_MASTER_KEY_PREVIOUS', KEY.subarray(1).toString('base64')],
  ['USHER_SMTP_URL', 'http://mail.example.com'],
  ['USHER_SMTP_URL', 'mail.example.com:25'],
  ['USHER_MAIL_FROM', 'nobody'],
  ['USHER_MAIL_FROM', 'a@example.com\r\nBcc: b@example.com'],
  ['USHER_SMS_URL', 'sms.example.com'],
  ['USHER_SMS_AUTHORIZATION', 'a\nb'],
  ['USHER_WORKER_SANDBOXES', '1'],
  ['USHER_WORKER_SANDBOXES', '8.5'],
  ['USHER_LOG_LEVEL', 'verbose'],
])('%s=%s is refused by name, with what it must be', (name, value) => {
  const problems = problemsOf({ USHER_TRUST_PROXY: '10.0.0.0/8', [name]: value });
  expect(problems).toEqual([expect.stringMatching(new RegExp(`^${name} must be `))]);
});

test('what only makes sense together is told', () => {
  expect(problemsOf({ USHER_CLIENT_SECRET: 's'.repeat(32) })).toEqual([expect.stringContaining('USHER_CLIENT_SECRET is set without USHER_CLIENT_ID')]);
  expect(problemsOf({ USHER_JA4_HEADER: 'x-ja4' })).toEqual([expect.stringContaining('set USHER_TRUST_PROXY')]);
  expect(problemsOf({ USHER_TLS_CERT: 'cert.pem' })).toEqual(['USHER_TLS_CERT is set without USHER_TLS_KEY: set both or neither']);
  expect(problemsOf({ USHER_TLS_KEY: 'key.pem' })).toEqual(['USHER_TLS_KEY is set without USHER_TLS_CERT: set both or neither']);
  expect(problemsOf({ USHER_SMTP_URL: 'smtp://mail.example.com' })).toEqual(['USHER_SMTP_URL is set without USHER_MAIL_FROM: set both or neither']);
  expect(problemsOf({ USHER_MAIL_FROM: 'a@example.com' })).toEqual(['USHER_MAIL_FROM is set without USHER_SMTP_URL: set both or neither']);
  expect(problemsOf({ USHER_SMS_AUTHORIZATION: 'Bearer x' })).toEqual(['USHER_SMS_AUTHORIZATION is set without USHER_SMS_URL: set both or neither']);
  expect(problemsOf({ TEMPORAL_PROFILE: 'mine' })).toEqual([expect.stringContaining('TEMPORAL_CONFIG_FILE')]);
});

test('all problems are told in one message, and no value that may be a secret', () => {
  const problems = problemsOf({ USHER_PORT: 'x', USHER_CLIENT_SECRET: 'canary', USHER_MASTER_KEY: 'canary', USHER_LOG_LEVEL: 'x', USHER_MASTERKEY: 'canary', TEMPORAL_PROFILE: 'x' });
  expect(problems).toHaveLength(6);
  expect(problems.join('\n')).not.toContain('canary');
});

test('the master key before is taken only beside another one', () => {
  const key = KEY.toString('base64');
  expect(problemsOf({ USHER_MASTER_KEY_PREVIOUS: key })).toEqual([expect.stringContaining('is set without USHER_MASTER_KEY')]);
  expect(problemsOf({ USHER_MASTER_KEY_PREVIOUS: key, USHER_MASTER_KEY: key })).toEqual([expect.stringContaining('is the same as USHER_MASTER_KEY')]);
});
