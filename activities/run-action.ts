import { setTimeout as sleep } from 'node:timers/promises';
import { Context } from '@temporalio/activity';
import { CancelledFailure } from '@temporalio/common';
import { type InvocationResult, isFailedCall, type OutgoingCall } from '../src/domain/invocation.ts';
import type { Logger } from '../src/logger.ts';
import { withInvocation } from '../src/registration/event.ts';
import type { WatchAttempt, WatchedAttempt, WatchLost } from '../src/observe/attempts.ts';
import type { SandboxPool } from '../src/sandbox/pool.ts';
import type { VersionCache } from '../src/builds/version-cache.ts';
import { type AttemptEnd, type ClaimedStep, type Ledger, UnknownIdError } from '../src/store/ledger.ts';
import type { ActionActivities, RunActionInput, RunActionResult, SettledState } from '../workflows/messages.ts';
import { actionFailed, describeFailure, endIfUnknown } from './failures.ts';
import { judgeCalls, type Ran } from './judge-calls.ts';
import { createLateOutput } from './late-output.ts';
import { LEASE_MS, type LeaseKeeper } from './lease-keeper.ts';
import type { SandboxShares, Share } from './sandbox-shares.ts';

/** A worker that is gone is noticed after the heartbeat timeout of `activity-options.ts`; this lies well below it. */
const HEARTBEAT_MS = 2_000;
/** Of an attempt that Temporal has cancelled. */
const ASK_WANTED_EVERY_MS = 2_000;
/** When something of ours failed that has no delay of its own. */
const HOLD_MS = 5_000;

export interface RunActionDeps {
  ledger: Pick<Ledger, 'claimStep' | 'isStepOpen' | 'settleAttempt' | 'appendLateOutput' | 'readCache'>;
  versions: Pick<VersionCache, 'load'>;
  sandbox: Pick<SandboxPool, 'run'>;
  leases: LeaseKeeper;
  shares: SandboxShares;
  /** Told of each attempt: it counts them, and writes their lines of the log. */
  watchAttempt: WatchAttempt;
  watchLost: WatchLost;
  workerId: string;
  logger: Logger;
}

/** One attempt at a step: claim, run, settle. See `ActionActivities.runAction` for what it answers. */
export function createRunAction(deps: RunActionDeps): ActionActivities['runAction'] {
  return async (input) => {
    const context = Context.current();
    const logger = deps.logger.child({ registration_id: input.registrationId, step_id: input.stepId });
    const over = new AbortController();
    const beat = setInterval(() => context.heartbeat(), HEARTBEAT_MS);
    const share = deps.shares.open();
    try {
      return await attempt(deps, input, share, stopOf(context.cancellationSignal, { isWanted: () => deps.ledger.isStepOpen(input.stepId), over: over.signal, logger }), logger);
    } finally {
      share.give();
      clearInterval(beat);
      over.abort();
    }
  };
}

/**
 * Fires when the attempt is to end: its step is not wanted any more, or the worker stops. A workflow cancels an attempt
 * also when it only wants to look at the step anew, so the ledger is asked, and asked again as long as the attempt runs.
 *
 * Does not fire when Temporal does not know the attempt any more (timed out during a silence, or lost with Temporal's
 * data): its lease keeps every other attempt away, so it goes on, and its end is recorded.
 */
function stopOf(cancellation: AbortSignal, { isWanted, over, logger }: { isWanted: () => Promise<boolean>; over: AbortSignal; logger: Logger }): AbortSignal {
  const stop = new AbortController();
  const ask = async (): Promise<void> => {
    while (!over.aborted) {
      const wanted = await isWanted().catch((error: unknown) => {
        logger.warn({ err: error }, 'the store did not say whether an attempt is still wanted; asking again');
        return true;
      });
      if (!wanted) return stop.abort(cancellation.reason);
      await sleep(ASK_WANTED_EVERY_MS, undefined, { signal: over }).catch(() => undefined);
    }
  };
  const take = (): void => {
    if (isReason(cancellation, 'WORKER_SHUTDOWN')) stop.abort(cancellation.reason);
    else if (isReason(cancellation, 'CANCELLED')) void ask();
  };
  if (cancellation.aborted) take();
  else cancellation.addEventListener('abort', take, { once: true });
  return stop.signal;
}

