import type { ActionError, Invocation, InvocationReport, LogLine, OutgoingCall } from '../domain/invocation.ts';
import { LIMITS } from '../domain/limits.ts';
import { createMask, withModuleSecrets } from '../domain/mask-secrets.ts';
import { type FromSandbox, LINE_OVERHEAD_BYTES } from './runner/messages.ts';

/** Of an attempt with more calls than this the latest are kept. */
const MAX_CALLS = 500;
/** Shorter values would cut holes into ordinary words. */
const MIN_SECRET_CHARS = 6;

type Verdict = Extract<FromSandbox, { type: 'verdict' }>;

/** What one invocation has done so far, as its process has told it; all of it survives the process. */
export interface InvocationRecord {
  readonly hasStarted: boolean;
  readonly hasSettled: boolean;
  /** The attempt will fail with this, however it ends. */
  readonly failure: ActionError | undefined;
  /** Requests without an answer, e.g. `POST hooks.slack.com`. */
  openCalls(): string[];
  /** Takes a message of the process; of those that come after the verdict only output counts. */
  take(message: FromSandbox): void;
  /** The verdict has been given and the report taken. */
  judge(): void;
  report(verdict?: Verdict): InvocationReport;
  /** The error without the values of the secrets of the event and of the modules. */
  redact(error: ActionError): ActionError;
}

/** Collects one invocation, with the values of secrets masked in what it wrote; lines that come after the verdict go to `onLateOutput`. */
export function createInvocationRecord(invocation: Invocation, onLateOutput: ((line: LogLine) => void) | undefined): InvocationRecord {
  const startedAt = Date.now();
  const start = performance.now();
  const logs: LogLine[] = [];
  const calls = new Map<number, OutgoingCall>();
  const secrets = withModuleSecrets((invocation.event['secrets'] ?? {}) as Record<string, unknown>, invocation.version.modules);
  const mask = createMask(secrets, MIN_SECRET_CHARS);
  let logBytes = 0;
  let logsTruncated = false;
  let hasStarted = false;
  let hasSettled = false;
  let isJudged = false;
  let failure: ActionError | undefined;

  function log({ text, ...rest }: LogLine): void {
    const line = { ...rest, text: mask(text) };
    // The process counts too; this holds for one that lies, and for names that are longer than their secrets.
    logBytes += Buffer.byteLength(line.text) + LINE_OVERHEAD_BYTES;
    if (logBytes > LIMITS.logBytes) logsTruncated = true;
    else if (isJudged) onLateOutput?.(line);
    else logs.push(line);
  }

  function addCall(number: number, call: OutgoingCall): void {
    calls.set(number, call);
    const oldest = calls.keys().next().value;
    if (calls.size > MAX_CALLS && oldest !== undefined) calls.delete(oldest);
  }

  function take(message: FromSandbox): void {
    if (message.type === 'log') log(message.line);
    if (isJudged) return;
    switch (message.type) {
      case 'started':
        hasStarted = true;
        break;
      case 'truncated':
        logsTruncated = true;
        break;
      case 'settled':
        hasSettled = true;
        break;
      case 'failing':
        failure ??= message.error;
        break;
      case 'call':
        addCall(message.call, { method: message.method, host: message.host, startedAt: message.startedAt, durationMs: 0 });
        break;
      case 'call-ended': {
        const { type: _type, token: _token, call: number, ...end } = message;
        const call = calls.get(number);
        if (call !== undefined) Object.assign(call, end);
        break;
      }
      default:
    }
  }

  return {
    get hasStarted() {
      return hasStarted;
    },
    get hasSettled() {
      return hasSettled;
    },
    get failure() {
      return failure;
    },
    openCalls: () => [...calls.values()].filter(isOpen).map(({ method, host }) => `${method} ${host}`),
    take,
    judge: () => {
      isJudged = true;
      // It stays for the late output of hundreds of calls.
      logs.length = 0;
      calls.clear();
    },
    report: (verdict) => ({
      startedAt,
      durationMs: Math.round(performance.now() - start),
      logs: [...logs],
      logsTruncated,
      calls: [...calls.values()].map(snapshot),
      cacheChanges: verdict?.cacheChanges ?? [],
      commands: verdict?.commands ?? [],
    }),
    redact: (error) => ({
      ...error,
      message: mask(error.message),
      ...(error.stack === undefined ? {} : { stack: mask(error.stack) }),
    }),
  };
}

function isOpen(call: OutgoingCall): boolean {
  return call.status === undefined && call.error === undefined;
}

/** As it is now: an unanswered call has lasted until now. */
function snapshot(call: OutgoingCall): OutgoingCall {
  return isOpen(call) ? { ...call, error: 'no answer', durationMs: Math.max(0, Date.now() - call.startedAt) } : { ...call };
}
