import type { z } from 'zod';
import type { StepPolicy } from '../../domain/policy.ts';
import type { ActionWithVersion, Page } from '../../store/actions.ts';
import type { BindingOfAction } from '../../store/bindings.ts';
import type { Row } from '../../store/schema.ts';
import type { VersionOfAction } from '../../store/versions.ts';
import type { ACTION, ACTION_VERSION, BINDING } from './schema.ts';

type Content = z.input<typeof ACTION>;
type BuildErrors = NonNullable<Content['usher']>['build_errors'];

/** An Action with its draft. */
export function actionAnswer({ action, deployed }: ActionWithVersion): z.input<typeof ACTION> {
  return {
    ...actionBase(action),
    code: action.code,
    dependencies: JSON.parse(action.dependencies) as Content['dependencies'],
    runtime: action.runtime,
    status: action.build_status,
    secrets: JSON.parse(action.secret_names) as Content['secrets'],
    ...versionsOf(action, deployed),
    all_changes_deployed: allChangesDeployed(action, deployed),
    ...(action.build_status === 'failed' ? { usher: { build_errors: JSON.parse(action.build_errors) as BuildErrors } } : {}),
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
export function bindingAnswer({ binding, bound }: BindingOfAction): z.input<typeof BINDING> {
  return {
    id: binding.id,
    trigger_id: binding.trigger_id,
    action: { ...actionBase(bound.action), ...versionsOf(bound.action, bound.deployed), all_changes_deployed: false },
    created_at: binding.created_at,
    updated_at: binding.updated_at,
    display_name: binding.display_name,
    ...settingsOf(binding),
  };
}

/** A list with Auth0's paging: `total` and `page` are left out when they are 0. */
export function listAnswer<N extends string, T>(name: N, items: T[], total: number, { page, perPage }: Page) {
  const list = { [name]: items } as { [K in N]: T[] };
  return { ...list, ...(total === 0 ? {} : { total }), ...(page === 0 ? {} : { page }), per_page: perPage };
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
    deployed_version: { ...versionContent(coming), deployed: true, number: 1, status: action.build_status },
  };
}

type VersionContent = Pick<Row<'action_version'>, 'id' | 'number' | 'code' | 'dependencies' | 'secret_names' | 'created_at' | 'updated_at' | 'runtime' | 'trigger_id' | 'trigger_version' | 'built_at'>;

function versionContent(version: VersionContent) {
  return {
    code: version.code,
    dependencies: JSON.parse(version.dependencies) as Content['dependencies'],
    id: version.id,
    secrets: JSON.parse(version.secret_names) as Content['secrets'],
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
  if (deployed === null) return action.deploy_version_id !== null;
  const content = ['code', 'runtime', 'dependencies', 'secret_names', 'trigger_version'] as const;
  return content.every((column) => action[column] === deployed[column]);
}

function settingsOf(binding: Row<'binding'>): Pick<z.input<typeof BINDING>, 'usher'> {
  switch (binding.trigger_id) {
    case 'pre-user-registration':
      return { usher: { on_error: binding.on_error } };
    case 'post-user-registration':
      return { usher: { on_failure: (JSON.parse(binding.policy) as StepPolicy).onFailure } };
    default:
      return {};
  }
}
