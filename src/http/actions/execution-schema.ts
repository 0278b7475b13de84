import { z } from 'zod';
import { DATE } from '../schema/common.ts';

/** One outgoing HTTP request of an Action. */
export const CALL = z
  .strictObject({
    method: z.string(),
    host: z.string(),
    status: z.int().nullable(),
    error: z.string().nullable(),
    started_at: DATE,
    duration_ms: z.int(),
    retry_after_ms: z.number().nullable(),
  })
  .meta({ id: 'OutgoingCall' });

/** One line that an Action wrote. */
export const LOG_LINE = z.strictObject({ at: DATE, level: z.string(), text: z.string() }).meta({ id: 'LogLine' });

const FAILURE = z
  .strictObject({ type: z.string(), name: z.string(), message: z.string(), stack: z.string().nullable(), retryable: z.boolean() })
  .meta({ id: 'ActionFailure' });

const ACTION_OF = {
  action_id: z.string(),
  action_name: z.string(),
  binding_id: z.string(),
  version_id: z.string(),
  version_number: z.int(),
};

const TRACES = { error: FAILURE.nullable(), calls: z.array(CALL), logs: z.array(LOG_LINE), logs_truncated: z.boolean() };

const PRE_ACTION = z.strictObject({ ...ACTION_OF, ...TRACES, outcome: z.enum(['succeeded', 'denied', 'failed', 'not-run']), reason: z.string().nullable() });

/** One try at a step. */
export const ATTEMPT = z
  .strictObject({
    ...TRACES,
    id: z.string(),
    number: z.int(),
    run: z.int(),
    phase: z.enum(['quick', 'long']),
    outcome: z.enum(['running', 'succeeded', 'failed', 'lost', 'cancelled']),
    counted: z.boolean(),
    failed_calls: z.int().describe('Calls that were refused or never answered, also of an attempt that succeeded.'),
    idempotency_key: z.string(),
    started_at: DATE,
    ended_at: DATE.nullable(),
  })
  .meta({ id: 'Attempt' });

/** Of a step, whatever is shown of its attempts. */
export const STEP_STATE = {
  ...ACTION_OF,
  id: z.string(),
  state: z.enum(['pending', 'parked', 'succeeded', 'failed', 'blocked', 'cancelled', 'skipped']),
  phase: z.enum(['quick', 'long']),
  run: z.int().describe('Grows when a step that had succeeded is run again.'),
  redrives: z.int().describe("How often it was run again on somebody's wish."),
  next_attempt_at: DATE.nullable(),
  held_reason: z.enum(['paused', 'down', 'concurrency', 'busy']).nullable().describe('Why it is not tried now, for a reason of ours.'),
  ended_at: DATE.nullable(),
  attempts_begun: z.int(),
};

/** One bound Action of a registration. */
export const STEP = z
  .strictObject({
    ...STEP_STATE,
    attempts: z.array(ATTEMPT).describe('The first and the last 20; the last 3 with their logs. `GET /usher/executions/{id}/steps/{step_id}/attempts` gives all.'),
  })
  .meta({ id: 'Step' });

const PRE_EXECUTION = z.strictObject({ registration_id: z.string().nullable(), actions: z.array(PRE_ACTION) });

const REGISTRATION = z.strictObject({
  registration_id: z.string(),
  source: z.string(),
  user_id: z.string(),
  connection_id: z.string(),
  client_id: z.string().nullable(),
  state: z.enum(['open', 'closed']),
  outcome: z.enum(['succeeded', 'failed', 'cancelled', 'nothing-bound']).nullable(),
  due_at: DATE.nullable(),
  dispatch_error: z.string().nullable(),
  workflow_id: z.string(),
  steps: z.array(STEP),
});

/** Auth0's execution (contract §6); under `usher` all that we know beyond it. */
export const EXECUTION = z
  .strictObject({
    id: z.string(),
    trigger_id: z.string(),
    status: z.enum(['unspecified', 'pending', 'final', 'partial', 'canceled', 'suspended']),
    results: z.array(
      z.strictObject({
        action_name: z.string(),
        error: z.strictObject({ id: z.string(), msg: z.string(), url: z.string() }).optional(),
        started_at: DATE,
        ended_at: DATE.optional(),
      }),
    ),
    created_at: DATE,
    updated_at: DATE,
    usher: z.union([REGISTRATION, PRE_EXECUTION]),
  })
  .meta({ id: 'Execution' });

export type ExecutionAnswer = z.input<typeof EXECUTION>;
export type StepAnswer = z.input<typeof STEP>;
export type AttemptAnswer = z.input<typeof ATTEMPT>;
export type PreActionAnswer = z.input<typeof PRE_ACTION>;
export type FailureAnswer = z.input<typeof FAILURE>;
export type CallAnswer = z.input<typeof CALL>;
export type LogLineAnswer = z.input<typeof LOG_LINE>;
export type ExecutionResult = ExecutionAnswer['results'][number];
