import { AsyncLocalStorage } from 'node:async_hooks';

/** What belongs to the request that is answered now, for log lines and traces. */
export interface RequestContext {
  requestId: string;
  /** W3C `traceparent` of the request's own span; null when traces are off. */
  traceParent: string | null;
}

const storage = new AsyncLocalStorage<RequestContext>();

/** Runs `work` so that everything it awaits finds the request. */
export function inRequest<T>(context: RequestContext, work: () => T): T {
  return storage.run(context, work);
}

/** Undefined in background work. */
export function currentRequest(): RequestContext | undefined {
  return storage.getStore();
}
