import { newId } from '../domain/ids.ts';
import type { BoundAction } from './bindings.ts';
import type { NewRow } from './schema.ts';

/** The step of an Action that a registration is to run, as it is before its first attempt. @param redrives above 0: it goes after first attempts. */
export function newStep(registrationId: string, position: number, action: BoundAction, redrives = 0): NewRow<'step'> {
  return {
    id: newId(),
    registration_id: registrationId,
    position,
    action_id: action.actionId,
    action_name: action.actionName,
    binding_id: action.bindingId,
    version_id: action.versionId,
    version_number: action.versionNumber,
    binding_secrets_id: action.bindingSecretsId,
    policy: JSON.stringify(action.policy),
    run: 1,
    state: 'pending',
    phase: 'quick',
    counted: 0,
    last_attempt: 0,
    redrives,
  };
}
