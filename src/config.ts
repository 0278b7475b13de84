import { closest } from 'fastest-levenshtein';
import ipaddr from 'ipaddr.js';
import { resolve } from 'node:path';
import { temporalSettings, type TemporalSettings } from './temporal/connection.ts';

/** What Usher was told from outside, checked and complete. Functions receive single values of it, never the whole. */
export interface Config {
  /** Null: 3000, or the next free one. */
  port: number | null;
  host: string;
  dataDir: string;
  clientId: string | null;
  clientSecret: string | null;
  /** 32 bytes; null: made on the first start and kept in the data directory. */
  masterKey: Buffer | null;
  trustedProxies: string[];
  ja3Header: string | null;
  ja4Header: string | null;
  egressAllow: string[];
  rateLimits: boolean;
  logLevel: string;
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

/** The variables of the table in the README; a test holds the two equal. */
export const VARIABLES = {
  USHER_PORT: { default: String(DEFAULT_PORT), about: 'Port of the API. When not set and taken, the next free one, and the start says so.', parse: port },
  USHER_HOST: { default: '127.0.0.1', about: 'Address that the API listens on.', parse: text },
  USHER_DATA_DIR: { default: '.usher', about: 'Folder of the store, the keys and the Temporal development server.', parse: text },
  USHER_CLIENT_ID: { default: 'made on the first start', about: 'Client id of the first client.', parse: pattern(/^[\w.-]{1,64}$/, '1 to 64 letters, digits, ".", "_" or "-"') },
  USHER_CLIENT_SECRET: { default: 'made on the first start', about: 'Secret of the first client, at least 32 characters.', parse: pattern(/^[\x21-\x7e]{32,512}$/, 'at least 32 printable characters without spaces, e.g. from `openssl rand -base64 48`') },
  USHER_MASTER_KEY: { default: 'made on the first start', about: 'Key under which secrets, events and logs are sealed: 32 bytes in base64.', parse: masterKey },
  USHER_TRUST_PROXY: { default: 'none', about: 'CIDRs of proxies whose `X-Forwarded-*` and fingerprint headers are believed, separated by commas.', parse: cidrs },
  USHER_JA3_HEADER: { default: 'none', about: 'Header in which a trusted proxy puts the JA3 fingerprint.', parse: headerName },
  USHER_JA4_HEADER: { default: 'none', about: 'Header in which a trusted proxy puts the JA4 fingerprint.', parse: headerName },
  USHER_EGRESS_ALLOW: { default: 'none', about: 'CIDRs of private networks that Actions may connect to, separated by commas.', parse: cidrs },
  USHER_RATE_LIMITS: { default: 'on', about: '`off` turns the rate limits off.', parse: onOff },
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

  const config: Config = {
    port: read('USHER_PORT', VARIABLES.USHER_PORT),
    host: read('USHER_HOST', VARIABLES.USHER_HOST) ?? VARIABLES.USHER_HOST.default,
    dataDir: resolve(workingDir, read('USHER_DATA_DIR', VARIABLES.USHER_DATA_DIR) ?? VARIABLES.USHER_DATA_DIR.default),
    clientId: read('USHER_CLIENT_ID', VARIABLES.USHER_CLIENT_ID),
    clientSecret: read('USHER_CLIENT_SECRET', VARIABLES.USHER_CLIENT_SECRET),
    masterKey: read('USHER_MASTER_KEY', VARIABLES.USHER_MASTER_KEY),
    trustedProxies: read('USHER_TRUST_PROXY', VARIABLES.USHER_TRUST_PROXY) ?? [],
    ja3Header: read('USHER_JA3_HEADER', VARIABLES.USHER_JA3_HEADER),
    ja4Header: read('USHER_JA4_HEADER', VARIABLES.USHER_JA4_HEADER),
    egressAllow: read('USHER_EGRESS_ALLOW', VARIABLES.USHER_EGRESS_ALLOW) ?? [],
    rateLimits: read('USHER_RATE_LIMITS', VARIABLES.USHER_RATE_LIMITS) ?? true,
    logLevel: read('USHER_LOG_LEVEL', VARIABLES.USHER_LOG_LEVEL) ?? VARIABLES.USHER_LOG_LEVEL.default,
    temporal: readTemporal(env, problems),
    cacheDir: resolve(env['XDG_CACHE_HOME'] || resolve(env['HOME'] || workingDir, '.cache'), 'usher'),
  };
  if (config.clientSecret !== null && config.clientId === null) {
    problems.push('USHER_CLIENT_SECRET is set without USHER_CLIENT_ID: set both or neither');
  }
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

function onOff(value: string): boolean {
  if (value !== 'on' && value !== 'off') throw new Error(`must be "on" or "off", not "${value}"`);
  return value === 'on';
}

function logLevel(value: string): string {
  const levels = ['trace', 'debug', 'info', 'warn', 'error', 'silent'];
  if (!levels.includes(value)) throw new Error(`must be one of ${levels.join(', ')}, not "${value}"`);
  return value;
}
