import { type Config, DEFAULT_PORT } from '../config.ts';
import { dataPaths } from '../data-dir.ts';
import type { Logger } from '../logger.ts';
import type { OwnAddress } from '../sandbox/egress-policy.ts';
import { createSandboxPool, type SandboxPool, type SandboxWatch } from '../sandbox/pool.ts';
import { StartError } from '../start-error.ts';
import type { TemporalEndpoint } from '../temporal/connection.ts';
import type { Tls } from '../tls/tls.ts';

/** What a role is given by the command line. */
export interface RoleOptions {
  config: Config;
  logger: Logger;
  tls: Tls;
  /** Actions may connect to services of this machine. */
  loopbackOpen: boolean;
  /** Called once `/healthz`, `/readyz` and `/metrics` are served at this origin, which may be long before it works. */
  onOpsListening(address: string): void;
  /** Called once it works; `facts` are what its supervisor tells people. */
  onReady(facts: Record<string, string>): void;
  /** Called when it has failed after its start, for good: to be stopped and started anew. */
  onFailed(error: unknown): void;
}

export interface RunningRole {
  /** A message of the supervisor. */
  onMessage(message: unknown): void;
  /** No new work; resolves when what was under way has ended or been cut short. */
  stop(): Promise<void>;
}

/** The Temporal server that a role speaks with; where nobody named one, the usual address of a local one. */
export function temporalEndpoint(config: Config): TemporalEndpoint {
  return { ...config.temporal, address: config.temporal.address ?? '127.0.0.1:7233' };
}

/**
 * Where Actions always reach Usher: at the address that the API listens on, and at the one that clients are told.
 *
 * @param port that the API listens on.
 */
export function ownAddresses({ host, publicUrl }: { host: string; publicUrl: string | null }, port: number): OwnAddress[] {
  const own = [{ host, port }];
  if (publicUrl === null) return own;
  const { hostname, port: publicPort, protocol } = new URL(publicUrl);
  return [...own, { host: hostname.replace(/^\[|\]$/g, ''), port: Number(publicPort) || (protocol === 'https:' ? 443 : 80) }];
}

/**
 * Starts the pool of a role. The port of the API is taken for the one of the configuration until somebody says otherwise.
 *
 * @throws {StartError} when this machine lets no sandbox run.
 */
export async function startSandboxes(pool: { slots: number; givesWay: boolean; maxUses?: number; maxWaitMs?: number; watch: SandboxWatch }, { config, logger, loopbackOpen, tls }: RoleOptions): Promise<SandboxPool> {
  try {
    return await createSandboxPool({
      ...pool,
      egress: { allow: config.egressAllow, loopbackOpen },
      ownAddresses: ownAddresses(config, config.port ?? DEFAULT_PORT),
      trustedCertificates: tls.trusted,
      dependenciesRoot: dataPaths(config.dataDir).cache,
      logger,
    });
  } catch (error) {
    throw new StartError(
      `The sandboxes for Actions cannot be started (${(error as Error).message}): see that the system's temporary folder has space, and that this user may write to it and start programs.`,
      { cause: error },
    );
  }
}
