import { AsyncLocalStorage } from 'node:async_hooks';
import { subscribe } from 'node:diagnostics_channel';
import type { ClientRequest, IncomingMessage } from 'node:http';
import type { Attempt, Attempts, OpenCall } from './attempts.ts';
import type { Channel } from './channel.ts';

/** The bundled undici's view of a request; source: undici's DiagnosticsChannel.md. */
interface UndiciRequest {
  method: string;
  origin: string | URL;
}

interface UndiciResponse {
  statusCode: number;
  headers: (Buffer | string)[];
}

interface Call extends OpenCall {
  answered(status: number, retryAfter: string | undefined): void;
  /** The answer is complete, or will never be. */
  ended(error?: unknown): void;
  isInFlight: () => boolean;
}

/**
 * Tells the parent of every outgoing HTTP request of `http`, `https` and `fetch`, when it begins and when it is
 * answered. Method and host only: a path can be a secret (a Slack webhook's is).
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

function recordHttp(begin: (method: string, host: string) => Call): void {
  const open = new WeakMap<ClientRequest, Call>();
  subscribe('http.client.request.created', (message) => {
    const { request } = message as { request: ClientRequest };
    const named = request.getHeader('host');
    const call = begin(request.method, typeof named === 'string' ? named : request.host);
    open.set(request, call);
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
    open.set(request, begin(request.method, new URL(request.origin).host));
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

/** `Retry-After` (RFC 9110 §10.2.3): seconds or an HTTP date; milliseconds from now, undefined when it is neither. */
export function parseRetryAfter(value: string | undefined): number | undefined {
  if (value === undefined) return undefined;
  const trimmed = value.trim();
  if (/^\d+(\.\d+)?$/.test(trimmed)) return Math.round(Number(trimmed) * 1000);
  const date = Date.parse(trimmed);
  return Number.isNaN(date) || !/[a-z]/i.test(trimmed) ? undefined : Math.max(0, date - Date.now());
}

function reasonOf(error: unknown): string {
  if (typeof error !== 'object' || error === null) return 'closed before an answer came';
  const { code, message } = error as { code?: unknown; message?: unknown };
  const reason = typeof code === 'string' && code !== '' ? code : message;
  return typeof reason === 'string' && reason !== '' ? reason.slice(0, 200) : 'failed';
}
