import { NativeConnection } from '@temporalio/worker';
import type { TemporalEndpoint } from './connection.ts';

/**
 * Connects a worker. Apart from `connection.ts`, because it loads the SDK's native core, which the api has no use for.
 * Once connected it outlives the server: polls go on when the server is back. The caller closes it.
 *
 * @throws {TransportError} when the server cannot be reached now; try again later.
 */
export async function connectWorker({ address, security }: TemporalEndpoint): Promise<NativeConnection> {
  return await NativeConnection.connect({ address, ...security });
}
