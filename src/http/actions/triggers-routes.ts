import { TRIGGERS } from '../../domain/triggers.ts';
import { type Route, route } from '../endpoint.ts';
import { TRIGGERS_ANSWER } from './schema.ts';

const ALWAYS = { binding_policy: 'trigger-bound' as const, compatible_triggers: [] };

/** The rows of Auth0's own answer for the triggers that run here (contract §1.2), the deprecated version included. */
const TRIGGER_ROWS = Object.values(TRIGGERS).toReversed().flatMap(({ id, version, runtimes, defaultRuntime }) => [
  { id, version, status: 'CURRENT', runtimes: [...runtimes], default_runtime: defaultRuntime, ...ALWAYS },
  { id, version: 'v1', status: 'DEPRECATED', runtimes: ['node22'], default_runtime: 'node12', ...ALWAYS },
]);

/** The triggers that run here. */
export function triggersRoutes(): Route[] {
  return [
    route(
      { operationId: 'get_triggers', method: 'get', path: '/api/v2/actions/triggers', summary: 'List triggers', tag: 'actions', scopes: ['read:actions'], returns: TRIGGERS_ANSWER },
      () => Promise.resolve({ triggers: TRIGGER_ROWS }),
    ),
  ];
}
