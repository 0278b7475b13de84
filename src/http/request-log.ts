import type { RequestHandler } from 'express';
import type { Logger } from '../logger.ts';

/** Paths that are asked every few seconds by machines. */
const QUIET = new Set(['/healthz', '/readyz']);

/** One line for each request: method, path, status and duration. No query, headers or body: they hold secrets and e-mails. */
export function logRequests(logger: Logger): RequestHandler {
  return (req, res, next) => {
    const startedAt = performance.now();
    const { method, path } = req;
    res.on('close', () => {
      if (QUIET.has(path)) return;
      const line = {
        method,
        path,
        status: res.statusCode,
        duration_ms: Math.round(performance.now() - startedAt),
        // The client went away before its answer was written.
        ...(res.writableFinished ? {} : { aborted: true }),
      };
      if (res.statusCode >= 500) logger.error(line, 'request');
      else logger.info(line, 'request');
    });
    next();
  };
}
