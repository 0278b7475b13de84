import { newId } from '../domain/ids.ts';
import type { ActionError, ApiCommand, CacheChange, CacheSnapshot, Invocation, InvocationResult } from '../domain/invocation.ts';
import { LIMITS } from '../domain/limits.ts';
import type { Logger } from '../logger.ts';
import type { VersionCache } from '../builds/version-cache.ts';
import type { SandboxPool } from '../sandbox/pool.ts';
import type { BoundAction } from '../store/bindings.ts';
import type { ActionResult, PreExecution } from '../store/executions.ts';
import { applyChanges } from '../store/cache.ts';
import { type ActionEvent, withInvocation } from './event.ts';
import { applyMetadata, type BothMetadata, oversizedMetadata } from './metadata.ts';

const TRIGGER = 'pre-user-registration';
/** To start a process for an Action, whose own deadline counts from then on, also on a busy machine. */
const GRACE_MS = 2_000;

export interface PreUserRegistrationDeps {
  /** The Actions bound to the trigger now, in order. */
  loadBoundActions(): Promise<BoundAction[]>;
  /** The values of `api.cache`. */
  readCache(): Promise<CacheSnapshot>;
  versions: Pick<VersionCache, 'load'>;
  sandbox: Pick<SandboxPool, 'run'>;
  logger: Logger;
  /** For all Actions of an execution together, in milliseconds. @default 20 s, as on Auth0 */
  timeoutMs?: number;
}

/** Why a sign-up is refused. `failed`: an Action that has to say yes could not. */
export type Denial = { kind: 'denied'; reason: string; userMessage: string } | { kind: 'failed' };

/** An Action that did not do its work, for the tenant log. */
export interface FailedResult {
  action: BoundAction;
  error: ActionError | null;
}

/** What the bound Actions say to a sign-up. */
export interface Verdict extends BothMetadata {
  /** Null: the sign-up goes on. */
  denial: Denial | null;
  /** Null when nothing is bound. */
  execution: PreExecution | null;
  failures: FailedResult[];
  cacheChanges: CacheChange[];
}

export type PreUserRegistration = (event: ActionEvent, metadata: BothMetadata) => Promise<Verdict>;

/**
 * Runs the bound pre-user-registration Actions in order, inside one deadline, and stops at the first that denies.
 *
 * Metadata set by the Actions is gathered and takes effect with the user; an Action after them does not see it in its
 * event (as on Auth0). An Action that fails, or that we cannot run, denies or allows as its binding's `on_error` says;
 * what it set is dropped, but if it had called `api.access.deny` before it failed, the deny stands.
 */
export function createPreUserRegistration(deps: PreUserRegistrationDeps): PreUserRegistration {
  const { timeoutMs = LIMITS.preUserRegistrationMs } = deps;

  return async (event, metadata) => {
    const verdict: Verdict = { ...metadata, denial: null, execution: null, failures: [], cacheChanges: [] };
    const actions = await deps.loadBoundActions();
    if (actions.length === 0) return verdict;

    const execution: PreExecution = { id: newId(), status: 'final', results: [], createdAt: Date.now(), updatedAt: 0 };
    const deadline = performance.now() + timeoutMs;
    let cache = await deps.readCache();
    for (const action of actions) {
      const startedAt = Date.now();
      const result = await invoke(deps, { action, event, cache, executionId: execution.id, remainingMs: deadline - performance.now() });
      const outcome = judge(result, verdict);
      execution.results.push(record(action, result, outcome, startedAt));
      if ('cacheChanges' in result) {
        cache = applyChanges(cache, result.cacheChanges);
        verdict.cacheChanges.push(...result.cacheChanges);
      }
      if (outcome.metadata !== null) Object.assign(verdict, outcome.metadata);
      if (outcome.failed) {
        execution.status = 'partial';
        verdict.failures.push({ action, error: outcome.error });
        report(deps.logger, action, execution.id, outcome);
      }
      verdict.denial = outcome.denial ?? (outcome.failed && action.onError === 'deny' ? { kind: 'failed' } : null);
      if (verdict.denial !== null) break;
    }
    execution.updatedAt = Date.now();
    return { ...verdict, execution };
  };
}

interface Call {
  action: BoundAction;
  event: ActionEvent;
  cache: CacheSnapshot;
  executionId: string;
  remainingMs: number;
}

