import { callTraceParent } from '../sandbox/runner/trace-parent.ts';
import { isFailedCall, type OutgoingCall } from '../domain/invocation.ts';
import type { Logger } from '../logger.ts';
import { newTraceParent } from './trace-parent.ts';

/** A span that has ended. Names and attributes never hold an e-mail address, a secret, a path or a query. */
export interface FinishedSpan {
  /** Its own `traceparent`; null: traces are off, or were when it began. */
  self: string | null;
  /** That of its parent; null: it is the first of its trace. */
  parent: string | null;
  name: string;
  kind: 'server' | 'client' | 'producer' | 'internal';
  /** Milliseconds since the epoch. */
  startedAt: number;
  endedAt: number;
  attributes: Record<string, string | number>;
  /** The kind of failure, as `error.type`; left out when it went well. */
  error?: string;
}

/**
 * OpenTelemetry traces. A span's ids are known from its beginning (`begin`), so that they can be sent along and kept in
 * the store; the span itself is told when it has ended. No context is kept anywhere between the two: a registration may
 * take five days and several processes.
 */
export interface Tracing {
  readonly isOn: boolean;
  /** The `traceparent` of a span that begins now; null when traces are off. */
  begin(parent: string | null): string | null;
  record(span: FinishedSpan): void;
  /** Sends what has not been sent yet. Never rejects. */
  close(): Promise<void>;
}

export const NO_TRACING: Tracing = {
  isOn: false,
  begin: () => null,
  record: () => undefined,
  close: () => Promise.resolve(),
};

/**
 * Traces to an OTLP endpoint. OpenTelemetry's code is loaded only then.
 *
 * @param options.endpoint base URL to which spans are sent by HTTP, below `/v1/traces`; null: traces are off.
 * @param options.service names the process: `usher-api`.
 */
export async function startTracing({ endpoint, ...options }: { endpoint: string | null; service: string; version: string; logger: Logger }): Promise<Tracing> {
  if (endpoint === null) return NO_TRACING;
  const { createSpanExport } = await import('./otel.ts');
  const spans = createSpanExport({ endpoint, ...options });
  return { isOn: true, begin: newTraceParent, record: spans.record, close: spans.close };
}

/** Tells of an Action's outgoing requests, below the span of the Action. Their order is that of their numbers. */
export function recordCalls(tracing: Tracing, action: string | null, calls: readonly OutgoingCall[]): void {
  if (action === null) return;
  for (const [index, call] of calls.entries()) {
    const { method, host, status, startedAt, durationMs } = call;
    const [, address = host, port] = /^(.*?)(?::(\d+))?$/.exec(host) ?? [];
    tracing.record({
      self: callTraceParent(action, index + 1),
      parent: action,
      name: method,
      kind: 'client',
      startedAt,
      endedAt: startedAt + durationMs,
      // Semantic conventions of HTTP client spans, without `url.full`: a path can be a secret.
      attributes: {
        'http.request.method': method,
        'server.address': address,
        ...(port === undefined ? {} : { 'server.port': Number(port) }),
        ...(status === undefined ? {} : { 'http.response.status_code': status }),
      },
      ...(isFailedCall(call) ? { error: status === undefined ? 'no answer' : String(status) } : {}),
    });
  }
}
