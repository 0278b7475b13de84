import { DefaultLogger, Runtime } from '@temporalio/worker';
import type { Logger } from '../logger.ts';
import { anyFreePort } from './free-port.ts';

/** A port that was free a moment ago can be somebody else's by now. */
const PORT_TRIES = 5;
const SCRAPE_TIMEOUT_MS = 3_000;

/** The SDK's core of this process. */
export interface Telemetry {
  /** Its metrics in Prometheus's text format, `temporal_…`. @throws when it does not answer. */
  metrics(): Promise<string>;
}

/**
 * Sets up the SDK's core for this process, once, before the first worker or native connection: its log lines go to our
 * log, and it leaves the signals to `main.ts`, which stops everything in order.
 *
 * The core shows its metrics on a port of its own and no other way that keeps their histograms; it is bound to loopback,
 * where `metrics` fetches them, so that there is one address to scrape.
 *
 * @throws when the core is already in use.
 */
export async function installTelemetry(logger: Logger): Promise<Telemetry> {
  for (let tries = 1; ; tries++) {
    const bindAddress = `127.0.0.1:${await anyFreePort()}`;
    try {
      install(logger, bindAddress);
    } catch (error) {
      if (tries < PORT_TRIES && /address.*in use/i.test(String(error))) continue;
      throw error;
    }
    return {
      async metrics() {
        const response = await fetch(`http://${bindAddress}/metrics`, { signal: AbortSignal.timeout(SCRAPE_TIMEOUT_MS) });
        if (!response.ok) throw new Error(`The SDK's metrics answered ${response.status}.`);
        return await response.text();
      },
    };
  }
}

function install(logger: Logger, bindAddress: string): void {
  // Its informational lines tell of pollers and states, at each start and stop: for debugging.
  const levels = { TRACE: 'trace', DEBUG: 'debug', INFO: 'debug', WARN: 'warn', ERROR: 'error' } as const;
  Runtime.install({
    shutdownSignals: [],
    logger: new DefaultLogger('INFO', ({ level, message, meta }) => {
      // A worker that only runs activities is what we want.
      const said = message.startsWith('No workflows registered') ? 'debug' : levels[level];
      logger[said]({ temporal: meta ?? {} }, message);
    }),
    telemetryOptions: {
      logging: { filter: { core: 'WARN', other: 'ERROR' }, forward: {} },
      metrics: { prometheus: { bindAddress, countersTotalSuffix: true, unitSuffix: true, useSecondsForDurations: true }, attachServiceName: false },
    },
  });
}
