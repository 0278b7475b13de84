import { z } from 'zod';
import { LIMITS } from '../../domain/limits.ts';
import { isTriggerId, TRIGGERS } from '../../domain/triggers.ts';
import type { DraftInput } from '../../store/actions.ts';
import { managementError } from '../../domain/api-error.ts';
import { FLAG, pageQuery } from '../schema/common.ts';

/** Auth0's ActionTriggerTypeEnum with the version that it takes when none is named. Two of them run here. */
const TRIGGER_VERSIONS = {
  'post-login': 'v3',
  'credentials-exchange': 'v2',
  'pre-user-registration': 'v2',
  'post-user-registration': 'v2',
  'post-change-password': 'v2',
  'send-phone-message': 'v2',
  'custom-phone-provider': 'v1',
  'custom-email-provider': 'v1',
  'password-reset-post-challenge': 'v1',
  'custom-token-exchange': 'v1',
  'event-stream': 'v1',
  'password-hash-migration': 'v1',
  'login-post-identifier': 'v1',
  'signup-post-identifier': 'v1',
  'post-credential-validation': 'v1',
} as const;

type AnyTriggerId = keyof typeof TRIGGER_VERSIONS;

export const TRIGGER_ID = z.enum(Object.keys(TRIGGER_VERSIONS) as [AnyTriggerId, ...AnyTriggerId[]]);

/** `installed` selects Actions from the Marketplace, of which there are none. */
export const LIST_ACTIONS_QUERY = pageQuery(20).extend({
  triggerId: TRIGGER_ID.optional(),
  actionName: z.string().max(255).optional(),
  deployed: FLAG.optional(),
  installed: FLAG.optional(),
});

export const DELETE_ACTION_QUERY = z.strictObject({ force: FLAG.default(false) });
/** Auth0's clients send `null` for the defaults. */
export const DEPLOY_VERSION_BODY = z.strictObject({ update_draft: z.boolean().default(false) }).nullable().transform((body) => body ?? { update_draft: false });

/** Clients send back what they have read, so that everything that describes a trigger is allowed, and ignored. */
const TRIGGER = z.strictObject({
  id: TRIGGER_ID,
  version: z.string().regex(/^v\d+$/).optional(),
  status: z.unknown().optional(),
  runtimes: z.unknown().optional(),
  default_runtime: z.unknown().optional(),
  compatible_triggers: z.unknown().optional(),
  binding_policy: z.unknown().optional(),
});

/** What is not a version, range or tag of the registry is refused by the build, with npm's own reading of it. */
const DEPENDENCY = z.strictObject({
  name: z.string().min(1).max(214),
  version: z.string().max(256).default('latest'),
  // Installing a package of the same name from elsewhere would be worse than a refusal.
  registry_url: z.string().refine((url) => url === '', { message: 'Private registries are not supported' }).nullish(),
}).transform(({ name, version }) => ({ name, version: version.trim() || 'latest' }));

const SECRET = z.strictObject({
  name: z.string().min(1).max(LIMITS.secretNameChars),
  value: z.string().max(LIMITS.secretValueChars).optional(),
});

const NOT_YET = z.array(z.unknown()).max(0);

const DRAFT = {
  name: z.string().trim().min(1).max(255),
  supported_triggers: z.array(TRIGGER).min(1).max(1),
  code: z.string().refine((code) => Buffer.byteLength(code) <= LIMITS.codeBytes, {
    message: `Code is larger than ${LIMITS.codeBytes / 1024} kB`,
  }),
  runtime: z.string().max(64),
  dependencies: z.array(DEPENDENCY).max(LIMITS.dependenciesPerAction).refine(namesAreUnique, { message: 'A dependency is named twice' }),
  secrets: z.array(SECRET).max(LIMITS.secretsPerAction).refine(namesAreUnique, { message: 'A secret is named twice' }),
  /** Modules that Actions share do not exist here yet. */
  modules: NOT_YET.optional(),
};

export const CREATE_ACTION_BODY = z.strictObject({
  ...DRAFT,
  code: DRAFT.code.default(''),
  runtime: DRAFT.runtime.default('node22'),
  dependencies: DRAFT.dependencies.default([]),
  secrets: DRAFT.secrets.default([]),
  deploy: z.boolean().default(false),
});

export const UPDATE_ACTION_BODY = z.strictObject(DRAFT).partial();

const BINDING = z.strictObject({
  ref: z.strictObject({ type: z.enum(['binding_id', 'action_id', 'action_name']), value: z.string().min(1).max(255) }),
  display_name: z.string().max(255).optional(),
  secrets: NOT_YET.optional(),
  /** Ours, as in the answers. */
  usher: z.strictObject({ on_error: z.enum(['deny', 'allow']).optional(), on_failure: z.enum(['continue', 'wait']).optional() }).default({}),
});

export const BINDINGS_BODY = z.strictObject({ bindings: z.array(BINDING) });

function namesAreUnique(entries: { name: string }[]): boolean {
  return new Set(entries.map((entry) => entry.name)).size === entries.length;
}

/** @throws {ApiError} 400 when Usher runs the trigger, but not in this version: the handler would get arguments that it does not know. */
export function readTrigger([trigger]: z.output<typeof DRAFT.supported_triggers>): DraftInput['trigger'] {
  const { id, version = TRIGGER_VERSIONS[id] } = trigger!;
  if (isTriggerId(id) && version !== TRIGGERS[id].version) {
    throw managementError(400, `version ${version} of trigger ${id} is not supported, supported versions: ${TRIGGERS[id].version}`);
  }
  return { id, version };
}

/** @throws {ApiError} 400 in Auth0's words when there is no such runtime. */
export function readRuntime(runtime: string): string {
  const { runtimes } = TRIGGERS['post-user-registration'];
  if (runtimes.includes(runtime)) return runtime;
  throw managementError(400, `runtime not supported for this trigger, supported runtimes: ${runtimes.join(', ')}`);
}
