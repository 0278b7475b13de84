import { createHash } from 'node:crypto';

/**
 * The W3C `traceparent` of a span below another one whose id both sides can make of a name that they know anyway: nobody
 * has to tell the other.
 */
export function childTraceParent(parent: string, name: string): string {
  const [version, traceId, spanId, flags] = parent.split('-');
  const id = createHash('sha256').update(`${traceId}/${spanId}/${name}`).digest('hex').slice(0, 16);
  return `${version}-${traceId}-${id}-${flags}`;
}

/** Of the n-th outgoing request of an attempt, from 1. */
export function callTraceParent(attempt: string, number: number): string {
  return childTraceParent(attempt, `call/${number}`);
}
