import { type Client, isGrpcServiceError } from '@temporalio/client';
import { workflowIdOf } from '../../workflows/messages.ts';
import { describeNamespace } from './namespace.ts';

/** The histories that Temporal keeps of registrations. Each call ends within 10 s for each request that it makes. */
export interface Histories {
  /**
   * Deletes every run of a registration's workflow; one that runs is ended. Temporal does it in its own time.
   *
   * @returns true when it knows none (any more).
   * @throws an error to be asked about with `isTemporalUnreachable`.
   */
  remove(registrationId: string): Promise<boolean>;
  /** For how long the namespace keeps a history after its end, in milliseconds. */
  retentionMs(): Promise<number>;
}

const CALL_TIMEOUT_MS = 10_000;
const NOT_FOUND = 5;

export function createHistories({ client }: { client: Client }): Histories {
  const { namespace } = client.options;

  function call<T>(request: () => Promise<T>): Promise<T> {
    return client.withDeadline(Date.now() + CALL_TIMEOUT_MS, request);
  }

  /** @param runId without it, the last run. @returns false when there is none. */
  async function removeRun(workflowId: string, runId?: string): Promise<boolean> {
    try {
      await call(() => client.workflowService.deleteWorkflowExecution({ namespace, workflowExecution: { workflowId, ...(runId === undefined ? {} : { runId }) } }));
      return true;
    } catch (error) {
      const code: number | null = isGrpcServiceError(error) ? error.code : null;
      if (code === NOT_FOUND) return false;
      throw error;
    }
  }

  return {
    async remove(registrationId) {
      const workflowId = workflowIdOf(registrationId);
      const { executions } = await call(() => client.workflowService.listWorkflowExecutions({ namespace, pageSize: 100, query: `WorkflowId = '${workflowId}'` }));
      for (const { execution } of executions) await removeRun(workflowId, execution?.runId ?? undefined);
      // What was begun just now is not listed yet.
      const hasLast = await removeRun(workflowId);
      return executions.length === 0 && !hasLast;
    },

    async retentionMs() {
      const { config } = await call(() => describeNamespace(client));
      return Number(config?.workflowExecutionRetentionTtl?.seconds ?? 0) * 1000;
    },
  };
}
