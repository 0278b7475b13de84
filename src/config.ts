import { closest } from 'fastest-levenshtein';
import ipaddr from 'ipaddr.js';
import { resolve } from 'node:path';
import { DEFAULT_RETENTION, type Retention } from './domain/retention.ts';
import { DEFAULT_RATE_LIMITS, type RateLimits } from './domain/rate-limits.ts';
import { DEFAULT_WORKER_SANDBOXES } from './domain/worker-slots.ts';
import { temporalSettings, type TemporalSettings } from './temporal/connection.ts';

/** What Usher was told from outside, checked and complete. Functions receive single values of it, never the whole. */
export interface Config {
  /** Null: 3000, or the next free one. */
  port: number | null;
  host: string;
  /** Origin at which clients reach Usher, e.g. `https://usher.example.com`; null: where it listens. */
  publicUrl: string | null;
  dataDir: string;
  /** PostgreSQL; null: the embedded store in the data directory. */
  databaseUrl: string | null;
  clientId: string | null;
  clientSecret: string | null;
  /** 32 bytes; null: made on the first start and kept in the data directory. */
  masterKey: Buffer | null;
  /** The master key before, while the store is on its way from that one; null: it is not. */
  previousMasterKey: Buffer | null;
  trustedProxies: string[];
  ja3Header: string | null;
  ja4Header: string | null;
  egressAllow: string[];
  /** Paths of the API's own certificate and its key. */
  ownCertificate: { cert: string; key: string } | null;
  /** Path of a bundle of authorities to trust beside Node's own. */
  extraCaCerts: string | null;
  rateLimits: RateLimits;
  retention: Retention;
  /** Where mails go; null: they are kept and shown. */
  smtp: { url: string; from: string } | null;
  /** Where text messages go; null: they are kept and shown. */
  smsGateway: { url: string; authorization: string | null } | null;
  /** Attempts at once in one worker. */
  workerSandboxes: number;
  logLevel: string;
  /** Of the listener for health and metrics; null: 9464, or the next free one. */
  opsPort: number | null;
  opsHost: string;
  /** Base URL to which spans are sent by OTLP over HTTP; null: traces are off. */
  otlpEndpoint: string | null;
  /** Base URL of Temporal's Web UI, without a slash at its end; null: nobody said. */
  temporalUiUrl: string | null;
  /** Name of the worker deployment; null: workers are not versioned. */
  temporalDeployment: string | null;
  /** From Temporal's own variables. Without an address, Usher runs a development server. */
  temporal: TemporalSettings;
  /** Where things live that outlast a clone: the built Temporal CLI. */
  cacheDir: string;
}

/** One variable: its row in the README's table and how it is read. */
interface Variable<T> {
  default: string;
  about: string;
  /** @throws {Error} whose message ends the sentence "USHER_X …". */
  parse(text: string): T;
}

const text = (value: string): string => value;

/** The API's port when none is given and it is free. */
export const DEFAULT_PORT = 3000;

/** The port for health and metrics of a role when none is given and it is free. */
export const DEFAULT_OPS_PORT = 9464;

