import { type Logger, pino } from 'pino';

export type { Logger };

/** Fields that must never reach a log, wherever they stand in a logged object. */
const REDACTED = ['password', 'client_secret', 'clientSecret', 'secret', 'secrets', 'authorization', 'access_token', 'token'];

/** One JSON line per event on standard output; `role` tells the processes apart. */
export function createLogger(options: { level: string; role: string }): Logger {
  return pino({
    level: options.level,
    base: { role: options.role },
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label) => ({ level: label }) },
    redact: { paths: REDACTED.flatMap((name) => [name, `*.${name}`, `*.*.${name}`]), censor: '[redacted]' },
  });
}
