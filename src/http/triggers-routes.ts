import { Router } from 'express';
import { TRIGGERS } from '../domain/triggers.ts';
import { EMPTY } from './actions-schema.ts';
import type { Auth } from './auth.ts';
import { parseQuery } from './validation.ts';

const ALWAYS = { binding_policy: 'trigger-bound', compatible_triggers: [] };

/** The rows of Auth0's own answer for the triggers that run here (contract §1.2), the deprecated version included. */
const TRIGGER_ROWS = Object.values(TRIGGERS).toReversed().flatMap(({ id, version, runtimes, defaultRuntime }) => [
  { id, version, status: 'CURRENT', runtimes, default_runtime: defaultRuntime, ...ALWAYS },
  { id, version: 'v1', status: 'DEPRECATED', runtimes: ['node22'], default_runtime: 'node12', ...ALWAYS },
]);

/** `GET /triggers` below `/api/v2/actions`. */
export function triggersRoutes({ auth }: { auth: Auth }): Router {
  const router = Router();

  router.get('/triggers', auth.requireScope('read:actions'), (req, res) => {
    parseQuery(EMPTY, req.query);
    res.json({ triggers: TRIGGER_ROWS });
  });

  return router;
}
