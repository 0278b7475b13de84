import { type Logger, pino } from 'pino';

export type { Logger };

/** Fields that must never reach a log, wherever they stand in a logged object; `detail`: PostgreSQL repeats a row there. */
const REDACTED = ['detail', 'password', 'client_secret', 'clientSecret', 'secret', 'secrets', 'authorization', 'access_token', 'token'];

/** One JSON line per event on standard error; `role` tells the processes apart. */
export function createLogger(options: { level: string; role: string }): Logger {
  // Standard output is for people (the start's banner, the demo); logs go beside it.
  return pino({
    level: options.level,
    base: { role: options.role },
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label) => ({ level: label }) },
    redact: { paths: REDACTED.flatMap((name) => [name, `*.${name}`, `*.*.${name}`]), censor: '[redacted]' },
  }, pino.destination(2));
}
