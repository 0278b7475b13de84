import { randomBytes } from 'node:crypto';
import { childTraceParent } from '../sandbox/runner/trace-parent.ts';

/** W3C Trace Context §3.2: `<version>-<trace id>-<parent id>-<flags>`; a later version may add fields. */
const FORM = /^(?!ff)[\da-f]{2}-(?!0{32})([\da-f]{32})-(?!0{16})([\da-f]{16})-([\da-f]{2})(?:-|$)/;

/** Reads a caller's header `traceparent`; null when there is none that can be used. Of its flags only `sampled` is kept. */
export function readTraceParent(header: string | undefined): string | null {
  const [, traceId, spanId, flags] = FORM.exec(header ?? '') ?? [];
  if (traceId === undefined || spanId === undefined || flags === undefined) return null;
  return `00-${traceId}-${spanId}-0${Number.parseInt(flags, 16) & 1}`;
}

/** A new span below `parent`, in whose trace it stays; without one, the first of a new trace. */
export function newTraceParent(parent: string | null): string {
  const spanId = randomBytes(8).toString('hex');
  if (parent === null) return `00-${randomBytes(16).toString('hex')}-${spanId}-01`;
  const { traceId, isSampled } = partsOf(parent);
  return `00-${traceId}-${spanId}-${isSampled ? '01' : '00'}`;
}

/** The parts of a `traceparent` that was read or made here. */
export function partsOf(traceParent: string): { traceId: string; spanId: string; isSampled: boolean } {
  const [, traceId = '', spanId = '', flags = ''] = traceParent.split('-');
  return { traceId, spanId, isSampled: flags === '01' };
}

/** For log lines: nothing where there is no trace. */
export function traceIdField(traceParent: string | null): { trace_id?: string } {
  return traceParent === null ? {} : { trace_id: partsOf(traceParent).traceId };
}

/** The span that is a whole registration, from its commit to its close, below the span of the commit. */
export function registrationTraceParent(commit: string): string {
  return childTraceParent(commit, 'registration');
}
