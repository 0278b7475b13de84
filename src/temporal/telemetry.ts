import { DefaultLogger, Runtime } from '@temporalio/worker';
import type { Logger } from '../logger.ts';

/**
 * Sets up the SDK's core for this process, once, before the first worker or native connection: its log lines go to our
 * log, and it leaves the signals to `main.ts`, which stops everything in order.
 *
 * @throws when the core is already in use.
 */
export function installTelemetry(logger: Logger): Runtime {
  // Its informational lines tell of pollers and states, at each start and stop: for debugging.
  const levels = { TRACE: 'trace', DEBUG: 'debug', INFO: 'debug', WARN: 'warn', ERROR: 'error' } as const;
  return Runtime.install({
    shutdownSignals: [],
    logger: new DefaultLogger('INFO', ({ level, message, meta }) => {
      // A worker that only runs activities is what we want.
      const said = message.startsWith('No workflows registered') ? 'debug' : levels[level];
      logger[said]({ temporal: meta ?? {} }, message);
    }),
    telemetryOptions: { logging: { filter: { core: 'WARN', other: 'ERROR' }, forward: {} } },
  });
}
