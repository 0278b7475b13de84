import { AsyncLocalStorage } from 'node:async_hooks';
import type { ActionError, ApiCommand, CacheChange, RequestNumbering } from '../../domain/invocation.ts';
import type { RunMessage } from './messages.ts';

/** A request that has begun and may keep its attempt from being over. */
export interface OpenCall {
  /** False when an answer has come whose body nobody reads. */
  isInFlight(): boolean;
}

/** The process's side of one invocation. */
export interface Attempt {
  token: string;
  waitFor: 'work' | 'handler';
  /** Undefined: its requests go out as they are. */
  idempotency: RequestNumbering | undefined;
  /** W3C `traceparent` of its span; null or undefined: its requests carry none of ours. */
  traceParent: string | null | undefined;
  settled: boolean;
  /** The verdict has been given: what comes now is late. */
  judged: boolean;
  failure: ActionError | undefined;
  openCalls: Set<OpenCall>;
  /** Number of the last request. */
  calls: number;
  outputBytes: number;
  truncated: boolean;
  cacheChanges: CacheChange[];
  commands: ApiCommand[];
}

export interface Attempts {
  /** Runs `work` so that everything it begins, however late, belongs to the attempt. */
  run<T>(attempt: Attempt, work: () => T): T;
  /** The attempt that the running code belongs to; the newest one where Node cannot tell. */
  current(): Attempt | undefined;
}

export function newAttempt({ token, waitFor, idempotency, traceParent }: RunMessage): Attempt {
  return {
    token,
    waitFor,
    idempotency,
    traceParent,
    settled: false,
    judged: false,
    failure: undefined,
    openCalls: new Set(),
    calls: 0,
    outputBytes: 0,
    truncated: false,
    cacheChanges: [],
    commands: [],
  };
}

/** Keeps apart what belongs to which attempt, by Node's async context. */
export function createAttempts(): Attempts {
  const storage = new AsyncLocalStorage<Attempt>();
  let newest: Attempt | undefined;
  return {
    run(attempt, work) {
      newest = attempt;
      return storage.run(attempt, work);
    },
    current: () => storage.getStore() ?? newest,
  };
}
