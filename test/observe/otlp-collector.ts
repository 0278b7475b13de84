import { type Receiver, startReceiver } from '../../examples/receiver.ts';

/** A span as OTLP's JSON has it (opentelemetry-proto, trace.proto; ids in hex, enums as numbers). */
export interface CollectedSpan {
  traceId: string;
  spanId: string;
  parentSpanId?: string;
  name: string;
  /** 1 internal, 2 server, 3 client, 4 producer. */
  kind: number;
  startTimeUnixNano: string;
  endTimeUnixNano: string;
  attributes: { key: string; value: { stringValue?: string; intValue?: number | string } }[];
  /** Code 2: an error. */
  status: { code?: number };
  service: string;
}

interface Export {
  resourceSpans: { resource: { attributes: CollectedSpan['attributes'] }; scopeSpans: { spans: Omit<CollectedSpan, 'service'>[] }[] }[];
}

/** Takes spans over HTTP as an OpenTelemetry collector does. */
export interface Collector {
  url: string;
  /** All that have come, as they came. */
  text(): string;
  spans(): CollectedSpan[];
  close(): Promise<void>;
}

export async function startCollector(): Promise<Collector> {
  const receiver: Receiver = await startReceiver(() => ({ status: 200, headers: { 'content-type': 'application/json' }, body: '{}' }));
  const exports = () => receiver.received.filter(({ path }) => path === '/v1/traces');
  return {
    url: receiver.url,
    text: () => exports().map(({ body }) => body).join('\n'),
    spans: () =>
      exports().flatMap(({ body }) =>
        (JSON.parse(body) as Export).resourceSpans.flatMap(({ resource, scopeSpans }) => {
          const service = resource.attributes.find(({ key }) => key === 'service.name')?.value.stringValue ?? '';
          return scopeSpans.flatMap(({ spans }) => spans.map((span) => ({ ...span, service })));
        }),
      ),
    close: receiver.close,
  };
}

/** An attribute's value; undefined when it is not there. */
export function attribute(span: CollectedSpan, key: string): string | number | undefined {
  const value = span.attributes.find((each) => each.key === key)?.value;
  return value?.stringValue ?? (value?.intValue === undefined ? undefined : Number(value.intValue));
}
