import { AUTH0_TRIGGERS } from '../../domain/auth0-triggers.ts';
import { type Route, route } from '../endpoint.ts';
import { TRIGGERS_ANSWER } from './schema.ts';

const TRIGGER_ROWS = AUTH0_TRIGGERS.map(({ id, version, status, runtimes, defaultRuntime, bindingPolicy, compatible }) => ({
  id,
  version,
  status,
  runtimes: [...runtimes],
  default_runtime: defaultRuntime,
  binding_policy: bindingPolicy,
  compatible_triggers: [...compatible],
}));

/** All of Auth0's triggers, also those that do not run here: tools export the bindings of what they find in this list. */
export function triggersRoutes(): Route[] {
  return [
    route(
      { operationId: 'get_triggers', method: 'get', path: '/api/v2/actions/triggers', summary: 'List triggers', tag: 'actions', scopes: ['read:actions'], returns: TRIGGERS_ANSWER },
      () => Promise.resolve({ triggers: TRIGGER_ROWS }),
    ),
  ];
}
