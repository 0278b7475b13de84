import { z } from 'zod';
import { isPublished, type ModuleWithVersion } from '../../store/modules.ts';
import type { Row } from '../../store/schema.ts';
import { NANO_DATE } from '../schema/common.ts';
import { CODE, DEPENDENCIES as DEPENDENCIES_REQUEST, NAME, SECRETS as SECRETS_REQUEST } from './requests.ts';
import { DEPENDENCIES, SECRETS } from './schema.ts';

/*
 * Modules: what requests may say, and what is answered (contract §4.2). Unlike other lists of Actions, those of modules
 * have `total` and `page` also when they are 0.
 */

const CONTENT = { code: CODE, dependencies: DEPENDENCIES_REQUEST, secrets: SECRETS_REQUEST };

export const CREATE_MODULE_BODY = z.strictObject({
  ...CONTENT,
  name: NAME,
  dependencies: CONTENT.dependencies.default([]),
  secrets: CONTENT.secrets.default([]),
  api_version: z.string().max(64).optional().describe('Means nothing here.'),
  publish: z.boolean().default(false),
});

export const UPDATE_MODULE_BODY = z.strictObject(CONTENT).partial();

export const ROLLBACK_BODY = z.strictObject({ module_version_id: z.string().max(64) });

const VERSION_REFERENCE = z.strictObject({ id: z.string(), version_number: z.int(), code: z.string(), dependencies: DEPENDENCIES, secrets: SECRETS, created_at: NANO_DATE });

export const MODULE_VERSION = VERSION_REFERENCE.extend({ module_id: z.string() }).meta({ id: 'ActionModuleVersion' });

const MODULE_ITEM = z.strictObject({
  id: z.string(),
  name: z.string(),
  code: z.string(),
  dependencies: DEPENDENCIES,
  secrets: SECRETS,
  actions_using_module_total: z.int(),
  all_changes_published: z.boolean(),
  latest_version_number: z.int().optional(),
  created_at: NANO_DATE,
  updated_at: NANO_DATE,
});

export const MODULE = MODULE_ITEM.extend({ latest_version: VERSION_REFERENCE.optional() }).meta({ id: 'ActionModule' });

export const MODULE_USE = z.strictObject({
  action_id: z.string(),
  action_name: z.string(),
  module_version_id: z.string(),
  module_version_number: z.int(),
  supported_triggers: z.array(z.strictObject({ id: z.string(), version: z.string() })),
});

const PAGED = { total: z.int(), page: z.int(), per_page: z.int() };

export const MODULES = z.strictObject({ modules: z.array(MODULE_ITEM), ...PAGED });
export const MODULE_VERSIONS = z.strictObject({ versions: z.array(MODULE_VERSION), ...PAGED });
export const MODULE_USES = z.strictObject({ actions: z.array(MODULE_USE), ...PAGED });

/** A module in a list. */
export function moduleItem({ module, latest, uses }: ModuleWithVersion): z.input<typeof MODULE_ITEM> {
  return {
    id: module.id,
    name: module.name,
    ...contentOf(module),
    actions_using_module_total: uses,
    all_changes_published: latest !== null && isPublished(module, latest),
    ...(latest === null ? {} : { latest_version_number: latest.number }),
    created_at: module.created_at,
    updated_at: module.updated_at,
  };
}

/** A module by itself. */
export function moduleAnswer(found: ModuleWithVersion): z.input<typeof MODULE> {
  return { ...moduleItem(found), ...(found.latest === null ? {} : { latest_version: versionReference(found.latest) }) };
}

/** A version of a module. */
export function moduleVersionAnswer(version: Row<'action_module_version'>): z.input<typeof MODULE_VERSION> {
  return { ...versionReference(version), module_id: version.module_id };
}

function versionReference(version: Row<'action_module_version'>): z.input<typeof VERSION_REFERENCE> {
  return { id: version.id, version_number: version.number, ...contentOf(version), created_at: version.created_at };
}

function contentOf({ code, dependencies, secret_names: secrets }: Pick<Row<'action_module'>, 'code' | 'dependencies' | 'secret_names'>) {
  return {
    code,
    dependencies: JSON.parse(dependencies) as z.input<typeof DEPENDENCIES>,
    secrets: JSON.parse(secrets) as z.input<typeof SECRETS>,
  };
}
