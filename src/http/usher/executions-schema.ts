import { z } from 'zod';
import { ATTEMPT, STEP, STEP_STATE } from '../actions/execution-schema.ts';
import { DATE, FLAG, ID } from '../schema/common.ts';
import { FILTER } from './operations-schema.ts';

const TAKE = 50;
const FROM = 'Checkpoint: the `next` of the answer before.';

const { user_id, connection, source, state, outcome, created_from, created_to, action_id, error_type } = FILTER.shape;

/** The filter of bulk operations, as far as it goes into a query string, and what only a list has. */
export const LIST_QUERY = z
  .strictObject({
    user_id,
    connection,
    source,
    state,
    outcome,
    created_from,
    created_to,
    action_id: action_id.describe('Has a step of this Action.'),
    step_state: z.union([STEP_STATE.state, z.array(STEP_STATE.state).min(1).max(7)]).optional().describe("State of that Action's step; given several times, any of them. Goes with `action_id`."),
    error_type: error_type.describe("With which the last attempt at that Action's step ended, such as `ACTION_THREW`. Goes with `action_id`."),
    waiting: FLAG.optional().describe('`true`: has a step that waits for its next attempt, because one has failed or because it is held; of `action_id`, where that is given.'),
    from: ID.optional().describe(FROM),
    take: z.coerce.number().int().min(1).max(100).default(TAKE),
  });

/** What is known of the registration itself. */
const REGISTRATION = {
  id: z.string().describe('Of the registration and of its execution.'),
  source: z.string(),
  user_id: z.string(),
  connection: z.string(),
  connection_id: z.string(),
  client_id: z.string().nullable(),
  state: z.enum(['open', 'closed']),
  outcome: z.enum(['succeeded', 'failed', 'cancelled', 'nothing-bound']).nullable(),
  created_at: DATE,
  closed_at: DATE.nullable(),
  due_at: DATE.nullable().describe('Set while it waits to be handed to Temporal.'),
  dispatch_error: z.string().nullable().describe('Why Temporal refused it last.'),
  workflow_id: z.string(),
  workflow_url: z.string().nullable().describe("In Temporal's Web UI, where its address is known."),
};

const STEP_SUMMARY = z
  .strictObject({
    ...STEP_STATE,
    last_error_type: z.string().nullable().describe('Of the last attempt.'),
    last_failed_calls: z.int().describe('Calls of the last attempt that were refused or never answered.'),
  })
  .meta({ id: 'StepSummary' });

export const EXECUTION_SUMMARY = z.strictObject({ ...REGISTRATION, steps: z.array(STEP_SUMMARY) }).meta({ id: 'ExecutionSummary' });

export const EXECUTION_LIST = z.strictObject({ executions: z.array(EXECUTION_SUMMARY), next: z.string().optional() });

export const EXECUTION_DETAILS = z.strictObject({ ...REGISTRATION, steps: z.array(STEP) }).meta({ id: 'ExecutionDetails' });

export const STEP_PATH = z.strictObject({ id: ID, step_id: ID });

/** Each can have 256 KiB of logs. */
export const ATTEMPTS_QUERY = z.strictObject({
  from: z.coerce.number().int().min(1).max(2_147_483_647).optional().describe(FROM),
  take: z.coerce.number().int().min(1).max(20).default(10),
});

export const ATTEMPTS = z.strictObject({ attempts: z.array(ATTEMPT).describe('The newest first.'), next: z.int().optional() });

export const REDRIVE_BODY = z.strictObject({
  steps: z
    .union([z.enum(['failed', 'all']), z.strictObject({ from: ID })])
    .default('failed')
    .describe('`failed`: those that failed, were blocked or cancelled; `{"from": "<step id>"}`: that one and all after it. What had succeeded begins a new run, with a new idempotency key.'),
  version: z.enum(['pinned', 'deployed']).default('pinned').describe("`pinned`: the version that the step has; `deployed`: the one that is deployed now, with the binding's secrets of now."),
});

export type SummaryAnswer = z.input<typeof EXECUTION_SUMMARY>;
export type DetailsAnswer = z.input<typeof EXECUTION_DETAILS>;
