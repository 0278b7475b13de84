import { z } from 'zod';
import { AUTH0_TRIGGER_IDS, AUTH0_TRIGGERS, findAuth0Trigger, newestVersionOf } from '../../domain/auth0-triggers.ts';
import { LIMITS } from '../../domain/limits.ts';
import type { DraftInput } from '../../store/actions.ts';
import { managementError } from '../../domain/api-error.ts';
import { FLAG, pageQuery } from '../schema/common.ts';
import { POLICY_CHANGE } from './policy-settings.ts';

export const TRIGGER_ID = z.enum(AUTH0_TRIGGER_IDS);

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
  // The public registry is where they come from anyway. Installing a package of the same name from there that was meant to
  // come from elsewhere would be worse than a refusal.
  registry_url: z.string().regex(/^(https:\/\/(registry\.npmjs\.org|www\.npmjs\.com)(\/.*)?)?$/).nullish(),
}).transform(({ name, version }) => ({ name, version: version.trim() || 'latest' }));

const SECRET = z.strictObject({
  name: z.string().min(1).max(LIMITS.secretNameChars),
  value: z.string().max(LIMITS.secretValueChars).optional(),
});

export const SECRETS = z.array(SECRET).max(LIMITS.secretsPerAction).refine(namesAreUnique, { message: 'A secret is named twice' });

export const NAME = z.string().min(1).max(255).regex(/\S/).transform((name) => name.trim());

export const CODE = z.string().max(LIMITS.codeBytes).refine((code) => Buffer.byteLength(code) <= LIMITS.codeBytes, {
  message: `Code is larger than ${LIMITS.codeBytes / 1024} kB`,
});

export const DEPENDENCIES = z.array(DEPENDENCY).max(LIMITS.dependenciesPerAction).refine(namesAreUnique, { message: 'A dependency is named twice' });

const MODULES = z
  .array(
    z.strictObject({
      module_id: z.string().max(64).optional(),
      module_name: z.string().max(255).optional(),
      module_version_id: z.string().max(64).optional(),
      module_version_number: z.int().min(1).optional(),
    }),
  )
  .max(LIMITS.modulesPerAction);

const DRAFT = {
  name: NAME,
  supported_triggers: z.array(TRIGGER).min(1).max(1),
  code: CODE,
  runtime: z.string().max(64),
  dependencies: DEPENDENCIES,
  secrets: SECRETS,
  modules: MODULES,
};

export const CREATE_ACTION_BODY = z.strictObject({
  ...DRAFT,
  code: DRAFT.code.default(''),
  runtime: DRAFT.runtime.default('node22'),
  dependencies: DRAFT.dependencies.default([]),
  secrets: DRAFT.secrets.default([]),
  modules: DRAFT.modules.default([]),
  deploy: z.boolean().default(false),
});

export const UPDATE_ACTION_BODY = z.strictObject(DRAFT).partial();

const BINDING = z.strictObject({
  ref: z.strictObject({ type: z.enum(['binding_id', 'action_id', 'action_name']), value: z.string().min(1).max(255) }),
  display_name: z.string().max(255).optional(),
  /** Of this binding alone; they win over the Action's. Left out, those that are stored stay. */
  secrets: SECRETS.optional(),
  /** Ours, as in the answers, which can be sent back as they were read. */
  usher: POLICY_CHANGE.extend({ on_error: z.enum(['deny', 'allow']).optional(), runs_here: z.unknown().optional() }).default({}),
});

export const BINDINGS_BODY = z.strictObject({ bindings: z.array(BINDING).max(LIMITS.bindingsPerTrigger) });

function namesAreUnique(entries: { name: string }[]): boolean {
  return new Set(entries.map((entry) => entry.name)).size === entries.length;
}

/** @throws {ApiError} 400 when Auth0 has no such version of the trigger. */
export function readTrigger([trigger]: z.output<typeof DRAFT.supported_triggers>): DraftInput['trigger'] {
  const { id, version = newestVersionOf(id) } = trigger!;
  if (findAuth0Trigger(id, version) !== undefined) return { id, version };
  const versions = AUTH0_TRIGGERS.filter((row) => row.id === id).map((row) => row.version);
  throw managementError(400, `version ${version} of trigger ${id} is not supported, supported versions: ${versions.join(', ')}`);
}
