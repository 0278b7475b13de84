import type { ApiCommand, CacheChange, CacheSnapshot } from '../../domain/invocation.ts';
import type { TriggerId } from '../../domain/triggers.ts';
import { createCacheApi } from './cache.ts';

export interface ApiCalls {
  command: (command: ApiCommand) => void;
  cacheChange: (change: CacheChange) => void;
}

/** Where each part of Auth0's `api` lives, so that wrong use can say what is right. */
const OTHER_TRIGGERS: Record<string, string> = {
  access: 'pre-user-registration (and post-login)',
  validation: 'pre-user-registration',
  user: 'pre-user-registration (and post-login)',
  accessToken: 'post-login',
  authentication: 'post-login',
  idToken: 'post-login',
  multifactor: 'post-login',
  prompt: 'post-login',
  redirect: 'post-login',
  refreshToken: 'post-login',
  rules: 'post-login',
  samlResponse: 'post-login',
  session: 'post-login',
};

/**
 * The `api` of a trigger, as Auth0 gives it to the handler (contract §1.4, §2). Nothing happens here: calls are noted
 * and carried out by the parent once the Action has ended well.
 */
export function createApi(triggerId: TriggerId, cache: CacheSnapshot, calls: ApiCalls): object {
  const api: Record<string, unknown> = { cache: createCacheApi(cache, calls.cacheChange) };
  if (triggerId === 'pre-user-registration') addRegistrationCommands(api, calls);
  for (const [namespace, home] of Object.entries(OTHER_TRIGGERS)) {
    if (!Object.hasOwn(api, namespace)) {
      const value = misplaced(namespace, home, triggerId);
      Object.defineProperty(api, namespace, { value, enumerable: false });
    }
  }
  return api;
}

function addRegistrationCommands(api: Record<string, unknown>, { command }: ApiCalls): void {
  const setMetadata = (kind: 'user.setUserMetadata' | 'user.setAppMetadata') => (key: unknown, value: unknown) => {
    command({ kind, key: text(`api.${kind}`, 'key', key), value: json(`api.${kind}`, value) });
    return api;
  };
  api['access'] = {
    deny: (reason: unknown, userMessage: unknown = '') => {
      const name = 'api.access.deny';
      command({ kind: 'access.deny', reason: text(name, 'reason', reason), userMessage: text(name, 'userMessage', userMessage) });
      return api;
    },
  };
  api['validation'] = {
    error: (errorCode: unknown, errorMessage: unknown) => {
      if (typeof errorCode !== 'string' || typeof errorMessage !== 'string') {
        throw new TypeError('Failed to add validation error: api.validation.error(errorCode, errorMessage) takes two strings.');
      }
      command({ kind: 'validation.error', errorCode, errorMessage });
      return api;
    },
  };
  api['user'] = {
    setUserMetadata: setMetadata('user.setUserMetadata'),
    setAppMetadata: setMetadata('user.setAppMetadata'),
  };
}

function misplaced(namespace: string, home: string, triggerId: TriggerId): object {
  const deny = (method: string) => (): never => {
    throw new TypeError(
      `api.${namespace}.${method} is not available in ${triggerId}: it belongs to the trigger ${home}.`,
    );
  };
  return new Proxy(Object.freeze({}), {
    get: (_target, method) => (typeof method === 'string' ? deny(method) : undefined),
  });
}

function text(method: string, name: string, given: unknown): string {
  if (typeof given !== 'string') throw new TypeError(`${method}: ${name} must be a string, not ${typeof given}.`);
  return given;
}

/** A copy as of now; what JSON leaves out of an object is left out, and nothing at all means null (removal). */
function json(method: string, value: unknown): unknown {
  try {
    return JSON.parse(JSON.stringify(value ?? null) ?? 'null');
  } catch (cause) {
    throw new TypeError(`${method}: the value cannot be written as JSON.`, { cause });
  }
}