/** Reasons: `ActivityCancelReason` of Temporal's core, and `WORKER_SHUTDOWN`. */
function isReason({ reason }: AbortSignal, name: 'CANCELLED' | 'WORKER_SHUTDOWN'): boolean {
  return reason instanceof CancelledFailure && reason.message === name;
}

async function attempt(deps: RunActionDeps, input: RunActionInput, share: Share, stop: AbortSignal, logger: Logger): Promise<RunActionResult> {
  const claimedAt = deps.leases.beforeClaim();
  let step: ClaimedStep;
  try {
    const claim = await deps.ledger.claimStep({ ...input, workerId: deps.workerId, leaseMs: LEASE_MS, takeShare: share.take });
    deps.watchLost(claim.lost ?? []);
    if (claim.claim === 'recorded') return claim.state;
    if (claim.claim === 'held') {
      const { claim: state, lost: _lost, ...hold } = claim;
      return { state, ...hold };
    }
    step = claim.step;
  } catch (error) {
    if (error instanceof UnknownIdError) throw endIfUnknown(error);
    return held(logger, error, 'the step could not be claimed');
  }

  const lease = deps.leases.keep(step.attempt.id, claimedAt);
  try {
    return await runClaimed(deps, step, input.phase, { share, stop, lost: lease.signal, logger });
  } finally {
    lease.release();
  }
}

interface Circumstances {
  share: Share;
  /** Its step is not wanted any more, or the worker stops. */
  stop: AbortSignal;
  /** Its lease could not be kept. */
  lost: AbortSignal;
  logger: Logger;
}

/** Runs a claimed step, and records how that ended. */
async function runClaimed(deps: RunActionDeps, step: ClaimedStep, phase: RunActionInput['phase'], { share, stop, lost, logger }: Circumstances): Promise<RunActionResult> {
  const watched = deps.watchAttempt(step, phase);
  let result: InvocationResult;
  try {
    result = await invoke(deps, step, watched.traceParent, AbortSignal.any([stop, lost]));
  } catch (error) {
    share.give();
    watched.ended({ outcome: 'lost', reason: 'the Action could not be started' });
    await release(deps, step, 'lost', logger);
    return held(logger, error, 'the Action could not be started');
  }
  // The sandbox is free, and the end of the attempt lets somebody go who may want it.
  share.give();

  if (result.outcome === 'not-run') {
    watched.ended({ outcome: 'lost', reason: result.reason });
    await release(deps, step, 'lost', logger);
    return { state: 'held', delayMs: result.delayMs, reason: result.reason };
  }
  if (result.outcome === 'cancelled') {
    const byWorkflow = isReason(stop, 'CANCELLED');
    const reason = byWorkflow ? 'its step is not wanted any more' : 'the worker is stopping or has lost its lease';
    watched.ended({ outcome: byWorkflow ? 'cancelled' : 'lost', reason });
    await release(deps, step, byWorkflow ? 'cancelled' : 'lost', logger);
    if (byWorkflow) throw stop.reason;
    return { state: 'held', delayMs: 1000, reason };
  }
  return await settle(deps, step, judgeCalls(result, step.policy), watched, logger);
}

