import { diag, DiagLogLevel, ROOT_CONTEXT, SpanKind, SpanStatusCode, trace, TraceFlags } from '@opentelemetry/api';
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-http';
import { detectResources, envDetector, resourceFromAttributes } from '@opentelemetry/resources';
import { AlwaysOnSampler, BatchSpanProcessor, NodeTracerProvider } from '@opentelemetry/sdk-trace-node';
import type { Logger } from '../logger.ts';
import { partsOf } from './trace-parent.ts';
import type { FinishedSpan, Tracing } from './tracing.ts';

const KINDS = { server: SpanKind.SERVER, client: SpanKind.CLIENT, producer: SpanKind.PRODUCER, internal: SpanKind.INTERNAL } as const;
/** A stop does not wait longer for a collector that does not answer. */
const CLOSE_PATIENCE_MS = 3_000;

/**
 * Sends ended spans by OTLP over HTTP, in batches. Headers, timeouts and resource attributes come from OpenTelemetry's
 * own variables (`OTEL_EXPORTER_OTLP_HEADERS`, `OTEL_RESOURCE_ATTRIBUTES`, …).
 */
export function createSpanExport({ endpoint, service, version, logger }: { endpoint: string; service: string; version: string; logger: Logger }): Pick<Tracing, 'record' | 'close'> {
  // What a collector refuses is dropped after a few tries, and said.
  const warn = (message: string) => logger.warn({ reason: reasonIn(message) }, 'traces could not be sent');
  const quiet = () => undefined;
  diag.setLogger({ error: warn, warn, info: quiet, debug: quiet, verbose: quiet }, { logLevel: DiagLogLevel.WARN, suppressOverrideMessage: true });
  // The ids of a span are made where it begins, also in another process: the SDK is told which ones to take.
  let ids = { traceId: '', spanId: '' };
  const provider = new NodeTracerProvider({
    // What is not sampled does not come here.
    sampler: new AlwaysOnSampler(),
    idGenerator: { generateTraceId: () => ids.traceId, generateSpanId: () => ids.spanId },
    resource: resourceFromAttributes({ 'service.name': service, 'service.version': version }).merge(detectResources({ detectors: [envDetector] })),
    spanProcessors: [new BatchSpanProcessor(new OTLPTraceExporter({ url: `${endpoint}/v1/traces` }))],
  });
  const tracer = provider.getTracer('usher', version);

  function record({ self, parent, name, kind, startedAt, endedAt, attributes, error }: FinishedSpan): void {
    if (self === null) return;
    const { traceId, spanId, isSampled } = partsOf(self);
    if (!isSampled) return;
    ids = { traceId, spanId };
    const context = parent === null ? ROOT_CONTEXT : trace.setSpanContext(ROOT_CONTEXT, { traceId, spanId: partsOf(parent).spanId, traceFlags: TraceFlags.SAMPLED, isRemote: true });
    const span = tracer.startSpan(name, { kind: KINDS[kind], startTime: startedAt, attributes }, context);
    if (error !== undefined) span.setAttribute('error.type', error).setStatus({ code: SpanStatusCode.ERROR });
    span.end(Math.max(startedAt, endedAt));
  }

  return {
    record,
    async close() {
      const patience = Promise.withResolvers<never>();
      const timer = setTimeout(() => patience.reject(new Error(`the collector did not take the last ones within ${CLOSE_PATIENCE_MS / 1000} s`)), CLOSE_PATIENCE_MS);
      try {
        await Promise.race([provider.shutdown(), patience.promise]);
      } catch (error) {
        warn((error as Error).message);
      } finally {
        clearTimeout(timer);
      }
    },
  };
}

/** The SDK tells an error as JSON, with its stack. */
function reasonIn(message: string): string {
  try {
    return String((JSON.parse(message) as { message?: unknown }).message);
  } catch {
    return message.slice(0, 500);
  }
}
