import { z } from 'zod';
import { managementError } from '../../domain/api-error.ts';
import type { ActionFlow, FlowState, FlowStore } from '../../store/flow.ts';
import { TRIGGER_ID } from '../actions/requests.ts';
import { type Route, route } from '../endpoint.ts';
import { ID_PATH } from '../schema/common.ts';
import { ACTION_FLOW, FLOW, TRIGGER_FLOW } from './flow-schema.ts';

const TRIGGER_PATH = z.strictObject({ triggerId: TRIGGER_ID });
const PAUSED = 'Attempts that run end as they would; then steps wait, in their order and without using up attempts. Nothing that people do is held up by it.';
const RESUMED = 'What is held is let go at a limited rate, the oldest first. What comes new does not wait for it.';

/** Pausing and resuming Actions and the trigger, and what is held back. */
export function flowRoutes({ flow }: { flow: FlowStore }): Route[] {
  const change = { method: 'post', tag: 'operations', scopes: ['update:executions'], status: 200, ours: true } as const;
  return [
    route(
      {
        operationId: 'get_flow',
        method: 'get',
        path: '/usher/flow',
        summary: 'See what is paused, down or recovering',
        description: `An Action's receiver is taken to be down when attempts at the Action have failed for ten different steps since one last succeeded. Then one step at a time tries for all, and the others are held, without using up attempts, until one succeeds.`,
        tag: 'operations',
        scopes: ['read:executions'],
        returns: FLOW,
        ours: true,
      },
      async () => {
        const [trigger, actions] = await Promise.all([flow.trigger(), flow.actions()]);
        const triggers = trigger.paused === null && trigger.recoveringSince === null ? [] : [triggerAnswer(trigger)];
        return { triggers, actions: actions.map(actionAnswer) };
      },
    ),
    route(
      { ...change, operationId: 'post_action_pause', path: '/usher/actions/{id}/pause', summary: 'Pause an Action', description: PAUSED, params: ID_PATH, returns: ACTION_FLOW, errors: [404] },
      async ({ params: { id }, token }) => actionAnswer(await flow.pauseAction(id, token.clientId)),
    ),
    route(
      {
        ...change,
        operationId: 'post_action_resume',
        path: '/usher/actions/{id}/resume',
        summary: 'Resume an Action',
        description: `${RESUMED} Also for one whose receiver is taken to be down and is known to be up again.`,
        params: ID_PATH,
        returns: ACTION_FLOW,
        errors: [404],
      },
      async ({ params: { id }, token }) => actionAnswer(await flow.resumeAction(id, token.clientId)),
    ),
    route(
      { ...change, operationId: 'post_trigger_pause', path: '/usher/triggers/{triggerId}/pause', summary: 'Pause post-user-registration', description: PAUSED, params: TRIGGER_PATH, returns: TRIGGER_FLOW },
      async ({ params: { triggerId }, token }) => {
        refuseOther(triggerId);
        return triggerAnswer(await flow.pauseTrigger(token.clientId));
      },
    ),
    route(
      { ...change, operationId: 'post_trigger_resume', path: '/usher/triggers/{triggerId}/resume', summary: 'Resume post-user-registration', description: RESUMED, params: TRIGGER_PATH, returns: TRIGGER_FLOW },
      async ({ params: { triggerId }, token }) => {
        refuseOther(triggerId);
        return triggerAnswer(await flow.resumeTrigger(token.clientId));
      },
    ),
  ];
}

function refuseOther(triggerId: string): void {
  if (triggerId === 'post-user-registration') return;
  const instead = triggerId === 'pre-user-registration'
    ? 'Sign-ups wait for its answer, so it cannot be paused: take Actions out of its bindings (PATCH /api/v2/actions/triggers/pre-user-registration/bindings).'
    : 'It does not run here, so there is nothing to pause.';
  throw managementError(400, instead, 'invalid_trigger');
}

function triggerAnswer(state: FlowState): z.input<typeof TRIGGER_FLOW> {
  return { trigger_id: 'post-user-registration', ...stateAnswer(state) };
}

function actionAnswer({ actionId, name, down, parked, ...state }: ActionFlow): z.input<typeof ACTION_FLOW> {
  return {
    action_id: actionId,
    name,
    ...stateAnswer(state),
    down: down === null ? null : { since: dateOf(down.since), failures: down.failures, next_probe_at: down.nextProbeAt === null ? null : dateOf(down.nextProbeAt) },
    parked,
  };
}

function stateAnswer({ paused, recoveringSince, held }: Omit<FlowState, 'down'>) {
  return {
    paused: paused === null ? null : { since: dateOf(paused.since), by: paused.by },
    recovering_since: recoveringSince === null ? null : dateOf(recoveringSince),
    held,
  };
}

function dateOf(ms: number): string {
  return new Date(ms).toISOString();
}