async function invoke(deps: RunActionDeps, step: ClaimedStep, traceParent: string | null, signal: AbortSignal): Promise<InvocationResult> {
  const { runnable, secrets } = await deps.versions.load(step.versionId, step.bindingSecretsId);
  const { attempt } = step;
  return await deps.sandbox.run(
    {
      version: { ...runnable, actionName: step.actionName },
      id: attempt.id,
      event: withInvocation(step.event, {
        secrets,
        usher: { execution_id: step.registrationId, attempt: attempt.number, idempotency_key: attempt.idempotencyKey },
      }),
      cache: await deps.ledger.readCache('post-user-registration'),
      timeoutMs: step.policy.timeoutMs,
      waitFor: 'work',
      traceParent,
      ...(step.policy.idempotencyHeader === null ? {} : { idempotency: { header: step.policy.idempotencyHeader, key: attempt.idempotencyKey } }),
    },
    {
      signal,
      onLateOutput: createLateOutput(async (lines) => {
        try {
          await deps.ledger.appendLateOutput(attempt.id, lines);
        } catch (error) {
          deps.logger.warn({ err: error, attempt_id: attempt.id }, 'late output of an attempt could not be kept');
        }
      }),
    },
  );
}

/** Writes the attempt's end and says what follows. A record that cannot be written never runs the Action again. */
async function settle(deps: RunActionDeps, step: ClaimedStep, result: Ran, watched: WatchedAttempt, logger: Logger): Promise<RunActionResult> {
  const end = endOf(step, result);
  let settled: SettledState;
  try {
    settled = await deps.ledger.settleAttempt(end);
  } catch (error) {
    watched.ended({ result, state: 'unrecorded' });
    logger.error({ err: error, attempt_id: end.attemptId }, 'the end of an attempt could not be recorded; its workflow repeats the record');
    const { attemptId, outcome, endedAt, retryAfterMs } = end;
    return {
      state: 'unrecorded',
      settlement: {
        attemptId,
        outcome: outcome === 'succeeded' ? 'succeeded' : 'failed',
        endedAt,
        retryAfterMs,
        ...(end.error === undefined ? {} : { errorType: end.error.type, retryable: end.error.retryable }),
      },
    };
  }
  watched.ended({ result, state: settled.state, ...('delayMs' in settled ? { nextInMs: settled.delayMs } : {}) });
  if (settled.state !== 'retry') return settled;
  if (result.outcome !== 'failed') throw new TypeError('the ledger asked to retry an attempt that had succeeded');
  throw actionFailed({
    type: result.error.type,
    message: describeFailure(result.error, result.calls, step.policy),
    attemptId: end.attemptId,
    delayMs: settled.delayMs,
  });
}

function endOf(step: ClaimedStep, result: Ran): AttemptEnd {
  return {
    attemptId: step.attempt.id,
    outcome: result.outcome,
    endedAt: result.startedAt + result.durationMs,
    ...(result.outcome === 'failed' ? { error: result.error } : {}),
    retryAfterMs: result.outcome === 'failed' ? Math.max(result.error.retryAfterMs ?? 0, lastRetryAfterMs(result.calls)) : 0,
    logs: result.logs,
    logsTruncated: result.logsTruncated,
    calls: result.calls,
    cacheChanges: result.cacheChanges,
  };
}

/** What the last refused request was told to wait. */
function lastRetryAfterMs(calls: OutgoingCall[]): number {
  return calls.findLast((call) => isFailedCall(call) && call.retryAfterMs !== undefined)?.retryAfterMs ?? 0;
}

/** Gives the step back without counting; if even that cannot be written, the lease runs out by itself. */
async function release(deps: RunActionDeps, step: ClaimedStep, outcome: 'lost' | 'cancelled', logger: Logger): Promise<void> {
  try {
    await deps.ledger.settleAttempt({ attemptId: step.attempt.id, outcome, endedAt: Date.now(), retryAfterMs: 0, logs: [], logsTruncated: false, calls: [], cacheChanges: [] });
  } catch (error) {
    logger.warn({ err: error, attempt_id: step.attempt.id }, 'an attempt could not be given back; its lease will run out');
  }
}

function held(logger: Logger, error: unknown, what: string): RunActionResult {
  logger.error({ err: error }, `${what}; it is held, and its workflow asks again within half a minute`);
  return { state: 'held', delayMs: HOLD_MS, reason: what };
}
