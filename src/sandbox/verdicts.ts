import type { ActionError, ActionErrorType } from '../domain/invocation.ts';
import type { InvocationRecord } from './invocation-record.ts';
import { FLOOD_EXIT_CODE } from './runner/messages.ts';

/** Why the parent ended a process that was at work. */
export type KillReason = 'deadline' | 'memory' | 'protocol' | 'cancelled' | 'closing' | 'unclean';

const MAX_NAMED_CALLS = 3;

/** What the Action did, when its process had to be ended for it. */
export function killError(reason: 'deadline' | 'memory' | 'protocol', details: KillDetails): ActionError {
  if (reason === 'deadline') return error('ACTION_TIMED_OUT', 'TimeoutError', deadlineMessage(details));
  if (reason === 'memory') {
    return error('ACTION_OUT_OF_MEMORY', 'OutOfMemoryError', `The Action used more than ${details.residentMiB} MiB of memory.`);
  }
  return error('ACTION_CRASHED', 'ProtocolError', `The Action disturbed the sandbox: ${details.violation}.`);
}

export interface KillDetails {
  record: InvocationRecord;
  timeoutMs: number;
  residentMiB: number;
  violation: string;
}

function deadlineMessage({ record, timeoutMs }: KillDetails): string {
  const calls = record.openCalls();
  const named = calls.slice(0, MAX_NAMED_CALLS).join(', ') + (calls.length > MAX_NAMED_CALLS ? ` and ${calls.length - MAX_NAMED_CALLS} more` : '');
  const seconds = timeoutMs / 1000;
  if (calls.length === 0) return `The Action did not finish within ${seconds} s.`;
  return record.hasSettled
    ? `The handler had ended, but requests that it began had no answer within ${seconds} s: ${named}.`
    : `The Action did not finish within ${seconds} s; waiting for an answer to ${named}.`;
}

export interface ExitDetails {
  code: number | null;
  signal: string | null;
  /** The end of what Node itself wrote. */
  stderr: string;
  heapMiB: number;
  floodBytes: number;
}

/** What the Action did, when its process ended by itself. */
export function exitError({ code, signal, stderr, heapMiB, floodBytes }: ExitDetails): ActionError {
  if (code === FLOOD_EXIT_CODE) {
    return error('ACTION_OUTPUT_LIMIT', 'OutputLimitError', `The Action wrote more than ${floodBytes / 1024 / 1024} MiB of output.`);
  }
  if (/heap out of memory|Allocation failed|bad_alloc|ERR_MEMORY_ALLOCATION_FAILED/i.test(stderr)) {
    return error('ACTION_OUT_OF_MEMORY', 'OutOfMemoryError', `The Action ran out of memory (heap limit ${heapMiB} MiB).`);
  }
  const how = signal === null ? `with code ${code}, e.g. by process.exit` : `by signal ${signal}`;
  return error('ACTION_CRASHED', 'CrashError', `The Action's process ended ${how}, before the Action had finished.`);
}

function error(type: ActionErrorType, name: string, message: string): ActionError {
  return { type, name, message, retryable: true };
}