/** What came of the call: the sandbox's result, or `not-run` for whatever we could not do ourselves. */
async function invoke(deps: PreUserRegistrationDeps, call: Call): Promise<InvocationResult> {
  const { action, executionId } = call;
  // Also ends a wait for a free process; the sandbox ends the Action itself at its own deadline, before.
  const signal = AbortSignal.timeout(Math.max(1, Math.ceil(call.remainingMs)) + GRACE_MS);
  try {
    const { runnable, secrets } = await deps.versions.load(action.versionId, action.bindingSecretsId);
    const invocation: Invocation = {
      version: { ...runnable, actionName: action.actionName },
      id: executionId,
      event: withInvocation(call.event, { secrets, usher: { execution_id: executionId, attempt: 1, idempotency_key: `${executionId}.${action.bindingId}` } }),
      cache: call.cache,
      timeoutMs: Math.max(1, Math.floor(call.remainingMs)),
      waitFor: 'handler',
    };
    return await deps.sandbox.run(invocation, { signal });
  } catch (error) {
    deps.logger.error({ err: error, action: action.actionName, version: action.versionNumber, execution_id: executionId }, 'an Action could not be started');
    return { outcome: 'not-run', reason: 'the Action could not be started', delayMs: 0 };
  }
}

/** What a result means for the sign-up. */
interface Judgement {
  failed: boolean;
  /** Null also when `failed` is by our doing. */
  error: ActionError | null;
  denial: Denial | null;
  /** What the sign-up's metadata becomes; null when it stays. */
  metadata: BothMetadata | null;
}

function judge(result: InvocationResult, before: BothMetadata): Judgement {
  if (result.outcome === 'not-run' || result.outcome === 'cancelled') return { failed: true, error: null, denial: null, metadata: null };
  const denial = denialIn(result.commands);
  if (result.outcome === 'failed') return { failed: true, error: result.error, denial, metadata: null };
  const metadata = applyMetadata(before, result.commands);
  const oversized = oversizedMetadata(metadata);
  if (oversized === null || denial !== null) return { failed: false, error: null, denial, metadata };
  const error: ActionError = {
    type: 'ACTION_OUTPUT_LIMIT',
    name: 'MetadataTooLarge',
    message: `${oversized} would be larger than ${LIMITS.metadataBytes / 1024} KiB`,
    retryable: false,
  };
  return { failed: true, error, denial: null, metadata: null };
}

function denialIn(commands: ApiCommand[]): Denial | null {
  for (const command of commands) {
    if (command.kind === 'access.deny') return { kind: 'denied', reason: command.reason, userMessage: command.userMessage };
    if (command.kind === 'validation.error') return { kind: 'denied', reason: command.errorCode, userMessage: command.errorMessage };
  }
  return null;
}

function record(action: BoundAction, result: InvocationResult, judged: Judgement, startedAt: number): ActionResult {
  const base = {
    actionId: action.actionId,
    actionName: action.actionName,
    bindingId: action.bindingId,
    versionId: action.versionId,
    versionNumber: action.versionNumber,
    startedAt,
    endedAt: Date.now(),
  };
  if (result.outcome === 'not-run' || result.outcome === 'cancelled') {
    const reason = result.outcome === 'not-run' ? result.reason : 'no process was free before the deadline of the execution';
    return { ...base, outcome: 'not-run', reason, logs: [], logsTruncated: false, calls: [] };
  }
  const { logs, logsTruncated, calls } = result;
  const outcome = judged.failed ? 'failed' : judged.denial === null ? 'succeeded' : 'denied';
  return { ...base, outcome, ...(judged.error === null ? {} : { error: judged.error }), logs, logsTruncated, calls };
}

/** The line by which an operator sees at once which Action fails sign-ups. No message: it may hold personal data. */
function report(logger: Logger, action: BoundAction, executionId: string, { error }: Judgement): void {
  const doing = action.onError === 'deny' ? 'the sign-up is denied (on_error: deny)' : 'the sign-up goes on (on_error: allow)';
  logger.error(
    {
      trigger: TRIGGER,
      action: action.actionName,
      action_id: action.actionId,
      binding_id: action.bindingId,
      version: action.versionNumber,
      version_id: action.versionId,
      execution_id: executionId,
      error_type: error?.type ?? 'PLATFORM',
      error_name: error?.name,
    },
    `the pre-user-registration Action "${action.actionName}" failed; ${doing}`,
  );
}
