/** The two triggers that run here, by Auth0's ids. Actions of other triggers are kept, see `auth0-triggers.ts`. */
export type TriggerId = 'pre-user-registration' | 'post-user-registration';

/** What a trigger calls in an Action and what it offers there; source: Auth0's trigger pages and types (v2). */
export interface Trigger {
  id: TriggerId;
  version: 'v2';
  /** Name of the exported handler, e.g. `onExecutePostUserRegistration`. */
  handler: string;
  runtimes: readonly string[];
  defaultRuntime: string;
}

const RUNTIMES = ['node18-actions', 'node22'] as const;

export const TRIGGERS: Record<TriggerId, Trigger> = {
  'pre-user-registration': {
    id: 'pre-user-registration',
    version: 'v2',
    handler: 'onExecutePreUserRegistration',
    runtimes: RUNTIMES,
    defaultRuntime: 'node22',
  },
  'post-user-registration': {
    id: 'post-user-registration',
    version: 'v2',
    handler: 'onExecutePostUserRegistration',
    runtimes: RUNTIMES,
    defaultRuntime: 'node22',
  },
};

/** True when `id` names a trigger that runs here. */
export function isTriggerId(id: string): id is TriggerId {
  return Object.hasOwn(TRIGGERS, id);
}
