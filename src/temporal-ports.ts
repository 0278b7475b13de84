import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Logger } from './logger.ts';
import { asStartError, StartError } from './start-error.ts';
import { acquireLock, type Lock, LockedError } from './store/lock.ts';
import { type DevServerPorts, prepareDevServer } from './temporal/dev-server.ts';

/** Ports of a development server that no other Usher of this user takes until they are released. */
export interface ClaimedPorts extends DevServerPorts {
  release(): void;
}

/**
 * Prepares the folder of the development server and claims its ports. A port that is free is not enough: before its
 * server listens, or while it is started again, another Usher would take it, and the two would hand their registrations
 * to one server.
 *
 * @throws {StartError} when another Usher's server is in the folder, no port is free, or a claim cannot be written.
 */
export async function claimTemporalPorts(options: { folder: string; logger: Logger }): Promise<ClaimedPorts> {
  try {
    for (let preferred: DevServerPorts | undefined; ; ) {
      const ports = await prepareDevServer({ ...options, ...(preferred === undefined ? {} : { preferred }) });
      const grpc = claim(ports.grpc);
      const ui = claim(ports.ui);
      if (grpc !== null && ui !== null) return { ...ports, release: () => [grpc, ui].forEach((lock) => lock.release()) };
      grpc?.release();
      ui?.release();
      preferred = { grpc: ports.grpc + (grpc === null ? 1 : 0), ui: ports.ui + (ui === null ? 1 : 0) };
    }
  } catch (error) {
    const said = asStartError(error, `The folder ${options.folder}`);
    throw said instanceof StartError ? said : new StartError((error as Error).message, { cause: error });
  }
}

function claim(port: number): Lock | null {
  const path = join(tmpdir(), `usher-port-${port}-${process.getuid?.() ?? 0}.lock`);
  try {
    return acquireLock(path);
  } catch (error) {
    if (error instanceof LockedError) return null;
    throw asStartError(error, `The lock file ${path}`);
  }
}
