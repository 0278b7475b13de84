import { managementError } from '../../domain/api-error.ts';
import type { BulkTask } from '../../domain/bulk-operation.ts';
import { readAction } from '../../store/actions.ts';
import type { BulkOperationStore } from '../../store/bulk-operations.ts';
import type { BulkSubjects } from '../../store/bulk-subjects.ts';
import type { Database } from '../../store/database.ts';
import type { ExecutionFilter } from '../../store/execution-filter.ts';
import { type Route, route } from '../endpoint.ts';
import { ID_PATH } from '../schema/common.ts';
import { operationAnswer, readFilter, readTask } from './operation-body.ts';
import { DRY_RUN, ITEMS, ITEMS_QUERY, OPERATION, OPERATION_BODY, OPERATIONS, OPERATIONS_QUERY, RETRY_WITH_DEPLOYED_BODY } from './operations-schema.ts';

export interface OperationsRoutesDeps {
  database: Pick<Database, 'db'>;
  operations: BulkOperationStore;
  subjects: Pick<BulkSubjects, 'count'>;
  /** Called when there is something new to do. */
  wakeBulk: () => void;
}

const PATH = '/usher/operations';

/** Running many things again, and stopping many: docs/bulk-operations.md. */
export function operationsRoutes({ database: { db }, operations, subjects, wakeBulk }: OperationsRoutesDeps): Route[] {
  interface Start {
    task: BulkTask;
    filter: ExecutionFilter;
    rate: number;
    dry_run: boolean;
  }

  async function start({ task, filter, rate, dry_run: isDryRun }: Start, clientId: string) {
    const createdAt = Date.now();
    const { total, sample } = await subjects.count({ task, filter, createdAt });
    if (isDryRun) return { dry_run: true as const, total, sample };
    const operation = await operations.create({ task, filter, rate, total, createdBy: clientId, createdAt });
    wakeBulk();
    return operationAnswer(operation);
  }

  function stateRoute(verb: 'pause' | 'resume' | 'cancel', state: 'paused' | 'running' | 'cancelled', summary: string): Route {
    return route(
      {
        operationId: `${verb}_operation`,
        method: 'post',
        path: `${PATH}/{id}/${verb}`,
        summary,
        description: 'Asked for again, it changes nothing.',
        tag: 'operations',
        scopes: ['update:executions'],
        params: ID_PATH,
        returns: OPERATION,
        errors: [404, 409],
        ours: true,
      },
      async ({ params, token }) => {
        const operation = await operations.setState(params.id, state, token.clientId);
        wakeBulk();
        return operationAnswer(operation);
      },
    );
  }

  return [
    route(
      {
        operationId: 'post_operation',
        method: 'post',
        path: PATH,
        summary: 'Ask something of many registrations',
        description: 'Those that match the filter and are there now, one after the other. With `dry_run` it only says how many.',
        tag: 'operations',
        scopes: ['update:executions'],
        body: OPERATION_BODY,
        status: 202,
        returns: OPERATION.or(DRY_RUN),
        errors: [404, 409],
        ours: true,
      },
      async ({ body, token }) => {
        const filter = readFilter(body.filter);
        if (Object.keys(filter).length === 0 && !body.all) throw managementError(400, 'The filter is empty. Say `"all": true` if you mean every registration.', 'invalid_body');
        const task = readTask(body);
        if (task.kind === 'backfill') await mustBeDeployed(task.actionId);
        return await start({ ...body, task, filter }, token.clientId);
      },
    ),
    route(
      {
        operationId: 'retry_action_with_deployed',
        method: 'post',
        path: '/usher/actions/{id}/retry-with-deployed',
        summary: 'Run the waiting and the failed steps of an Action with the version that is deployed now',
        description: 'A redrive of `waiting-and-failed` steps; what is blocked behind them comes along.',
        tag: 'operations',
        scopes: ['update:executions'],
        params: ID_PATH,
        body: RETRY_WITH_DEPLOYED_BODY,
        status: 202,
        returns: OPERATION.or(DRY_RUN),
        errors: [404, 409],
        ours: true,
      },
      async ({ params: { id }, body, token }) => {
        await mustBeDeployed(id);
        const task: BulkTask = { kind: 'redrive', steps: 'waiting-and-failed', actionId: id, version: 'deployed' };
        return await start({ ...body, task, filter: readFilter(body.filter) }, token.clientId);
      },
    ),
    route(
      {
        operationId: 'get_operations',
        method: 'get',
        path: PATH,
        summary: 'List bulk operations, newest first',
        tag: 'operations',
        scopes: ['read:executions'],
        query: OPERATIONS_QUERY,
        returns: OPERATIONS,
        ours: true,
      },
      async ({ query: { from, take, state, kind } }) => {
        const found = await operations.list({ state, kind, after: from, limit: take + 1 });
        const page = found.slice(0, take);
        return { operations: page.map(operationAnswer), ...(found.length > take ? { next: page.at(-1)!.id } : {}) };
      },
    ),
    route(
      {
        operationId: 'get_operation',
        method: 'get',
        path: `${PATH}/{id}`,
        summary: 'Get how far a bulk operation is',
        tag: 'operations',
        scopes: ['read:executions'],
        params: ID_PATH,
        returns: OPERATION,
        errors: [404],
        ours: true,
      },
      async ({ params }) => operationAnswer(await operations.find(params.id)),
    ),
    route(
      {
        operationId: 'get_operation_items',
        method: 'get',
        path: `${PATH}/{id}/items`,
        summary: 'Get what became of each registration',
        tag: 'operations',
        scopes: ['read:executions'],
        params: ID_PATH,
        query: ITEMS_QUERY,
        returns: ITEMS,
        errors: [404],
        ours: true,
      },
      async ({ params, query: { result, from, take } }) => {
        const found = await operations.listItems(params.id, { result, after: from, limit: take + 1 });
        const page = found.slice(0, take);
        return {
          items: page.map(({ subjectId, registrationId, at, ...item }) => ({ subject_id: subjectId, registration_id: registrationId, at: new Date(at).toISOString(), ...item })),
          ...(found.length > take ? { next: page.at(-1)!.subjectId } : {}),
        };
      },
    ),
    stateRoute('pause', 'paused', 'Pause a bulk operation'),
    stateRoute('resume', 'running', 'Let a paused bulk operation go on'),
    stateRoute('cancel', 'cancelled', 'End a bulk operation; what it has changed stays'),
  ];

  /** @throws {ApiError} 404; 409 */
  async function mustBeDeployed(actionId: string): Promise<void> {
    const action = await readAction(db, actionId);
    if (action.trigger_id !== 'post-user-registration') throw managementError(409, `The action '${action.name}' is for the trigger ${action.trigger_id}: it has no steps.`);
    if (action.deployed_version_id === null) throw managementError(409, `The action '${action.name}' is not deployed. Deploy it first.`);
  }
}
