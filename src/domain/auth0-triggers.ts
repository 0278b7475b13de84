import { isTriggerId, TRIGGERS } from './triggers.ts';

/** One row of Auth0's answer to "which triggers are there". */
export interface Auth0Trigger {
  id: Auth0TriggerId;
  version: string;
  status: 'CURRENT' | 'DEPRECATED';
  runtimes: readonly string[];
  defaultRuntime: string;
  /** `entity-bound`: on Auth0 its Actions hang on something else, such as an event stream. */
  bindingPolicy: 'trigger-bound' | 'entity-bound';
  /** Older versions whose Actions can become Actions of this one. */
  compatible: readonly { id: Auth0TriggerId; version: string }[];
}

/** Auth0's ActionTriggerTypeEnum (contract §4.2). */
export const AUTH0_TRIGGER_IDS = [
  'post-login',
  'credentials-exchange',
  'pre-user-registration',
  'post-user-registration',
  'post-change-password',
  'send-phone-message',
  'custom-phone-provider',
  'custom-email-provider',
  'password-reset-post-challenge',
  'custom-token-exchange',
  'event-stream',
  'password-hash-migration',
  'login-post-identifier',
  'signup-post-identifier',
  'post-credential-validation',
] as const;

export type Auth0TriggerId = (typeof AUTH0_TRIGGER_IDS)[number];

/** Of the newest version where that is not `v1`. */
const NEWEST: Partial<Record<Auth0TriggerId, string>> = {
  'post-login': 'v3',
  'credentials-exchange': 'v2',
  'pre-user-registration': 'v2',
  'post-user-registration': 'v2',
  'post-change-password': 'v2',
  'send-phone-message': 'v2',
};

const ENTITY_BOUND: readonly Auth0TriggerId[] = ['custom-phone-provider', 'custom-email-provider', 'custom-token-exchange', 'event-stream', 'password-hash-migration'];

/**
 * Every trigger of Auth0 in each version, the newest first. The rows of the two user registrations are as they are on
 * the wire (contract §1.2); those of the others are made after them, since no public source has them all.
 */
export const AUTH0_TRIGGERS: readonly Auth0Trigger[] = AUTH0_TRIGGER_IDS.flatMap(rowsOf);

/** Runtimes of existing Actions that Auth0 takes for no new one; kept for what never runs here. */
const FORMER_RUNTIMES = ['node12', 'node16', 'node18'];

/** The newest version of a trigger: what an Action is for that names none. */
export function newestVersionOf(id: Auth0TriggerId): string {
  return NEWEST[id] ?? 'v1';
}

/** What Auth0 says of a trigger in one version; undefined when there is no such version. */
export function findAuth0Trigger(id: string, version: string): Auth0Trigger | undefined {
  return AUTH0_TRIGGERS.find((row) => row.id === id && row.version === version);
}

/** True when Actions of this trigger and version run here. Others are kept, so that a whole export can be imported. */
export function runsHere(id: string, version: string): boolean {
  return isTriggerId(id) && TRIGGERS[id].version === version;
}

/** The runtimes that an Action of this trigger and version may name. */
export function runtimesOf({ id, version, runtimes }: Auth0Trigger): readonly string[] {
  return runsHere(id, version) ? runtimes : [...new Set([...runtimes, ...TRIGGERS['post-user-registration'].runtimes, ...FORMER_RUNTIMES])];
}

function rowsOf(id: Auth0TriggerId): Auth0Trigger[] {
  const newest = Number(newestVersionOf(id).slice(1));
  const versions = Array.from({ length: newest }, (_, index) => newest - index);
  return versions.map((version) => {
    const isFirst = version === 1 && newest > 1;
    return {
      id,
      version: `v${version}`,
      status: version === newest ? 'CURRENT' : 'DEPRECATED',
      runtimes: isFirst ? ['node22'] : ['node18-actions', 'node22'],
      defaultRuntime: isFirst ? 'node12' : 'node22',
      bindingPolicy: ENTITY_BOUND.includes(id) ? 'entity-bound' : 'trigger-bound',
      compatible: version === 3 ? [{ id, version: 'v2' }] : [],
    };
  });
}
