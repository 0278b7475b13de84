import type { Client, WorkflowExecutionDescription, WorkflowExecutionStatusName } from '@temporalio/client';
import { isGrpcServiceError, WorkflowNotFoundError } from '@temporalio/client';
import { type Payload, TypedSearchAttributes } from '@temporalio/common';
import proto from '@temporalio/proto';
import type { userRegistration } from '../../workflows/index.ts';
import { lookSignal, REGISTRATION_TASK_QUEUE, workflowIdOf, WORKFLOW_TYPE } from '../../workflows/messages.ts';
import { SealError } from '../store/sealing.ts';
import { isTemporalUnreachable } from './connection.ts';
import { describeNamespace } from './namespace.ts';
import { SEARCH_ATTRIBUTES, type SearchAttributeName } from './search-attributes.ts';

/**
 * What Temporal knows of a registration's last workflow. `idle`: it runs, and nothing of it is under way or waits for a
 * worker. `stuck`: it runs, and cannot go on, because a key that its history was encrypted under is gone, or its history is
 * not one that the workflow's code can have made. `unknown`: nothing.
 */
export type WorkflowStatus = 'running' | 'idle' | 'stuck' | 'completed' | 'failed' | 'timed-out' | 'cancelled' | 'terminated' | 'unknown';

export interface KnownWorkflow {
  status: WorkflowStatus;
  /** By Temporal's clock; null while it runs. */
  endedAt: number | null;
}

/** The one way into Temporal. Each call ends within 10 s. */
export interface RegistrationStarter {
  /**
   * Makes sure that a workflow looks at the registration's ledger from now on: starts one, or signals the one that runs.
   * Harmless to call again. Search attributes that the namespace does not take are left out.
   *
   * @throws an error to be asked about with `isUnreachable`.
   */
  start(registration: { registrationId: string; userId: string; connectionName: string }): Promise<void>;
  describe(registrationId: string): Promise<KnownWorkflow>;
  /** The id that the namespace was made with. Another one than before: Temporal has lost its data. */
  namespaceId(): Promise<string>;
  /** True when the error is about Temporal as a whole, not about one registration. */
  isUnreachable(error: unknown): boolean;
}

type Described = WorkflowExecutionDescription['raw'];

const CALL_TIMEOUT_MS = 10_000;
/** Workers that cannot read a history fail at it again and again; one that goes on is not asked for its history. */
const FAILING_FROM_ATTEMPT = 2;
/** One that fails so often, which takes Temporal a quarter of a minute, does not go on by itself, whatever it is. */
const STUCK_FROM_ATTEMPT = 4;
const INVALID_ARGUMENT = 3;
const { PENDING_ACTIVITY_STATE_SCHEDULED: SCHEDULED } = proto.temporal.api.enums.v1.PendingActivityState;

/**
 * @param shownUserId the user id as Temporal may know it: search attributes and summaries are not encrypted.
 * @param searchAttributes those that the namespace has, asked for at each start, because they may be added later.
 */