/** The variables of the table in the README; a test holds the two equal. */
export const VARIABLES = {
  USHER_PORT: { default: String(DEFAULT_PORT), about: 'Port of the API. When not set and taken, the next free one, and the start says so.', parse: port },
  USHER_HOST: { default: '127.0.0.1', about: 'Address that the API listens on.', parse: text },
  USHER_PUBLIC_URL: { default: 'none', about: 'Origin at which clients reach Usher, such as `https://usher.example.com`, where it is not the address that it listens on.', parse: origin },
  USHER_TLS_CERT: { default: 'none', about: 'Path of a certificate in PEM, with those between it and its authority: the API then speaks HTTPS. Read again when it changes.', parse: text },
  USHER_TLS_KEY: { default: 'none', about: "Path of the certificate's private key in PEM.", parse: text },
  USHER_EXTRA_CA_CERTS: { default: 'none', about: 'Path of certificate authorities in PEM that Usher, its Actions and their npm installs trust beside the usual ones.', parse: text },
  USHER_DATA_DIR: { default: '.usher', about: 'Folder of the store, the keys and the Temporal development server.', parse: text },
  DATABASE_URL: { default: 'none', about: 'PostgreSQL 15 or newer as the store, such as `postgres://usher:…@db.example.com/usher`. Without it, the store is a file in the data directory.', parse: url('postgres', 'postgresql') },
  USHER_CLIENT_ID: { default: 'made on the first start', about: 'Client id of the first client.', parse: pattern(/^[\w.-]{1,64}$/, '1 to 64 letters, digits, ".", "_" or "-"') },
  USHER_CLIENT_SECRET: { default: 'made on the first start', about: 'Secret of the first client, at least 32 characters.', parse: pattern(/^[\x21-\x7e]{32,512}$/, 'at least 32 printable characters without spaces, e.g. from `openssl rand -base64 48`') },
  USHER_MASTER_KEY: { default: 'made on the first start', about: 'Key under which secrets, events and logs are sealed: 32 bytes in base64.', parse: masterKey },
  USHER_MASTER_KEY_PREVIOUS: { default: 'none', about: 'The master key before, while it is [replaced](docs/data-protection.md#keys) by `USHER_MASTER_KEY`.', parse: masterKey },
  USHER_TRUST_PROXY: { default: 'none', about: 'CIDRs of proxies whose `X-Forwarded-*` and fingerprint headers are believed, separated by commas.', parse: cidrs },
  USHER_JA3_HEADER: { default: 'none', about: 'Header in which a trusted proxy puts the JA3 fingerprint.', parse: headerName },
  USHER_JA4_HEADER: { default: 'none', about: 'Header in which a trusted proxy puts the JA4 fingerprint.', parse: headerName },
  USHER_EGRESS_ALLOW: { default: 'none', about: 'CIDRs of private networks that Actions may connect to, separated by commas.', parse: cidrs },
  USHER_RATE_LIMITS: { default: 'signUp=60,token=120,passwordless=30,management=1200', about: 'Requests that one address may make in a minute, by kind; `off`, alone or for a kind, is no limit.', parse: rateLimits },
  USHER_RETENTION_DAYS: { default: 'registrations=90,logs=30', about: 'Days after which closed registrations and entries of the tenant log are deleted; `off`, alone or for a kind, keeps them.', parse: retention },
  USHER_SMTP_URL: { default: 'none', about: 'SMTP server for mails: `smtp://` or `smtps://`, with user and password where it wants them. Without it, mails are kept and shown on a page whose link the start prints.', parse: url('smtp', 'smtps') },
  USHER_MAIL_FROM: { default: 'none', about: 'Address that mails come from, such as `Example <no-reply@example.com>`.', parse: pattern(/^[^\r\n]*[^\s@<>]+@[\w.-]+>?$/, 'an address, e.g. Example <no-reply@example.com>') },
  USHER_SMS_URL: { default: 'none', about: 'HTTP gateway for text messages, which gets a `POST` of `{"to", "from"?, "text"}`. Without it, they are kept and shown on that page too.', parse: url('http', 'https') },
  USHER_SMS_AUTHORIZATION: { default: 'none', about: 'Value of the header `Authorization` for that gateway.', parse: pattern(/^[\x20-\x7e]+$/, 'the value of a header, e.g. Bearer …') },
  USHER_WORKER_SANDBOXES: { default: String(DEFAULT_WORKER_SANDBOXES), about: 'Actions that a worker runs at once; half of them at most are of one Action. Give the api the same number: it lets go what waits for its turn.', parse: workerSandboxes },
  USHER_OPS_PORT: { default: String(DEFAULT_OPS_PORT), about: 'Port of a role for `/healthz`, `/readyz` and `/metrics`. When not set and taken, the next free one; under `npm start`, the worker has the one after the API\'s.', parse: port },
  USHER_OPS_HOST: { default: '127.0.0.1', about: 'Address that this port is opened on. It has no authentication.', parse: text },
  USHER_TEMPORAL_UI_URL: { default: 'none', about: "Base URL of the Web UI of a Temporal server of your own, for the links to it in executions. The development server's is known.", parse: baseUrl },
  USHER_TEMPORAL_DEPLOYMENT: { default: 'none', about: 'Name of a Temporal worker deployment: its [current version](docs/production.md#worker-deployment-versioning) decides which workers run workflows.', parse: pattern(/^[\w-]{1,64}$/, '1 to 64 letters, digits, "_" or "-"') },
  OTEL_EXPORTER_OTLP_ENDPOINT: { default: 'none', about: 'Base URL of an OpenTelemetry collector, such as `http://127.0.0.1:4318`: switches [traces](docs/observability.md#traces) on. `OTEL_EXPORTER_OTLP_HEADERS` and `OTEL_RESOURCE_ATTRIBUTES` are read too.', parse: baseUrl },
  USHER_LOG_LEVEL: { default: 'info', about: '`trace`, `debug`, `info`, `warn`, `error` or `silent`.', parse: logLevel },
} satisfies Record<string, Variable<unknown>>;

