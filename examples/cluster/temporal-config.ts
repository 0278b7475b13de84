/** The four services of a Temporal server. */
export const SERVICES = ['frontend', 'history', 'matching', 'worker'] as const;
export type Service = (typeof SERVICES)[number];

/** Ports on loopback: one for requests and one for finding each other, for each service. */
export type ServicePorts = Record<Service, { grpc: number; membership: number }>;

/** Its databases on the PostgreSQL server. */
export const DATABASES = { default: 'temporal', visibility: 'temporal_visibility' };

const USER = 'postgres';

/**
 * The server's configuration file; JSON is YAML.
 *
 * Source: https://docs.temporal.io/references/configuration
 */
export function serverConfig({ ports, postgresPort, dynamicConfig }: { ports: ServicePorts; postgresPort: number; dynamicConfig: string }): string {
  const frontend = `127.0.0.1:${ports.frontend.grpc}`;
  const dataStore = (databaseName: string) => ({
    sql: { pluginName: 'postgres12', databaseName, connectAddr: `127.0.0.1:${postgresPort}`, connectProtocol: 'tcp', user: USER, password: '', maxConns: 10, maxIdleConns: 10, maxConnLifetime: '1h' },
  });
  return JSON.stringify({
    log: { stdout: true, level: 'warn' },
    persistence: {
      defaultStore: 'default',
      visibilityStore: 'visibility',
      numHistoryShards: 4,
      datastores: { default: dataStore(DATABASES.default), visibility: dataStore(DATABASES.visibility) },
    },
    global: { membership: { maxJoinDuration: '30s', broadcastAddress: '127.0.0.1' } },
    services: Object.fromEntries(SERVICES.map((service) => [service, { rpc: { grpcPort: ports[service].grpc, membershipPort: ports[service].membership, bindOnLocalHost: true } }])),
    clusterMetadata: {
      enableGlobalNamespace: false,
      failoverVersionIncrement: 10,
      masterClusterName: 'active',
      currentClusterName: 'active',
      clusterInformation: { active: { enabled: true, initialFailoverVersion: 1, rpcName: 'frontend', rpcAddress: frontend } },
    },
    dcRedirectionPolicy: { policy: 'noop' },
    archival: { history: { state: 'disabled' }, visibility: { state: 'disabled' } },
    namespaceDefaults: { archival: { history: { state: 'disabled' }, visibility: { state: 'disabled' } } },
    publicClient: { hostPort: frontend },
    dynamicConfigClient: { filepath: dynamicConfig, pollInterval: '10s' },
  });
}

/** Connection options of the tool that makes the tables. */
export function sqlToolArguments(postgresPort: number, database: string): string[] {
  return ['--plugin', 'postgres12', '--endpoint', '127.0.0.1', '--port', String(postgresPort), '--user', USER, '--password', '', '--database', database];
}
