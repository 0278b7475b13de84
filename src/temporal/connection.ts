import {
  Client,
  Connection,
  type ConnectionOptions,
  isGrpcServiceError,
  NamespaceNotFoundError,
} from '@temporalio/client';
import { loadClientConnectConfig } from '@temporalio/envconfig';
import { dataConverter } from './data-converter.ts';
import type { PayloadKeys } from './payload-codec.ts';

/** How to reach a namespace of a Temporal server. */
export interface TemporalSettings {
  /** `host:port`; null: not told, so Usher runs a development server. */
  address: string | null;
  namespace: string;
  /** API key, TLS and gRPC metadata, for client and worker alike. */
  security: Pick<ConnectionOptions, 'tls' | 'metadata'> & { apiKey?: string };
}

/** Settings that name a server. */
export type TemporalEndpoint = TemporalSettings & { address: string };

/**
 * Reads Temporal's own environment variables (`TEMPORAL_ADDRESS`, `TEMPORAL_NAMESPACE`, `TEMPORAL_API_KEY`,
 * `TEMPORAL_TLS*`, `TEMPORAL_GRPC_META_*`, `TEMPORAL_CONFIG_FILE` with `TEMPORAL_PROFILE`); an empty one counts as not
 * set. A configuration file is read only when it is named: the one in the home directory may well point at somebody's
 * production.
 *
 * @param env only the variables that begin with `TEMPORAL_` are looked at.
 * @throws when a file that they name cannot be read, or a client certificate comes without its key.
 */
export function temporalSettings(env: NodeJS.ProcessEnv): TemporalSettings {
  const overrideEnvVars: Record<string, string> = {};
  for (const [name, value] of Object.entries(env)) {
    if (name.startsWith('TEMPORAL_') && value !== undefined && value !== '') overrideEnvVars[name] = value;
  }
  const disableFile = overrideEnvVars['TEMPORAL_CONFIG_FILE'] === undefined;
  if (disableFile && overrideEnvVars['TEMPORAL_PROFILE'] !== undefined) {
    throw new Error('TEMPORAL_PROFILE is set without TEMPORAL_CONFIG_FILE: set both or neither.');
  }
  // The library takes half a key pair for none, and the server would then refuse us without a reason.
  for (const kind of ['PATH', 'DATA']) {
    const [certificate, key] = [`TEMPORAL_TLS_CLIENT_CERT_${kind}`, `TEMPORAL_TLS_CLIENT_KEY_${kind}`] as const;
    if ((overrideEnvVars[certificate] === undefined) !== (overrideEnvVars[key] === undefined)) {
      throw new Error(`Of ${certificate} and ${key} only one is set: set both or neither.`);
    }
  }
  const { namespace, connectionOptions } = loadClientConnectConfig({ disableFile, overrideEnvVars });
  const { address, apiKey, tls, metadata } = connectionOptions;
  return {
    address: address ?? null,
    namespace: namespace ?? 'default',
    security: {
      ...(apiKey === undefined ? {} : { apiKey }),
      ...(tls === undefined || tls === null ? {} : { tls }),
      ...(metadata === undefined ? {} : { metadata }),
    },
  };
}

/**
 * A client that connects when it is first used, and again within 2 s when a lost server is back.
 *
 * A request is made once and fails fast while the server cannot be reached: the caller knows better when to try again.
 * The caller closes `client.connection`.
 *
 * @param keys of what it sends and reads; see `dataConverter`.
 */
export function createClient({ address, namespace, security }: TemporalEndpoint, keys: PayloadKeys | null = null): Client {
  const connection = Connection.lazy({
    address,
    ...security,
    // Without the library's own retries: one that is due after `close` throws where nobody can catch it.
    interceptors: [],
    // The library's own goes up to two minutes.
    channelArgs: { 'grpc.initial_reconnect_backoff_ms': 200, 'grpc.max_reconnect_backoff_ms': 2000 },
  });
  return new Client({ connection, namespace, dataConverter: dataConverter(keys) });
}

// Source: https://grpc.io/docs/guides/status-codes/
const CODES_OF_THE_SERVICE = new Set<number>([
  1, // CANCELLED: the connection was closed
  4, // DEADLINE_EXCEEDED
  7, // PERMISSION_DENIED: our credentials, so every request
  8, // RESOURCE_EXHAUSTED: it wants less of us
  12, // UNIMPLEMENTED: not a Temporal server
  14, // UNAVAILABLE
  16, // UNAUTHENTICATED
]);
const MAX_CAUSES = 8;

/**
 * True when a failed request says that Temporal as a whole cannot be used now (gone, overloaded, not letting us in, the
 * namespace missing), so that other requests would fail as well; false when it is about that one request.
 */
export function isTemporalUnreachable(error: unknown): boolean {
  let at = error;
  for (let depth = 0; at instanceof Error && depth < MAX_CAUSES; depth++) {
    if (at instanceof NamespaceNotFoundError) return true;
    if (isGrpcServiceError(at) && CODES_OF_THE_SERVICE.has(at.code)) return true;
    at = at.cause;
  }
  return false;
}