/** Everything that is wrong with the environment, in one message. */
export class ConfigError extends Error {
  constructor(problems: string[]) {
    super(`Usher cannot start with this environment:\n${problems.map((problem) => `  - ${problem}`).join('\n')}`);
    this.name = 'ConfigError';
  }
}

/**
 * Reads the configuration from environment variables. An empty variable counts as not set.
 *
 * @throws {ConfigError} naming every problem at once: values that cannot be read, and unknown `USHER_*` names.
 */
export function loadConfig(env: NodeJS.ProcessEnv, workingDir: string): Config {
  const problems = unknownNames(env);

  function read<T>(name: keyof typeof VARIABLES, variable: Variable<T>): T | null {
    const value = env[name];
    if (value === undefined || value === '') return null;
    try {
      return variable.parse(value);
    } catch (error) {
      problems.push(`${name} ${error instanceof Error ? error.message : String(error)}`);
      return null;
    }
  }

  const path = (name: 'USHER_TLS_CERT' | 'USHER_TLS_KEY' | 'USHER_EXTRA_CA_CERTS'): string | null => {
    const value = read(name, VARIABLES[name]);
    return value === null ? null : resolve(workingDir, value);
  };
  const [cert, key] = [path('USHER_TLS_CERT'), path('USHER_TLS_KEY')];

  const [smtpUrl, mailFrom] = [read('USHER_SMTP_URL', VARIABLES.USHER_SMTP_URL), read('USHER_MAIL_FROM', VARIABLES.USHER_MAIL_FROM)];
  const [smsUrl, smsAuthorization] = [read('USHER_SMS_URL', VARIABLES.USHER_SMS_URL), read('USHER_SMS_AUTHORIZATION', VARIABLES.USHER_SMS_AUTHORIZATION)];

  const config: Config = {
    port: read('USHER_PORT', VARIABLES.USHER_PORT),
    host: read('USHER_HOST', VARIABLES.USHER_HOST) ?? VARIABLES.USHER_HOST.default,
    publicUrl: read('USHER_PUBLIC_URL', VARIABLES.USHER_PUBLIC_URL),
    dataDir: resolve(workingDir, read('USHER_DATA_DIR', VARIABLES.USHER_DATA_DIR) ?? VARIABLES.USHER_DATA_DIR.default),
    databaseUrl: read('DATABASE_URL', VARIABLES.DATABASE_URL),
    clientId: read('USHER_CLIENT_ID', VARIABLES.USHER_CLIENT_ID),
    clientSecret: read('USHER_CLIENT_SECRET', VARIABLES.USHER_CLIENT_SECRET),
    masterKey: read('USHER_MASTER_KEY', VARIABLES.USHER_MASTER_KEY),
    previousMasterKey: read('USHER_MASTER_KEY_PREVIOUS', VARIABLES.USHER_MASTER_KEY_PREVIOUS),
    trustedProxies: read('USHER_TRUST_PROXY', VARIABLES.USHER_TRUST_PROXY) ?? [],
    ja3Header: read('USHER_JA3_HEADER', VARIABLES.USHER_JA3_HEADER),
    ja4Header: read('USHER_JA4_HEADER', VARIABLES.USHER_JA4_HEADER),
    egressAllow: read('USHER_EGRESS_ALLOW', VARIABLES.USHER_EGRESS_ALLOW) ?? [],
    ownCertificate: cert === null || key === null ? null : { cert, key },
    extraCaCerts: path('USHER_EXTRA_CA_CERTS'),
    rateLimits: read('USHER_RATE_LIMITS', VARIABLES.USHER_RATE_LIMITS) ?? DEFAULT_RATE_LIMITS,
    retention: read('USHER_RETENTION_DAYS', VARIABLES.USHER_RETENTION_DAYS) ?? DEFAULT_RETENTION,
    smtp: smtpUrl === null || mailFrom === null ? null : { url: smtpUrl, from: mailFrom },
    smsGateway: smsUrl === null ? null : { url: smsUrl, authorization: smsAuthorization },
    workerSandboxes: read('USHER_WORKER_SANDBOXES', VARIABLES.USHER_WORKER_SANDBOXES) ?? DEFAULT_WORKER_SANDBOXES,
    logLevel: read('USHER_LOG_LEVEL', VARIABLES.USHER_LOG_LEVEL) ?? VARIABLES.USHER_LOG_LEVEL.default,
    opsPort: read('USHER_OPS_PORT', VARIABLES.USHER_OPS_PORT),
    opsHost: read('USHER_OPS_HOST', VARIABLES.USHER_OPS_HOST) ?? VARIABLES.USHER_OPS_HOST.default,
    otlpEndpoint: read('OTEL_EXPORTER_OTLP_ENDPOINT', VARIABLES.OTEL_EXPORTER_OTLP_ENDPOINT),
    temporalUiUrl: read('USHER_TEMPORAL_UI_URL', VARIABLES.USHER_TEMPORAL_UI_URL),
    temporalDeployment: read('USHER_TEMPORAL_DEPLOYMENT', VARIABLES.USHER_TEMPORAL_DEPLOYMENT),
    temporal: readTemporal(env, problems),
    cacheDir: resolve(env['XDG_CACHE_HOME'] || resolve(env['HOME'] || workingDir, '.cache'), 'usher'),
  };
  const { masterKey: current, previousMasterKey: previous } = config;
  if (previous !== null && (current === null || current.equals(previous)) && !problems.some((problem) => problem.startsWith('USHER_MASTER_KEY '))) {
    problems.push(`USHER_MASTER_KEY_PREVIOUS ${current === null ? 'is set without USHER_MASTER_KEY' : 'is the same as USHER_MASTER_KEY'}: set both, the new key and the one before, or only USHER_MASTER_KEY`);
  }
  if (config.clientSecret !== null && config.clientId === null) {
    problems.push('USHER_CLIENT_SECRET is set without USHER_CLIENT_ID: set both or neither');
  }
  if ((cert === null) !== (key === null)) {
    problems.push(`${cert === null ? 'USHER_TLS_KEY is set without USHER_TLS_CERT' : 'USHER_TLS_CERT is set without USHER_TLS_KEY'}: set both or neither`);
  }
  const isTold = (...names: string[]) => problems.some((problem) => names.some((name) => problem.startsWith(`${name} `)));
  if ((smtpUrl === null) !== (mailFrom === null) && !isTold('USHER_SMTP_URL', 'USHER_MAIL_FROM')) {
    problems.push(`${mailFrom === null ? 'USHER_SMTP_URL is set without USHER_MAIL_FROM' : 'USHER_MAIL_FROM is set without USHER_SMTP_URL'}: set both or neither`);
  }
  if (smsAuthorization !== null && smsUrl === null && !isTold('USHER_SMS_URL')) problems.push('USHER_SMS_AUTHORIZATION is set without USHER_SMS_URL: set both or neither');
  for (const name of ['USHER_JA3_HEADER', 'USHER_JA4_HEADER'] as const) {
    if (env[name] && config.trustedProxies.length === 0 && !problems.some((problem) => problem.startsWith('USHER_TRUST_PROXY'))) {
      problems.push(`${name} is set, but nobody would be believed: set USHER_TRUST_PROXY to the proxy's CIDR`);
    }
  }
  if (problems.length > 0) throw new ConfigError(problems);
  return Object.freeze(config);
}

