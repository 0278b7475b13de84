import { AsyncLocalStorage } from 'node:async_hooks';
import { subscribe } from 'node:diagnostics_channel';
import type { ClientRequest, IncomingMessage } from 'node:http';
import type { Attempt, Attempts, OpenCall } from './attempts.ts';
import type { Channel } from './channel.ts';
import { addToHttp, addToUndici, type HeaderToAdd, type UndiciHeaders } from './number-requests.ts';
import { parseRetryAfter } from './retry-after.ts';
import { callTraceParent } from './trace-parent.ts';

/** The bundled undici's view of a request; source: undici's DiagnosticsChannel.md. */
interface UndiciRequest extends UndiciHeaders {
  method: string;
  origin: string | URL;
}

interface UndiciResponse {
  statusCode: number;
  headers: (Buffer | string)[];
}

interface Call extends OpenCall {
  /** With its number, where the binding wants the requests numbered, and its place in the trace, where there is one. */
  headers: HeaderToAdd[];
  answered(status: number, retryAfter: string | undefined): void;
  /** The answer is complete, or will never be. */
  ended(error?: unknown): void;
  isInFlight: () => boolean;
}

/**
 * Tells the parent of every outgoing HTTP request of `http`, `https` and `fetch`, when it begins and when it is
 * answered. Method and host only: a path can be a secret (a Slack webhook's is). Each request, one that follows a
 * redirect or repeats another one too, has the next number of its attempt, which goes out with it where the run asks so.
 */
export function recordCalls(attempts: Attempts, channel: Channel): void {
  const begin = (method: string, host: string): Call => beginCall(attempts.current(), channel, method, host);
  recordHttp(begin);
  recordUndici(begin);
}

function beginCall(attempt: Attempt | undefined, channel: Channel, method: string, host: string): Call {
  const number = attempt === undefined ? 0 : ++attempt.calls;
  const startedAt = Date.now();
  const start = performance.now();
  let reported = false;
  const report = (outcome: { status?: number; error?: string; retryAfterMs?: number }): void => {
    if (reported || attempt === undefined) return;
    reported = true;
    const durationMs = Math.round(performance.now() - start);
    channel.send({ type: 'call-ended', token: attempt.token, call: number, durationMs, ...outcome });
  };
  const call: Call = {
    headers: attempt === undefined ? [] : headersOf(attempt, number),
    isInFlight: () => true,
    answered(status, retryAfter) {
      call.isInFlight = () => false;
      const retryAfterMs = parseRetryAfter(retryAfter);
      report({ status, ...(retryAfterMs === undefined ? {} : { retryAfterMs }) });
    },
    ended(error) {
      attempt?.openCalls.delete(call);
      report({ error: reasonOf(error) });
    },
  };
  if (attempt !== undefined) {
    attempt.openCalls.add(call);
    channel.send({ type: 'call', token: attempt.token, call: number, method, host, startedAt });
  }
  return call;
}

function headersOf({ idempotency, traceParent }: Attempt, number: number): HeaderToAdd[] {
  return [
    ...(idempotency === undefined ? [] : [{ name: idempotency.header, value: `${idempotency.key}-${number}` }]),
    ...(traceParent == null ? [] : [{ name: 'traceparent', value: callTraceParent(traceParent, number) }]),
  ];
}

function recordHttp(begin: (method: string, host: string) => Call): void {
  const open = new WeakMap<ClientRequest, Call>();
  subscribe('http.client.request.created', (message) => {
    const { request } = message as { request: ClientRequest };
    const named = request.getHeader('host');
    const call = begin(request.method, typeof named === 'string' ? named : request.host);
    open.set(request, call);
    for (const header of call.headers) addToHttp(request, header);
    request.once('close', () => call.ended());
  });
  subscribe('http.client.response.finish', (message) => {
    const { request, response } = message as { request: ClientRequest; response: IncomingMessage };
    const call = open.get(request);
    call?.answered(response.statusCode ?? 0, response.headers['retry-after']);
    if (call === undefined) return;
    call.isInFlight = () =>
      !response.complete && !response.destroyed &&
      (response.readableFlowing === true || response.listenerCount('readable') > 0);
  });
  subscribe('http.client.request.error', (message) => {
    const { request, error } = message as { request: ClientRequest; error: unknown };
    open.get(request)?.ended(error);
  });
}

function recordUndici(begin: (method: string, host: string) => Call): void {
  const open = new WeakMap<UndiciRequest, Call>();
  const readers = new WeakMap<UndiciRequest, FetchScope>();
  const scopes = wrapFetch();
  subscribe('undici:request:create', (message) => {
    const { request } = message as { request: UndiciRequest };
    const scope = scopes.getStore();
    if (scope !== undefined) readers.set(request, scope);
    const call = begin(request.method, new URL(request.origin).host);
    open.set(request, call);
    for (const header of call.headers) addToUndici(request, header);
  });
  subscribe('undici:request:headers', (message) => {
    const { request, response } = message as { request: UndiciRequest; response: UndiciResponse };
    const call = open.get(request);
    call?.answered(response.statusCode, headerOf(response.headers, 'retry-after'));
    if (call !== undefined) call.isInFlight = () => readers.get(request)?.response?.deref()?.bodyUsed === true;
  });
  subscribe('undici:request:trailers', (message) => {
    open.get((message as { request: UndiciRequest }).request)?.ended();
  });
  subscribe('undici:request:error', (message) => {
    const { request, error } = message as { request: UndiciRequest; error: unknown };
    open.get(request)?.ended(error);
  });
}

interface FetchScope {
  response?: WeakRef<Response>;
}

/** undici does not say whether somebody reads an answer's body; the `Response` does. */
function wrapFetch(): AsyncLocalStorage<FetchScope> {
  const scopes = new AsyncLocalStorage<FetchScope>();
  const original = globalThis.fetch;
  globalThis.fetch = async function fetch(...args: Parameters<typeof original>): Promise<Response> {
    const scope: FetchScope = {};
    const response = await scopes.run(scope, () => original(...args));
    scope.response = new WeakRef(response);
    return response;
  };
  return scopes;
}

function headerOf(headers: (Buffer | string)[], wanted: string): string | undefined {
  for (let i = 0; i + 1 < headers.length; i += 2) {
    if (String(headers[i]).toLowerCase() === wanted) return String(headers[i + 1]);
  }
  return undefined;
}

function reasonOf(error: unknown): string {
  if (typeof error !== 'object' || error === null) return 'closed before an answer came';
  const { code, message } = error as { code?: unknown; message?: unknown };
  const reason = typeof code === 'string' && code !== '' ? code : message;
  return typeof reason === 'string' && reason !== '' ? reason.slice(0, 200) : 'failed';
}
