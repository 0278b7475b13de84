import { newId } from '../domain/ids.ts';
import type { ActionError, InvocationReport, OutgoingCall, RunnableVersion } from '../domain/invocation.ts';
import type { SandboxPool } from './pool.ts';

/** One try of an Action outside any registration. */
export interface TestRun {
  version: RunnableVersion;
  /** What the handler gets, whole or in part as the caller likes; `secrets` and `usher` are put into it. */
  event: Record<string, unknown>;
  secrets: Record<string, string>;
  timeoutMs: number;
}

/**
 * Durations in Auth0's words (contract §4.3), in whole milliseconds. `network_duration_ms` is left out: there is no
 * network between Usher and its sandbox.
 */
export interface TestStats {
  /** From the call to its answer. */
  total_request_duration_ms: number;
  /** `boot` and `action` together. */
  total_runtime_execution_duration_ms: number;
  /** Waiting for a free sandbox and starting its process. */
  boot_duration_ms: number;
  /** The Action's code is loaded, its handler runs, and the work that it began is awaited. */
  action_duration_ms: number;
  /** Of that, the time in which at least one outgoing call was under way. */
  runtime_external_call_duration_ms: number;
  /** Of that, the rest. */
  runtime_processing_duration_ms: number;
}

/** What a test shows. */
export interface TestReport extends Pick<InvocationReport, 'logs' | 'logsTruncated' | 'calls' | 'commands' | 'cacheChanges'> {
  /** Null when the Action did its work. */
  error: ActionError | null;
  stats: TestStats;
}

/** The test could not be made, for a reason of ours: it says nothing about the Action. */
export class TestNotRunError extends Error {
  constructor(reason: string) {
    super(`The Action was not run: ${reason} Try again.`);
    this.name = 'TestNotRunError';
  }
}

/**
 * Runs an Action once, with an empty `api.cache`; what it asks for through `api` is told, and nothing of it is done.
 * What it sends to others is sent. Of post-user-registration the work that the handler began is awaited too.
 *
 * @throws {TestNotRunError} when no sandbox could be had.
 * @throws the reason of `signal` when that is aborted; the Action's process is dead by then.
 */
export async function testRun(pool: Pick<SandboxPool, 'run'>, run: TestRun, { signal }: { signal?: AbortSignal } = {}): Promise<TestReport> {
  const id = newId();
  const calledAt = Date.now();
  const start = performance.now();
  const result = await pool.run(
    {
      version: run.version,
      id,
      event: { ...run.event, secrets: run.secrets, usher: { execution_id: id, attempt: 1, idempotency_key: `${id}.test` } },
      cache: {},
      timeoutMs: run.timeoutMs,
      waitFor: run.version.triggerId === 'post-user-registration' ? 'work' : 'handler',
    },
    signal === undefined ? {} : { signal },
  );
  const totalMs = Math.round(performance.now() - start);
  signal?.throwIfAborted();
  if (result.outcome === 'cancelled') throw new TestNotRunError('it was cancelled.');
  if (result.outcome === 'not-run') throw new TestNotRunError(result.reason);
  const { logs, logsTruncated, calls, commands, cacheChanges } = result;
  return {
    error: result.outcome === 'failed' ? result.error : null,
    logs,
    logsTruncated,
    calls,
    commands,
    cacheChanges,
    stats: statsOf(result, calledAt, totalMs),
  };
}

function statsOf({ startedAt, durationMs, calls }: InvocationReport, calledAt: number, totalMs: number): TestStats {
  const bootMs = Math.max(0, startedAt - calledAt);
  const externalMs = Math.min(durationMs, coveredMs(calls));
  return {
    // Each part is rounded by itself.
    total_request_duration_ms: Math.max(totalMs, bootMs + durationMs),
    total_runtime_execution_duration_ms: bootMs + durationMs,
    boot_duration_ms: bootMs,
    action_duration_ms: durationMs,
    runtime_external_call_duration_ms: externalMs,
    runtime_processing_duration_ms: durationMs - externalMs,
  };
}

/** The time that at least one call covers: calls at the same time count once. */
function coveredMs(calls: OutgoingCall[]): number {
  let covered = 0;
  let until = 0;
  for (const { startedAt, durationMs } of calls.toSorted((a, b) => a.startedAt - b.startedAt)) {
    const end = startedAt + durationMs;
    covered += Math.max(0, end - Math.max(startedAt, until));
    until = Math.max(until, end);
  }
  return covered;
}
