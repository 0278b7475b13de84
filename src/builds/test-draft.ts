import { managementError } from '../domain/api-error.ts';
import { LIMITS } from '../domain/limits.ts';
import { DEFAULT_STEP_POLICY } from '../domain/policy.ts';
import { sampleEvent } from '../domain/sample-events.ts';
import { isTriggerId, TRIGGERS } from '../domain/triggers.ts';
import type { SandboxPool } from '../sandbox/pool.ts';
import { TestNotRunError, type TestReport, testRun } from '../sandbox/test-run.ts';
import type { ActionStore } from '../store/actions.ts';
import type { Row } from '../store/schema.ts';
import type { VersionCache } from './version-cache.ts';

/**
 * Runs an Action's draft once, with its secrets and packages, in a real sandbox. Nothing of it is kept; what the Action
 * sends to others is sent.
 *
 * @param options.event - what the handler gets; undefined: Auth0's sample.
 * @param options.signal - ends the run.
 * @throws {ApiError} 404; 400 when the draft is not built or never runs here; 503 when no sandbox could be had.
 */
export type TestDraft = (actionId: string, options: { event: Record<string, unknown> | undefined; signal: AbortSignal }) => Promise<TestReport>;

/** @param deps.sandbox - a pool of its own, so that tests take nothing from sign-ups. */
export function createTestDraft(deps: { actions: Pick<ActionStore, 'find'>; versions: Pick<VersionCache, 'loadDraft'>; sandbox: Pick<SandboxPool, 'run'> }): TestDraft {
  return async (actionId, { event, signal }) => {
    const { action } = await deps.actions.find(actionId);
    const triggerId = action.trigger_id;
    if (!isTriggerId(triggerId) || TRIGGERS[triggerId].version !== action.trigger_version) {
      throw managementError(400, `Actions of the trigger ${triggerId} ${action.trigger_version} do not run here, so that this one cannot be tested.`);
    }
    if (action.build_status !== 'built') throw managementError(400, `A draft must be in the 'built' state before it can be tested. ${stateOf(action)}`);
    const { runnable, secrets } = await deps.versions.loadDraft(action);
    try {
      return await testRun(
        deps.sandbox,
        { version: runnable, event: event ?? sampleEvent(triggerId, { now: new Date() }), secrets, timeoutMs: TIMEOUT_MS[triggerId] },
        { signal },
      );
    } catch (error) {
      if (error instanceof TestNotRunError) throw managementError(503, error.message);
      throw error;
    }
  };
}

/** What the trigger gives an Action at most. */
const TIMEOUT_MS = { 'pre-user-registration': LIMITS.preUserRegistrationMs, 'post-user-registration': DEFAULT_STEP_POLICY.timeoutMs };

function stateOf({ build_status: status, build_errors: errors }: Row<'action'>): string {
  if (status !== 'failed') return `It is in the '${status}' state: try again in a moment.`;
  return `Its build has failed: ${(JSON.parse(errors) as { msg: string }[]).map(({ msg }) => msg).join(' ')}`;
}