function unknownNames(env: NodeJS.ProcessEnv): string[] {
  const known = Object.keys(VARIABLES);
  return Object.keys(env)
    .filter((name) => name.startsWith('USHER_') && !known.includes(name))
    .map((name) => {
      const nearest = known.find((each) => each.startsWith(name) || name.startsWith(each)) ?? closest(name, known);
      return `${name} is not a variable of Usher; the nearest is ${nearest}`;
    });
}

function readTemporal(env: NodeJS.ProcessEnv, problems: string[]): TemporalSettings {
  try {
    return temporalSettings(env);
  } catch (error) {
    problems.push(error instanceof Error ? error.message : String(error));
    return { address: null, namespace: 'default', security: {} };
  }
}

function port(value: string): number {
  const number = Number(value);
  if (!/^\d+$/.test(value) || number > 65_535) throw new Error(`must be a port from 0 to 65535, not "${value}"`);
  return number;
}

function workerSandboxes(value: string): number {
  if (!/^\d{1,3}$/.test(value) || Number(value) < 2) throw new Error(`must be a number from 2 to 999, not "${value}"`);
  return Number(value);
}

function origin(value: string): string {
  const url = URL.canParse(value) ? new URL(value) : null;
  const isOrigin = url !== null && /^https?:$/.test(url.protocol) && url.href === `${url.origin}/`;
  if (!isOrigin) throw new Error(`must be a scheme and a host, with a port if it needs one, e.g. https://usher.example.com, not "${value}"`);
  return url.origin;
}

