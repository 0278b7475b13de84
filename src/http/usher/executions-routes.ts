import { managementError } from '../../domain/api-error.ts';
import { writeAudit } from '../../store/audit-log.ts';
import type { Database, Queryable } from '../../store/database.ts';
import { type ListExecutions, readSummaries } from '../../store/execution-list.ts';
import type { Keyring } from '../../store/keyring.ts';
import type { CommandResult, LedgerCommands } from '../../store/ledger-commands.ts';
import type { ReadLedger } from '../../store/ledger-read.ts';
import { UnknownIdError } from '../../store/ledger-rows.ts';
import { attemptOf } from '../actions/execution-body.ts';
import { type Route, route } from '../endpoint.ts';
import { ID_PATH } from '../schema/common.ts';
import { detailsAnswer, summaryAnswer } from './execution-answers.ts';
import { ATTEMPTS, ATTEMPTS_QUERY, EXECUTION_DETAILS, EXECUTION_LIST, EXECUTION_SUMMARY, LIST_QUERY, REDRIVE_BODY, STEP_PATH, type SummaryAnswer } from './executions-schema.ts';
import { readFilter } from './operation-body.ts';

export interface UsherExecutionsRoutesDeps {
  database: Database;
  keyring: Keyring;
  ledger: Pick<ReadLedger, 'readRegistration' | 'readAttempts'>;
  commands: LedgerCommands;
  list: ListExecutions;
  /** Called when a registration has become due; must not throw. */
  wakeDispatcher(): void;
  /** Address of the namespace in Temporal's Web UI, `http://127.0.0.1:8233/namespaces/default`; null: not known. */
  webUi: string | null;
}

const PATH = '/usher/executions';

