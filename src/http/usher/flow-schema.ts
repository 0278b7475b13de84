import { z } from 'zod';
import { DATE, ID } from '../schema/common.ts';

const COUNT = z.int().min(0);

const STATE = {
  paused: z.strictObject({ since: DATE, by: z.string().nullable().describe('The client whose token it was.') }).nullable(),
  recovering_since: DATE.nullable().describe('Since then held steps are let go, the oldest first.'),
  held: COUNT.describe('Steps that are not tried now.'),
};

/** An Action whose steps cannot run freely. */
export const ACTION_FLOW = z
  .strictObject({
    action_id: ID,
    name: z.string().nullable().describe('`null`: the Action was deleted.'),
    ...STATE,
    down: z
      .strictObject({
        since: DATE,
        failures: COUNT.describe('In a row, those of the attempts that try for all included.'),
        next_probe_at: DATE.nullable().describe('When the next one tries for all.'),
      })
      .nullable()
      .describe('Its receiver is taken to be down.'),
    parked: COUNT.describe('Steps that wait for their long retries, held ones included.'),
  })
  .meta({ id: 'ActionFlow' });

export const TRIGGER_FLOW = z.strictObject({ trigger_id: z.literal('post-user-registration'), ...STATE }).meta({ id: 'TriggerFlow' });

export const FLOW = z.strictObject({ triggers: z.array(TRIGGER_FLOW), actions: z.array(ACTION_FLOW) }).meta({ id: 'Flow' });
