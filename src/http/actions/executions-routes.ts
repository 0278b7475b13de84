import { z } from 'zod';
import { managementError } from '../../domain/api-error.ts';
import type { StoredExecution } from '../../store/executions.ts';
import type { ReadLedger } from '../../store/ledger-read.ts';
import { type Route, route } from '../endpoint.ts';
import { preExecutionBody, registrationBody } from './execution-body.ts';
import { EXECUTION } from './execution-schema.ts';

export interface ExecutionsRoutesDeps {
  ledger: Pick<ReadLedger, 'readRegistration'>;
  readPreExecution: (id: string) => Promise<StoredExecution | null>;
}

/** Executions of both triggers. */
export function executionsRoutes({ ledger, readPreExecution }: ExecutionsRoutesDeps): Route[] {
  return [
    route(
      {
        operationId: 'get_execution',
        method: 'get',
        path: '/api/v2/actions/executions/{id}',
        summary: 'Get what the run of a trigger did',
        tag: 'actions',
        scopes: ['read:actions'],
        params: z.strictObject({ id: z.string().max(100) }),
        returns: EXECUTION,
        errors: [404],
      },
      async ({ params: { id } }) => {
        const registration = await ledger.readRegistration(id);
        if (registration !== null) return registrationBody(registration);
        const execution = await readPreExecution(id);
        if (execution === null) throw managementError(404, 'That execution does not exist.');
        return preExecutionBody(execution);
      },
    ),
  ];
}