/** Finding a registration's execution, seeing what it did, running it again and stopping it; docs/failed-registrations.md. */
export function usherExecutionsRoutes(deps: UsherExecutionsRoutesDeps): Route[] {
  const { database, keyring, ledger, commands, list, webUi } = deps;
  const reads = { method: 'get', tag: 'operations', scopes: ['read:executions'], ours: true } as const;
  const writes = { method: 'post', tag: 'operations', scopes: ['update:executions'], returns: EXECUTION_SUMMARY, errors: [404, 409], ours: true } as const;

  async function readSummary(id: string, queryable: Queryable = database.db) {
    const [summary] = await readSummaries(queryable, [id]);
    if (summary === undefined) throw noSuchExecution();
    return summary;
  }

  /** One command in one transaction with its entry in the log. @throws {ApiError} 404; 409 with the reason when nothing changed. */
  async function run(clientId: string, asked: { description: string; details: { registration_id: string; [detail: string]: unknown } }, command: (tx: Queryable) => Promise<CommandResult>): Promise<SummaryAnswer> {
    const summary = await database
      .transaction(async (tx) => {
        const result = await command(tx);
        if (!result.changed) throw managementError(409, result.reason, 'nothing_to_do');
        await writeAudit(tx, keyring, { clientId, ...asked });
        return await readSummary(asked.details.registration_id, tx);
      })
      .catch((error: unknown) => {
        throw error instanceof UnknownIdError ? noSuchExecution() : error;
      });
    deps.wakeDispatcher();
    return summaryAnswer(summary, webUi);
  }

  return [
    route(
      {
        ...reads,
        operationId: 'get_executions',
        path: PATH,
        summary: 'List and search executions, newest first',
        description: 'Of post-user-registration: one for each registration. All that is said must be true of one.',
        query: LIST_QUERY,
        returns: EXECUTION_LIST,
        errors: [400],
      },
      async ({ query: { from, take, step_state: stepStates, waiting, ...said } }) => {
        if (said.action_id === undefined && (stepStates ?? said.error_type) !== undefined) {
          throw managementError(400, '`step_state` and `error_type` are about the step of one Action: say which by `action_id`.', 'invalid_query_string');
        }
        const filter = { ...readFilter({ ...said, step_states: stepStates === undefined ? undefined : [stepStates].flat() }), ...(waiting === true ? { waiting } : {}) };
        const found = await list(filter, { before: from ?? null, limit: take + 1 });
        const page = found.slice(0, take);
        return { executions: page.map((each) => summaryAnswer(each, webUi)), ...(found.length > take ? { next: page.at(-1)!.id } : {}) };
      },
    ),
    route(
      {
        ...reads,
        operationId: 'get_execution_details',
        path: `${PATH}/{id}`,
        summary: 'Get what became of a registration, with the attempts, calls and logs of its Actions',
        params: ID_PATH,
        returns: EXECUTION_DETAILS,
        errors: [404],
      },
      async ({ params: { id } }) => {
        const registration = await ledger.readRegistration(id);
        if (registration === null) throw noSuchExecution();
        return detailsAnswer(registration, webUi);
      },
    ),
    route(
      {
        ...reads,
        operationId: 'get_step_attempts',
        path: `${PATH}/{id}/steps/{step_id}/attempts`,
        summary: 'Get all attempts at a step, with their calls and logs',
        params: STEP_PATH,
        query: ATTEMPTS_QUERY,
        returns: ATTEMPTS,
        errors: [404],
      },
      async ({ params, query: { from, take } }) => {
        const { steps } = await readSummary(params.id);
        if (!steps.some((step) => step.id === params.step_id)) throw noSuchExecution();
        const found = await ledger.readAttempts(params.step_id, { before: from ?? null, limit: take + 1 });
        const page = found.slice(0, take);
        return { attempts: page.map(attemptOf), ...(found.length > take ? { next: page.at(-1)!.number } : {}) };
      },
    ),
    route(
      {
        ...writes,
        operationId: 'cancel_execution',
        path: `${PATH}/{id}/cancel`,
        summary: 'End what is open of a registration',
        description: 'It is closed at once. An attempt that runs is killed as soon as Temporal has heard of it.',
        params: ID_PATH,
      },
      async ({ params: { id }, token }) => await run(token.clientId, { description: 'Cancel an execution', details: { registration_id: id } }, (tx) => commands.cancel(tx, id)),
    ),
    route(
      {
        ...writes,
        operationId: 'redrive_execution',
        path: `${PATH}/{id}/redrive`,
        summary: 'Run Actions of a registration again',
        description: 'From their first quick attempt on, in binding order. It is open again then, also when it was closed.',
        params: ID_PATH,
        body: REDRIVE_BODY,
      },
      async ({ params: { id }, body, token }) => await run(token.clientId, { description: 'Redrive an execution', details: { registration_id: id, ...body } }, (tx) => commands.redrive(tx, id, body)),
    ),
    route(
      {
        ...writes,
        operationId: 'retry_execution',
        path: `${PATH}/{id}/retry`,
        summary: 'Retry the waiting Actions of a registration now',
        params: ID_PATH,
      },
      async ({ params: { id }, token }) => await run(token.clientId, { description: 'Retry an execution', details: { registration_id: id } }, (tx) => commands.retryNow(tx, id, null)),
    ),
    route(
      {
        ...writes,
        operationId: 'retry_step',
        path: `${PATH}/{id}/steps/{step_id}/retry`,
        summary: 'Retry a waiting Action now',
        params: STEP_PATH,
      },
      async ({ params: { id, step_id: stepId }, token }) =>
        await run(token.clientId, { description: 'Retry a step', details: { registration_id: id, step_id: stepId } }, (tx) => commands.retryNow(tx, id, stepId)),
    ),
    route(
      {
        ...writes,
        operationId: 'skip_step',
        path: `${PATH}/{id}/steps/{step_id}/skip`,
        summary: 'Say that an Action is not to run for a registration',
        description: 'What waited for its success goes on. An attempt that runs is killed.',
        params: STEP_PATH,
      },
      async ({ params: { id, step_id: stepId }, token }) =>
        await run(token.clientId, { description: 'Skip a step', details: { registration_id: id, step_id: stepId } }, (tx) => commands.skip(tx, id, stepId)),
    ),
  ];
}

function noSuchExecution() {
  return managementError(404, 'There is no such execution of post-user-registration, or no such step in it.', 'inexistent_execution');
}
