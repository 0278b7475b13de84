import type { ActionError, ApiCommand, CacheChange, CacheSnapshot, LogLine, RequestNumbering, RunnableModule } from '../../domain/invocation.ts';
import type { TriggerId } from '../../domain/triggers.ts';

/**
 * What parent and sandbox process say to each other. Both sides come from one checkout, so the version only guards
 * against a mixed one. The parent believes nothing before `protocol.ts` has checked it.
 */
export const PROTOCOL_VERSION = 1;

/**
 * The process ends itself with this when an attempt has written far more than is kept. A message would not do: a loop
 * that writes without end never lets Node send it.
 */
export const FLOOD_EXIT_CODE = 87;

/** What a line of output counts beside its text, so that a million empty ones are not free. */
export const LINE_OVERHEAD_BYTES = 32;

/** Parent → process, once: the Action version that this process serves. */
export interface VersionMessage {
  type: 'version';
  actionName: string;
  triggerId: TriggerId;
  /** Name of the exported handler. */
  handler: string;
  code: string;
  dependenciesDir: string | null;
  modules: RunnableModule[];
  /** Authorities in PEM to trust beside Node's own: there are no files or variables to find them by. */
  trustedCertificates: string[];
  /** Console output kept of one attempt, bytes. */
  logBytes: number;
  /** An attempt that writes more than this has failed, bytes. */
  floodBytes: number;
}

/** Parent → process: one call of the handler. Every answer about it carries its token. */
export interface RunMessage {
  type: 'run';
  token: string;
  event: Record<string, unknown>;
  cache: CacheSnapshot;
  waitFor: 'work' | 'handler';
  idempotency?: RequestNumbering | undefined;
  traceParent?: string | null | undefined;
}

/** What is left of a connect or lookup error after the journey; rebuilt into an `Error` inside. */
export interface BrokerError {
  message: string;
  code: string;
  syscall?: string;
  hostname?: string;
  address?: string;
  port?: number;
}

export interface ResolvedAddress {
  address: string;
  family: 4 | 6;
}

/** Parent → process: the broker's answer; `connected` comes with the socket itself as a handle. */
export type BrokerReply =
  | { type: 'connected'; request: number; address: string; family: 4 | 6 }
  | { type: 'resolved'; request: number; addresses: ResolvedAddress[] }
  | { type: 'refused'; request: number; error: BrokerError };

export type ToSandbox = VersionMessage | RunMessage | BrokerReply;

/** Process → parent. */
export type FromSandbox =
  | { type: 'ready'; protocol: number }
  /** The call has reached the process: from here on what happens is the Action's own doing. */
  | { type: 'started'; token: string }
  | { type: 'log'; token: string; line: LogLine }
  | { type: 'truncated'; token: string }
  | { type: 'call'; token: string; call: number; method: string; host: string; startedAt: number }
  | {
      type: 'call-ended';
      token: string;
      call: number;
      status?: number;
      error?: string;
      durationMs: number;
      retryAfterMs?: number;
    }
  /** The handler has settled; the work that it began may still go on. */
  | { type: 'settled'; token: string }
  /** The attempt will fail with this, whatever else happens. */
  | { type: 'failing'; token: string; error: ActionError }
  /** `free`: the process can take its next call at once; else a `free` of its own follows. */
  | { type: 'verdict'; token: string; free: boolean; error?: ActionError; cacheChanges: CacheChange[]; commands: ApiCommand[] }
  | { type: 'free'; token: string }
  | { type: 'connect'; request: number; host: string; port: number; family: 0 | 4 | 6; addresses?: string[] }
  | { type: 'resolve'; request: number; host: string; family: 0 | 4 | 6 }
  /** The socket was destroyed before it was connected. */
  | { type: 'abandon'; request: number };
