import { randomUUID } from 'node:crypto';
import type { RequestHandler, Response } from 'express';
import { shownPath } from '../domain/shown-user-id.ts';
import type { Logger } from '../logger.ts';
import type { RequestContext } from '../observe/request-context.ts';
import { readTraceParent, traceIdField } from '../observe/trace-parent.ts';
import type { Tracing } from '../observe/tracing.ts';

/** Paths that are asked every few seconds by machines. */
const QUIET = new Set(['/healthz', '/readyz']);
/** What a caller may name its request: it stands in the log as it is. */
const REQUEST_ID = /^[\w.:/+=@-]{1,128}$/;

/**
 * One line for each request: its id, method, path, status and duration; a span of it where traces are on. No query,
 * headers or body: they hold secrets and e-mails. The id is the caller's `X-Request-Id` or a new one, and is sent back.
 */
export function logRequests({ logger, tracing }: { logger: Logger; tracing: Tracing }): RequestHandler {
  return (req, res, next) => {
    const startedAt = Date.now();
    const start = performance.now();
    const { method, path } = req;
    const isQuiet = QUIET.has(path);
    const given = req.get('x-request-id') ?? '';
    const requestId = REQUEST_ID.test(given) ? given : randomUUID();
    const parent = readTraceParent(req.get('traceparent'));
    const traceParent = isQuiet ? null : tracing.begin(parent);
    setContext(res, { requestId, traceParent });
    res.set('x-request-id', requestId);
    res.on('close', () => {
      if (isQuiet) return;
      const durationMs = Math.round(performance.now() - start);
      const { statusCode } = res;
      const line = {
        request_id: requestId,
        method,
        path: shownPath(path),
        status: statusCode,
        duration_ms: durationMs,
        // The client went away before its answer was written.
        ...(res.writableFinished ? {} : { aborted: true }),
        ...traceIdField(traceParent),
      };
      if (statusCode >= 500) logger.error(line, 'request');
      else logger.info(line, 'request');
      const route = (req.route as { path?: string } | undefined)?.path;
      tracing.record({
        self: traceParent,
        parent,
        name: route === undefined ? method : `${method} ${route}`,
        kind: 'server',
        startedAt,
        endedAt: startedAt + durationMs,
        // The endpoint's own path with its names of parameters, never the one that was asked for: it can hold an id.
        attributes: { 'http.request.method': method, 'http.response.status_code': statusCode, 'usher.request_id': requestId, ...(route === undefined ? {} : { 'http.route': route }) },
        ...(statusCode >= 500 ? { error: String(statusCode) } : {}),
      });
    });
    next();
  };
}

function setContext(res: Response, context: RequestContext): void {
  res.locals['request'] = context;
}

/** What `logRequests` has found out about the request that is answered. */
export function contextOf(res: Response): RequestContext {
  return res.locals['request'] as RequestContext;
}
