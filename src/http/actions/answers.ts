import type { z } from 'zod';
import { runsHere } from '../../domain/auth0-triggers.ts';
import { parsePolicy } from '../../domain/policy.ts';
import type { ActionWithVersion, Page } from '../../store/actions.ts';
import type { BindingOfAction } from '../../store/bindings.ts';
import { modulesOf } from '../../store/module-references.ts';
import type { Row } from '../../store/schema.ts';
import type { VersionOfAction } from '../../store/versions.ts';
import { policyAnswer } from './policy-settings.ts';
import type { ACTION, ACTION_VERSION, BINDING } from './schema.ts';

type Content = z.input<typeof ACTION>;
type BuildErrors = NonNullable<NonNullable<Content['usher']>['build_errors']>;
type Additions = NonNullable<z.input<typeof BINDING>['usher']>;

/** An Action with its draft. */
export function actionAnswer({ action, deployed }: ActionWithVersion): z.input<typeof ACTION> {
  return {
    ...actionBase(action),
    code: action.code,
    dependencies: JSON.parse(action.dependencies) as Content['dependencies'],
    runtime: action.runtime,
    status: action.build_status,
    secrets: JSON.parse(action.secret_names) as Content['secrets'],
    ...modulesIn(action),
    ...versionsOf(action, deployed),
    all_changes_deployed: allChangesDeployed(action, deployed),
    ...usherOf({
      ...(action.build_status === 'failed' ? { build_errors: errorsOf(action) } : {}),
      ...whereItRuns(action),
    }),
  };
}

/** The answer to a deploy: `deployed` is false in it, and true from the next read on. */
export function deployAnswer({ version, action }: VersionOfAction): z.input<typeof ACTION_VERSION> {
  return {
    ...versionContent(version),
    deployed: false,
    number: version.number,
    status: 'built',
    action: { ...actionBase(action), all_changes_deployed: false },
  };
}

/** A version, as it is listed and read. */
export function versionAnswer({ version, action }: VersionOfAction): z.input<typeof ACTION_VERSION> {
  const deployed = action.deployed_version_id === version.id;
  return {
    ...deployedVersion(version),
    deployed,
    action: { ...actionBase(action), all_changes_deployed: deployed && allChangesDeployed(action, version) },
  };
}

/** A binding. Of its Action it shows the versions, not the draft, and never that all changes are deployed. */
export function bindingAnswer({ binding, bound, secretNames }: BindingOfAction): z.input<typeof BINDING> {
  return {
    id: binding.id,
    trigger_id: binding.trigger_id,
    action: { ...actionBase(bound.action), ...versionsOf(bound.action, bound.deployed), all_changes_deployed: false },
    created_at: binding.created_at,
    updated_at: binding.updated_at,
    display_name: binding.display_name,
    ...(secretNames === null ? {} : { secrets: JSON.parse(secretNames) as Content['secrets'] }),
    ...usherOf({ ...settingsOf(binding), ...whereItRuns(bound.deployed ?? bound.action) }),
  };
}

/**
 * A list with Auth0's paging: `total` and `page` are left out when they are 0. `total` is also left out of a page behind
 * the last one: Terraform's provider asks for further pages until it is gone.
 */
export function listAnswer<N extends string, T>(name: N, items: T[], total: number, { page, perPage }: Page) {
  const list = { [name]: items } as { [K in N]: T[] };
  return { ...list, ...(items.length === 0 ? {} : { total }), ...(page === 0 ? {} : { page }), per_page: perPage };
}

function actionBase(action: Row<'action'>) {
  return {
    id: action.id,
    name: action.name,
    supported_triggers: [{ id: action.trigger_id, version: action.trigger_version }],
    created_at: action.created_at,
    updated_at: action.updated_at,
  };
}

/** The deployed version twice, in Auth0's two forms; also one that is deployed as soon as it is built. */
function versionsOf(action: Row<'action'>, deployed: Row<'action_version'> | null): Pick<Content, 'current_version' | 'deployed_version'> {
  if (deployed !== null) return { current_version: currentVersion(deployed, 'built'), deployed_version: deployedVersion(deployed) };
  if (action.deploy_version_id === null) return {};
  const coming = { ...action, id: action.deploy_version_id, number: 1 };
  return {
    current_version: currentVersion(coming, action.build_status),
    deployed_version: {
      ...versionContent(coming),
      deployed: action.build_status !== 'failed',
      number: 1,
      status: action.build_status,
      ...(action.build_status === 'failed' ? { errors: errorsOf(action) } : {}),
    },
  };
}

type VersionContent = Pick<Row<'action_version'>, 'id' | 'number' | 'code' | 'dependencies' | 'modules' | 'secret_names' | 'created_at' | 'updated_at' | 'runtime' | 'trigger_id' | 'trigger_version' | 'built_at'>;

function versionContent(version: VersionContent) {
  return {
    code: version.code,
    dependencies: JSON.parse(version.dependencies) as Content['dependencies'],
    id: version.id,
    secrets: JSON.parse(version.secret_names) as Content['secrets'],
    ...modulesIn(version),
    created_at: version.created_at,
    updated_at: version.updated_at,
    runtime: version.runtime,
    supported_triggers: [{ id: version.trigger_id, version: version.trigger_version }],
  };
}

function deployedVersion(version: VersionContent) {
  return { ...versionContent(version), deployed: true, number: version.number, built_at: version.built_at, status: 'built' as const };
}

/** Undocumented, but on the wire: the status in capitals, and `build_time` for `built_at`. */
function currentVersion(version: VersionContent, status: string) {
  return {
    id: version.id,
    code: version.code,
    runtime: version.runtime,
    status: status.toUpperCase(),
    number: version.number,
    ...(version.built_at === null ? {} : { build_time: version.built_at }),
    created_at: version.created_at,
    updated_at: version.updated_at,
  };
}

function allChangesDeployed(action: Row<'action'>, deployed: Row<'action_version'> | null): boolean {
  if (deployed === null) return action.deploy_version_id !== null && action.build_status !== 'failed';
  const content = ['code', 'runtime', 'dependencies', 'modules', 'secret_names', 'trigger_version'] as const;
  // What `latest` or a range brings shows only when the draft is built.
  const hasItsPackages = action.build_status !== 'built' || action.archive_key === deployed.archive_key;
  return hasItsPackages && content.every((column) => action[column] === deployed[column]);
}

/** Left out when there are none, as on the wire. */
function modulesIn(content: { modules: string }): Pick<Content, 'modules'> {
  const modules = modulesOf(content);
  return modules.length === 0 ? {} : { modules };
}

function settingsOf(binding: Row<'binding'>): Additions {
  switch (binding.trigger_id) {
    case 'pre-user-registration':
      return { on_error: binding.on_error };
    case 'post-user-registration':
      return policyAnswer(parsePolicy(binding.policy));
    default:
      return {};
  }
}

function whereItRuns({ trigger_id: id, trigger_version: version }: Pick<Row<'action'>, 'trigger_id' | 'trigger_version'>): { runs_here?: false } {
  return runsHere(id, version) ? {} : { runs_here: false };
}

/** Our own additions, left out when there are none. */
function usherOf<T extends object>(additions: T): { usher?: T } {
  return Object.keys(additions).length === 0 ? {} : { usher: additions };
}

function errorsOf(action: Row<'action'>): BuildErrors {
  return JSON.parse(action.build_errors) as BuildErrors;
}
