import type { TriggerId } from './triggers.ts';

/**
 * Why an attempt failed by the Action's own doing. The string is a contract: it stands in the ledger, in Temporal's
 * histories, in the API and in the README's table.
 *
 * `ACTION_INVALID` (does not load, no handler, wrong signature, a dependency missing) can be mended by no retry.
 * `HTTP_CALL_FAILED`: the Action itself ended well, and its binding says that such a call fails it.
 */
export type ActionErrorType =
  | 'ACTION_THREW'
  | 'ACTION_TIMED_OUT'
  | 'ACTION_UNSETTLED'
  | 'ACTION_CRASHED'
  | 'ACTION_OUT_OF_MEMORY'
  | 'ACTION_OUTPUT_LIMIT'
  | 'ACTION_INVALID'
  | 'HTTP_CALL_FAILED';

/** A failure of the Action itself, as kept in the ledger. Never holds a secret's value. */
export interface ActionError {
  type: ActionErrorType;
  /** The thrown error's own name, e.g. `TypeError`. */
  name: string;
  /** The thrown error's whole message. May hold personal data: sealed where it is kept. */
  message: string;
  /** Frames of the Action's own code and dependencies only. Sealed where it is kept. */
  stack?: string;
  /** False when no retry can mend it: `ACTION_INVALID`, or the Action threw an error with `retryable === false`. */
  retryable: boolean;
  /** The Action threw an error with `retryAfter`: seconds, or a date. */
  retryAfterMs?: number;
}

/** One outgoing HTTP request of an attempt. No path, query, headers or body: a path can be a secret (Slack webhooks). */
export interface OutgoingCall {
  method: string;
  host: string;
  /** Absent when no answer came. */
  status?: number;
  /** Error code or message when no answer came, e.g. `ECONNREFUSED`. */
  error?: string;
  startedAt: number;
  durationMs: number;
  /** From the answer's `Retry-After` header (seconds or date), not capped. */
  retryAfterMs?: number;
}

/** True when the receiver refused the request, or never answered it. */
export function isFailedCall(call: OutgoingCall): boolean {
  return callFails(call, '4xx+5xx');
}

/** True for a call that was answered with one of these status codes, or never. */
export function callFails({ status = 0, error }: OutgoingCall, codes: '5xx' | '4xx+5xx'): boolean {
  return error !== undefined || status >= (codes === '5xx' ? 500 : 400);
}

export type LogLevel = 'log' | 'info' | 'warn' | 'error' | 'debug' | 'trace';

export interface LogLine {
  at: number;
  level: LogLevel;
  text: string;
}

/** One value of `api.cache`, as Auth0 returns it: `expires_at` in milliseconds since the epoch. */
export interface CacheRecord {
  value: string;
  expires_at: number;
}

export type CacheSnapshot = Record<string, CacheRecord>;

export type CacheChange =
  | { kind: 'set'; key: string; record: CacheRecord }
  | { kind: 'delete'; key: string };

/** What a pre-user-registration Action asked for through `api`, in the order of its calls. */
export type ApiCommand =
  | { kind: 'access.deny'; reason: string; userMessage: string }
  | { kind: 'validation.error'; errorCode: string; errorMessage: string }
  | { kind: 'user.setUserMetadata'; key: string; value: unknown }
  | { kind: 'user.setAppMetadata'; key: string; value: unknown };

/** Code that can be run: an immutable version of an Action with its unpacked dependencies. */
export interface RunnableVersion {
  /** Id of the Action version; processes are kept warm by it. */
  id: string;
  actionName: string;
  triggerId: TriggerId;
  code: string;
  /** Folder that holds `node_modules`, or null when the version has no dependencies. */
  dependenciesDir: string | null;
  /** What it may require as `actions:<name>`. @default none */
  modules?: RunnableModule[];
}

/** Code that Actions share, of the version that is pinned. */
export interface RunnableModule {
  name: string;
  code: string;
  /** Opened; seen by the module alone. */
  secrets: Record<string, string>;
}

/** One call of an Action's handler. */
export interface Invocation {
  version: RunnableVersion;
  /** Names the invocation in logs and late output: the attempt's id, or the execution's for pre-user-registration. */
  id: string;
  /** The whole event, secrets included. */
  event: Record<string, unknown>;
  cache: CacheSnapshot;
  timeoutMs: number;
  /** `work`: wait for all the work that the handler began. `handler`: answer as soon as the handler settles. */
  waitFor: 'work' | 'handler';
  /** Adds `<header>: <key>-<n>` to the n-th outgoing request. @default none */
  idempotency?: RequestNumbering | undefined;
  /** W3C `traceparent` of its span: its requests then go out with one of their own below it. @default none */
  traceParent?: string | null;
}

/** How the outgoing requests of one attempt are numbered for those that receive them. */
export interface RequestNumbering {
  header: string;
  /** The step's idempotency key, the same for all its attempts. */
  key: string;
}

/** Everything that one invocation left behind. */
export interface InvocationReport {
  startedAt: number;
  durationMs: number;
  logs: LogLine[];
  /** True when output was cut at the limit. */
  logsTruncated: boolean;
  calls: OutgoingCall[];
  cacheChanges: CacheChange[];
  commands: ApiCommand[];
}

/**
 * How an invocation ended. `succeeded` and `failed` are the Action's own doing and count; `not-run` is ours (no free
 * slot, spawn failed, shutting down) and never counts.
 */
export type InvocationResult =
  | ({ outcome: 'succeeded' } & InvocationReport)
  | ({ outcome: 'failed'; error: ActionError } & InvocationReport)
  | { outcome: 'not-run'; reason: string; delayMs: number }
  | { outcome: 'cancelled' };