/** The value may hold a password, so no error repeats it. */
function url(...schemes: string[]): (value: string) => string {
  return (value) => {
    const parsed = URL.canParse(value) ? new URL(value) : null;
    if (parsed === null || parsed.hostname === '' || !schemes.includes(parsed.protocol.slice(0, -1))) {
      throw new Error(`must be a URL that begins with ${schemes.map((scheme) => `${scheme}://`).join(' or ')}`);
    }
    return value;
  };
}

function baseUrl(value: string): string {
  return url('http', 'https')(value).replace(/\/+$/, '');
}

function pattern(form: RegExp, description: string): (value: string) => string {
  return (value) => {
    if (!form.test(value)) throw new Error(`must be ${description}`);
    return value;
  };
}

function masterKey(value: string): Buffer {
  const key = Buffer.from(value, 'base64');
  if (key.length !== 32 || !/^[A-Za-z0-9+/_-]{43}=?$/.test(value)) {
    throw new Error('must be 32 bytes in base64, e.g. from `openssl rand -base64 32`');
  }
  return key;
}

function cidrs(value: string): string[] {
  return value.split(',').map((part) => {
    const cidr = part.trim();
    try {
      ipaddr.parseCIDR(cidr);
    } catch {
      throw new Error(`must be CIDRs separated by commas, e.g. 10.0.0.0/8,::1/128; "${cidr}" is none`);
    }
    return cidr;
  });
}

function headerName(value: string): string {
  if (!/^[\w-]+$/.test(value)) throw new Error(`must be the name of a header, not "${value}"`);
  return value.toLowerCase();
}

/** `kind=number` for some kinds, or `off`, alone or for a kind; what is not named keeps its default. */
function numbersByKind<K extends string>(value: string, defaults: Record<K, number | null>, meaning: string): Record<K, number | null> {
  const kinds = Object.keys(defaults) as K[];
  if (value === 'off') return Object.fromEntries(kinds.map((kind) => [kind, null])) as Record<K, null>;
  const given = value.split(',').map((part) => {
    const [, kind, number] = /^\s*(\w+)\s*=\s*(off|[1-9]\d{0,6})\s*$/.exec(part) ?? [];
    if (kind === undefined || number === undefined || !kinds.includes(kind as K)) {
      throw new Error(`must be "off", or ${meaning} (kinds: ${kinds.join(', ')}); "${part}" is neither`);
    }
    return [kind, number === 'off' ? null : Number(number)];
  });
  return { ...defaults, ...(Object.fromEntries(given) as Partial<Record<K, number | null>>) };
}

function rateLimits(value: string): RateLimits {
  return numbersByKind(value, DEFAULT_RATE_LIMITS, 'requests in a minute by kind, e.g. signUp=60,token=120');
}

function retention(value: string): Retention {
  return numbersByKind<keyof Retention>(value, DEFAULT_RETENTION, 'days by kind, e.g. registrations=365,logs=30');
}

function logLevel(value: string): string {
  const levels = ['trace', 'debug', 'info', 'warn', 'error', 'silent'];
  if (!levels.includes(value)) throw new Error(`must be one of ${levels.join(', ')}, not "${value}"`);
  return value;
}