export function createRegistrationStarter({ client, searchAttributes, shownUserId = (userId) => userId }: {
  client: Client;
  searchAttributes: () => readonly SearchAttributeName[];
  shownUserId?: (userId: string) => string;
}): RegistrationStarter {
  function call<T>(request: () => Promise<T>): Promise<T> {
    return client.withDeadline(Date.now() + CALL_TIMEOUT_MS, request);
  }

  async function canDecrypt(history: unknown): Promise<boolean> {
    try {
      for (const codec of client.options.loadedDataConverter.payloadCodecs) await codec.decode(payloadsIn(history));
      return true;
    } catch (error) {
      if (error instanceof SealError) return false;
      throw error;
    }
  }

  return {
    async start({ registrationId, userId, connectionName }) {
      const shown = shownUserId(userId);
      const values: Record<SearchAttributeName, string> = { UsherConnection: connectionName, UsherUserId: shown };
      const signalWithStart = (names: readonly SearchAttributeName[]) =>
        call(() =>
          client.workflow.signalWithStart<typeof userRegistration>(WORKFLOW_TYPE, {
            workflowId: workflowIdOf(registrationId),
            taskQueue: REGISTRATION_TASK_QUEUE,
            workflowIdReusePolicy: 'ALLOW_DUPLICATE',
            workflowIdConflictPolicy: 'USE_EXISTING',
            signal: lookSignal,
            args: [{ v: 1, registrationId }],
            staticSummary: `${connectionName} · ${shown}`,
            typedSearchAttributes: new TypedSearchAttributes(
              names.map((name) => ({ key: SEARCH_ATTRIBUTES[name], value: values[name] })),
            ),
          }),
        );
      const names = searchAttributes();
      try {
        await signalWithStart(names);
      } catch (error) {
        // Taken away since they were listed: the registration must run all the same.
        if (names.length === 0 || !refusesSearchAttributes(error)) throw error;
        await signalWithStart([]);
      }
    },

    async describe(registrationId) {
      try {
        const handle = client.workflow.getHandle(workflowIdOf(registrationId));
        const { status, raw, closeTime } = await call(() => handle.describe());
        if (status.name !== 'RUNNING') return { status: statusOf(status.name), endedAt: closeTime?.getTime() ?? null };
        const isReadable = async (): Promise<boolean> => await canDecrypt(await call(() => handle.fetchHistory()));
        return { status: (await isStuck(raw, isReadable)) ? 'stuck' : idleOrRunning(raw), endedAt: null };
      } catch (error) {
        if (error instanceof WorkflowNotFoundError) return { status: 'unknown', endedAt: null };
        throw error;
      }
    },

    async namespaceId() {
      const { namespaceInfo } = await call(() => describeNamespace(client));
      if (!namespaceInfo?.id) throw new Error(`Temporal described the namespace ${client.options.namespace} without its id.`);
      return namespaceInfo.id;
    },

    isUnreachable: isTemporalUnreachable,
  };
}

function payloadsIn(value: unknown): Payload[] {
  if (typeof value !== 'object' || value === null || value instanceof Uint8Array) return [];
  return 'metadata' in value && 'data' in value ? [value as Payload] : Object.values(value).flatMap(payloadsIn);
}

function statusOf(name: WorkflowExecutionStatusName): WorkflowStatus {
  switch (name) {
    case 'COMPLETED':
      return 'completed';
    case 'FAILED':
      return 'failed';
    case 'TIMED_OUT':
      return 'timed-out';
    case 'CANCELLED':
      return 'cancelled';
    case 'TERMINATED':
      return 'terminated';
    case 'PAUSED':
    case 'CONTINUED_AS_NEW':
      return 'running';
    default:
      return 'unknown';
  }
}

async function isStuck({ pendingWorkflowTask }: Described, isReadable: () => Promise<boolean>): Promise<boolean> {
  const attempt = pendingWorkflowTask?.attempt ?? 0;
  if (attempt >= STUCK_FROM_ATTEMPT) return true;
  return attempt >= FAILING_FROM_ATTEMPT && !(await isReadable());
}

/** An activity that waits for its next try is not under way. */
function idleOrRunning({ pendingWorkflowTask, pendingActivities }: Described): 'idle' | 'running' {
  if (pendingWorkflowTask) return 'running';
  const isUnderWay = (pendingActivities ?? []).some(({ state, scheduledTime }) => state !== SCHEDULED || Number(scheduledTime?.seconds ?? 0) * 1000 <= Date.now());
  return isUnderWay ? 'running' : 'idle';
}

function refusesSearchAttributes(error: unknown): boolean {
  const cause = error instanceof Error && !isGrpcServiceError(error) ? error.cause : error;
  if (!isGrpcServiceError(cause)) return false;
  const code: number = cause.code;
  return code === INVALID_ARGUMENT && /search ?attribute/i.test(cause.details);
}
