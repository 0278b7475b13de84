import { z } from 'zod';
import { NANO_DATE } from '../schema/common.ts';
import { POLICY } from './policy-settings.ts';

/*
 * What the endpoints of Actions answer: Auth0's shapes as they are on the wire (contract §4.3), which is not always as
 * its OpenAPI document has them. Our own additions stand in `usher`.
 */

const TRIGGER_REF = z.strictObject({ id: z.string(), version: z.string() });

export const DEPENDENCIES = z.array(z.strictObject({ name: z.string(), version: z.string() }));

/** Never with a value. */
export const SECRETS = z.array(z.strictObject({ name: z.string(), updated_at: NANO_DATE }));

const MODULES = z.array(z.strictObject({
  module_id: z.string(),
  module_name: z.string(),
  module_version_id: z.string(),
  module_version_number: z.int(),
}));

const BUILD_STATUS = z.enum(['pending', 'building', 'packaged', 'built', 'retrying', 'failed']);

const BUILD_ERROR = z.strictObject({ id: z.string(), msg: z.string(), url: z.string() });

const RUNS_HERE = z.literal(false).optional().describe('Its trigger does not exist here: it is kept, and never run.');

const ACTION_BASE = z.strictObject({
  id: z.string(),
  name: z.string(),
  supported_triggers: z.array(TRIGGER_REF),
  all_changes_deployed: z.boolean(),
  created_at: NANO_DATE,
  updated_at: NANO_DATE,
});

/** Undocumented, but on the wire: the status in capitals, and `build_time` for `built_at`. */
const CURRENT_VERSION = z.strictObject({
  id: z.string(),
  code: z.string(),
  runtime: z.string(),
  status: z.string(),
  number: z.int(),
  build_time: NANO_DATE.optional(),
  created_at: NANO_DATE,
  updated_at: NANO_DATE,
});

const VERSION_CONTENT = z.strictObject({
  id: z.string(),
  code: z.string(),
  dependencies: DEPENDENCIES,
  runtime: z.string(),
  secrets: SECRETS,
  modules: MODULES.optional(),
  deployed: z.boolean(),
  number: z.int(),
  status: BUILD_STATUS,
  errors: z.array(BUILD_ERROR).optional().describe('Why it could not be built.'),
  supported_triggers: z.array(TRIGGER_REF),
  created_at: NANO_DATE,
  updated_at: NANO_DATE,
  built_at: NANO_DATE.nullish(),
});

const VERSIONS_OF_ACTION = { current_version: CURRENT_VERSION.optional(), deployed_version: VERSION_CONTENT.optional() };

export const ACTION = ACTION_BASE.extend({
  ...VERSIONS_OF_ACTION,
  code: z.string(),
  dependencies: DEPENDENCIES,
  runtime: z.string(),
  secrets: SECRETS,
  modules: MODULES.optional(),
  status: BUILD_STATUS,
  usher: z
    .strictObject({
      build_errors: z.array(BUILD_ERROR).optional().describe('Why it could not be built.'),
      runs_here: RUNS_HERE,
    })
    .optional(),
}).meta({ id: 'Action' });

export const ACTION_VERSION = VERSION_CONTENT.extend({ action: ACTION_BASE }).meta({ id: 'ActionVersion' });

export const BINDING = z
  .strictObject({
    id: z.string(),
    trigger_id: z.string(),
    display_name: z.string(),
    action: ACTION_BASE.extend(VERSIONS_OF_ACTION),
    secrets: SECRETS.optional(),
    created_at: NANO_DATE,
    updated_at: NANO_DATE,
    usher: POLICY.partial().extend({ on_error: z.enum(['deny', 'allow']).optional(), runs_here: RUNS_HERE }).optional(),
  })
  .meta({ id: 'ActionBinding' });

/** A list with Auth0's paging: `total` and `page` are left out when they are 0. */
export function listOf<N extends string, S extends z.ZodType>(name: N, item: S) {
  return z.strictObject({ total: z.int().optional(), page: z.int().optional(), per_page: z.int(), [name]: z.array(item) } as {
    total: z.ZodOptional<z.ZodInt>;
    page: z.ZodOptional<z.ZodInt>;
    per_page: z.ZodInt;
  } & { [K in N]: z.ZodArray<S> });
}

export const TRIGGERS_ANSWER = z.strictObject({
  triggers: z.array(
    z.strictObject({
      id: z.string(),
      version: z.string(),
      status: z.string(),
      runtimes: z.array(z.string()),
      default_runtime: z.string(),
      binding_policy: z.enum(['trigger-bound', 'entity-bound']),
      compatible_triggers: z.array(TRIGGER_REF),
    }),
  ),
});
