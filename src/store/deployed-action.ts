import { DEFAULT_STEP_POLICY, parsePolicy } from '../domain/policy.ts';
import { TRIGGERS } from '../domain/triggers.ts';
import type { BoundAction } from './bindings.ts';
import type { Queryable } from './database.ts';

/**
 * Reads the version of an Action that is deployed now, with the policy of its binding, or the defaults where it is not
 * bound (its `bindingId` is empty then).
 *
 * @returns null when no version of it is deployed that post-user-registration could run.
 */
export async function readDeployedAction(tx: Queryable, actionId: string): Promise<BoundAction | null> {
  return boundAction(await deployed(tx, actionId).executeTakeFirst());
}

/** The same; nobody else who locks it so, deploys or deletes it comes in between until `tx` ends. */
export async function lockDeployedAction(tx: Queryable, actionId: string): Promise<BoundAction | null> {
  return boundAction(await deployed(tx, actionId).forUpdate('action').executeTakeFirst());
}

function deployed(tx: Queryable, actionId: string) {
  return tx.selectFrom('action')
    .innerJoin('action_version', 'action_version.id', 'action.deployed_version_id')
    .leftJoin('binding', 'binding.action_id', 'action.id')
    .select([
      'action.id as actionId',
      'action.name as actionName',
      'action_version.id as versionId',
      'action_version.number as versionNumber',
      'binding.id as bindingId',
      'binding.secrets_id as bindingSecretsId',
      'binding.policy as policy',
    ])
    .where('action.id', '=', actionId)
    .where('action_version.trigger_id', '=', 'post-user-registration')
    .where('action_version.trigger_version', '=', TRIGGERS['post-user-registration'].version);
}

function boundAction(row: Awaited<ReturnType<ReturnType<typeof deployed>['executeTakeFirst']>>): BoundAction | null {
  if (row === undefined) return null;
  const { bindingId, policy } = row;
  return { ...row, bindingId: bindingId ?? '', policy: policy === null ? DEFAULT_STEP_POLICY : parsePolicy(policy), onError: 'deny' };
}
