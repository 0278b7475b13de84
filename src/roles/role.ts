import type { Config } from '../config.ts';
import type { Logger } from '../logger.ts';
import type { TemporalEndpoint } from '../temporal/connection.ts';

/** What a role is given by the command line. */
export interface RoleOptions {
  config: Config;
  logger: Logger;
  /** Actions may connect to services of this machine. */
  loopbackOpen: boolean;
  /** Called once it works; `facts` are what its supervisor tells people. */
  onReady(facts: Record<string, string>): void;
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
