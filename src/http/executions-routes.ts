import { Router } from 'express';
import { z } from 'zod';
import type { StoredExecution } from '../store/executions.ts';
import type { ReadLedger } from '../store/ledger-read.ts';
import { managementError } from '../domain/api-error.ts';
import type { Auth } from './auth.ts';
import { preExecutionBody, registrationBody } from './execution-body.ts';
import { parsePath, parseQuery } from './validation.ts';

export interface ExecutionsRoutesDeps {
  auth: Auth;
  ledger: Pick<ReadLedger, 'readRegistration'>;
  readPreExecution: (id: string) => Promise<StoredExecution | null>;
}

/** `GET /executions/{id}` below `/api/v2/actions`, for the executions of both triggers. */
export function executionsRoutes({ auth, ledger, readPreExecution }: ExecutionsRoutesDeps): Router {
  const router = Router();

  router.get('/executions/:id', auth.requireScope('read:actions'), async (req, res) => {
    parseQuery(z.strictObject({}), req.query);
    const { id } = parsePath(z.object({ id: z.string().max(100) }), req.params);
    const registration = await ledger.readRegistration(id);
    if (registration !== null) {
      res.json(registrationBody(registration));
      return;
    }
    const execution = await readPreExecution(id);
    if (execution === null) throw managementError(404, 'That execution does not exist.');
    res.json(preExecutionBody(execution));
  });

  return router;
}
