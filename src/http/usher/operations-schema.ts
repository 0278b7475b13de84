import { z } from 'zod';
import { BULK_RATE } from '../../domain/bulk-operation.ts';
import { DATE, ID } from '../schema/common.ts';

const USER_ID = z.string().min(1).max(1024).describe('With the provider: `auth0|…`.');
const NAME = z.string().min(1).max(255);
const TIME = z.iso.datetime({ offset: true });
const STEP_STATE = z.enum(['pending', 'parked', 'succeeded', 'failed', 'blocked', 'cancelled', 'skipped']);

/** Which registrations are meant; all that is said must be true of one. */
export const FILTER = z
  .strictObject({
    user_id: USER_ID.optional(),
    connection: NAME.optional().describe('By its name.'),
    source: NAME.optional().describe('The way in, such as `signup`.'),
    state: z.enum(['open', 'closed']).optional(),
    outcome: z.enum(['succeeded', 'failed', 'cancelled', 'nothing-bound']).optional(),
    created_from: TIME.optional(),
    created_to: TIME.optional(),
    action_id: ID.optional().describe('Has a step of this Action; the three below are about the same step.'),
    step_states: z.array(STEP_STATE).min(1).max(7).optional(),
    held: z.boolean().optional().describe('Its step is held now, or is not.'),
    error_type: NAME.optional().describe('With which the last attempt ended, such as `ACTION_THREW`.'),
  })
  .meta({ id: 'ExecutionFilter' });

const VERSION = z.enum(['pinned', 'deployed']).default('pinned').describe('`pinned`: the version of the step; `deployed`: the one that is deployed when it is its turn.');

/** What the kinds have in common. */
const COMMON = {
  filter: FILTER.default({}),
  all: z.boolean().default(false).describe('Needed where the filter is empty: everybody is meant.'),
  rate: z.int().min(1).max(BULK_RATE.max).default(BULK_RATE.default).describe('Registrations a second, at most.'),
  dry_run: z.boolean().default(false).describe('Only counts: nothing is changed.'),
};

const REDRIVE = z.strictObject({
  kind: z.literal('redrive'),
  options: z
    .strictObject({
      steps: z.enum(['failed', 'all', 'waiting-and-failed']).default('failed').describe('`waiting-and-failed`: those of the Action `action_id`.'),
      action_id: ID.optional(),
      version: VERSION,
    })
    .default({ steps: 'failed', version: 'pinned' }),
  ...COMMON,
});
const RETRY = z.strictObject({ kind: z.literal('retry'), options: z.strictObject({ action_id: ID.optional().describe('Only the steps of this Action.') }).default({}), ...COMMON });
const CANCEL = z.strictObject({ kind: z.literal('cancel'), options: z.strictObject({}).default({}), ...COMMON });
const SKIP = z.strictObject({ kind: z.literal('skip'), options: z.strictObject({ action_id: ID }), ...COMMON });
const BACKFILL = z.strictObject({
  kind: z.literal('backfill'),
  options: z.strictObject({
    action_id: ID,
    of: z.enum(['registrations', 'users']).default('registrations').describe('`users`: those who have no registration; the filter knows `user_id`, `connection` and the times then.'),
  }),
  ...COMMON,
});

export const OPERATION_BODY = z.discriminatedUnion('kind', [REDRIVE, RETRY, CANCEL, SKIP, BACKFILL]);

export const RETRY_WITH_DEPLOYED_BODY = z.strictObject({ filter: FILTER.omit({ action_id: true, step_states: true, held: true, error_type: true }).default({}), rate: COMMON.rate, dry_run: COMMON.dry_run });

const KIND = z.enum(['redrive', 'retry', 'cancel', 'skip', 'backfill']);
const STATE = z.enum(['running', 'paused', 'cancelled', 'done']);
const RESULT = z.enum(['changed', 'unchanged', 'failed']);

export const OPERATION = z
  .strictObject({
    id: z.string(),
    kind: KIND,
    filter: FILTER,
    options: z.record(z.string(), z.string()),
    state: STATE,
    rate: z.int(),
    total: z.int().describe('How many matched when it was made.'),
    done: z.int().describe('Of them, or of those who came to match since then; who does not match any more at their turn is passed over.'),
    changed: z.int(),
    unchanged: z.int(),
    failed: z.int(),
    created_by: z.string().describe('Id of the client.'),
    created_at: DATE,
    updated_at: DATE,
    ended_at: DATE.nullable(),
    estimated_end_at: DATE.nullable().describe('At its rate, while it runs.'),
  })
  .meta({ id: 'BulkOperation' });

export const DRY_RUN = z.strictObject({ dry_run: z.literal(true), total: z.int(), sample: z.array(z.string()).describe('The first ids: of registrations, or of users.') }).meta({ id: 'BulkDryRun' });

const PAGE = {
  from: ID.optional().describe('Checkpoint: the `next` of the answer before.'),
  take: z.coerce.number().int().min(1).max(100).default(50),
};

export const OPERATIONS_QUERY = z.strictObject({ state: STATE.optional(), kind: KIND.optional(), ...PAGE });

export const OPERATIONS = z.strictObject({ operations: z.array(OPERATION), next: z.string().optional() });

export const ITEMS_QUERY = z.strictObject({ result: RESULT.optional(), ...PAGE, from: z.string().regex(/^[^\0]{1,1024}$/).optional().describe('Checkpoint: the `next` of the answer before.') });

export const ITEMS = z.strictObject({
  items: z.array(
    z
      .strictObject({
        subject_id: z.string().describe('Of the registration; of the user, where a backfill goes over users.'),
        registration_id: z.string().nullable(),
        result: RESULT,
        reason: z.string().nullable(),
        at: DATE,
      })
      .meta({ id: 'BulkItem' }),
  ),
  next: z.string().optional(),
});

export type OperationBody = z.output<typeof OPERATION_BODY>;
export type FilterBody = z.output<typeof FILTER>;
export type OperationAnswer = z.input<typeof OPERATION>;
