import { VERSION } from '../domain/version.ts';
import type { Readiness } from '../http/health-routes.ts';
import { watchBacklog } from '../observe/backlog-metrics.ts';
import { createMetrics, type Metrics } from '../observe/metrics.ts';
import { startTracing, type Tracing } from '../observe/tracing.ts';
import type { Role } from '../role-process.ts';
import type { Database } from '../store/database.ts';
import { startOpsServer } from './ops-server.ts';
import type { RoleOptions } from './role.ts';

/** What a role process counts and traces, and its own listener that shows it. */
export interface Observation {
  metrics: Metrics;
  tracing: Tracing;
  /**
   * Opens the listener and tells where.
   *
   * @param options.sandboxes how many sandbox processes live.
   * @param options.more further metrics in Prometheus's text format. @default none
   * @throws {StartError} when it cannot listen there.
   */
  serve(options: {
    readiness: () => Promise<Readiness>;
    sandboxes: () => number;
    isTemporalReachable: () => Promise<boolean>;
    more?: () => Promise<string>;
  }): Promise<void>;
  close(): Promise<void>;
}

export async function startObservation(role: Role, database: Database, { config, logger, onOpsListening }: Pick<RoleOptions, 'config' | 'logger' | 'onOpsListening'>): Promise<Observation> {
  const metrics = createMetrics({ role, version: VERSION });
  watchBacklog({ metrics, database, logger });
  metrics.gauge('usher_store_connections_in_use', 'Connections of this process to PostgreSQL at work; 0 on the embedded store.', () => database.connections()?.inUse ?? 0);
  metrics.gauge('usher_store_connections_idle', 'Connections of this process to PostgreSQL kept for the next query.', () => database.connections()?.idle ?? 0);
  metrics.gauge('usher_store_callers_waiting', 'Queries of this process that wait for a connection to PostgreSQL.', () => database.connections()?.waiting ?? 0);
  const tracing = await startTracing({ endpoint: config.otlpEndpoint, service: `usher-${role}`, version: VERSION, logger });
  let closeServer = (): Promise<void> => Promise.resolve();

  return {
    metrics,
    tracing,

    async serve({ readiness, sandboxes, isTemporalReachable, more = () => Promise.resolve('') }) {
      metrics.gauge('usher_sandbox_processes', 'Living sandbox processes.', sandboxes);
      metrics.gauge('usher_temporal_reachable', '1 while Temporal answers this process.', async () => ((await isTemporalReachable()) ? 1 : 0));
      metrics.gauge('usher_ready', '1 while /readyz answers 200.', async () => ((await readiness()).ready ? 1 : 0));
      const further = (): Promise<string> =>
        more().catch((error: unknown) => {
          logger.warn({ err: error }, 'further metrics could not be read');
          return '';
        });
      const server = await startOpsServer({
        port: config.opsPort,
        host: config.opsHost,
        readiness,
        metrics: async () => (await Promise.all([metrics.registry.metrics(), further()])).join('\n'),
        logger,
      });
      closeServer = server.close;
      onOpsListening(server.address);
    },

    async close() {
      await closeServer();
      await tracing.close();
    },
  };
}
