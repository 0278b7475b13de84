import { randomUUID } from 'node:crypto';
import type { ErrorRequestHandler, Request, Response } from 'express';
import { LIMITS } from '../domain/limits.ts';
import { shownPath } from '../domain/shown-user-id.ts';
import type { Logger } from '../logger.ts';
import { isStoreUnavailable } from '../store/database.ts';
import type { ErrorShape } from './endpoint.ts';
import { contextOf } from './request-log.ts';
import { ApiError, managementError, oauthError, signUpError } from '../domain/api-error.ts';

/**
 * The last handler: turns every error into an answer in the shape of the API that was called. What is not an
 * `ApiError` is answered without details; they are in the log, under the answer's `error_id`.
 */
export function createErrorHandler({ logger }: { logger: Logger }): ErrorRequestHandler {
  return (error: unknown, req, res, next) => {
    if (res.headersSent) {
      next(error);
      return;
    }
    const answer = asApiError(error, req) ?? unexpected(error, req, res, logger);
    res.status(answer.status).set(answer.headers).json(answer.body);
  };
}


/** An error that any API can give, in the shape of the one that was called (`body that cannot be read`, 429, 503 …). */
export function errorFor(req: Request, status: number, code: string, message: string): ApiError {
  return errorOf(shapeOf(req.baseUrl + req.path), status, code, message);
}

/**
 * An error in a given shape. Sign-up knows one status for everything that is wrong with a request: 400 (contract §5.1).
 */
export function errorOf(shape: ErrorShape, status: number, code: string, message: string): ApiError {
  if (shape === 'oauth') return oauthError(status, code, message);
  if (shape === 'management') return managementError(status, message, status === 404 ? undefined : code);
  const error = signUpError(code, message);
  if (status === 400 || status === 413 || status === 415) return error;
  const name = status === 429 ? 'TooManyRequestsError' : 'Error';
  return new ApiError(status, { ...error.body, name, statusCode: status });
}

/** For what fails before an endpoint is found, or where there is none. */
function shapeOf(path: string): ErrorShape {
  if (path.startsWith('/dbconnections/')) return 'sign-up';
  return path.startsWith('/oauth/') || path.startsWith('/passwordless/') ? 'oauth' : 'management';
}

function asApiError(error: unknown, req: Request): ApiError | null {
  if (error instanceof ApiError) return error;
  if (isStoreUnavailable(error)) {
    const answer = errorFor(req, 503, 'temporarily_unavailable', 'The store cannot be written at the moment. Try again in a few seconds.');
    return new ApiError(answer.status, answer.body, { 'retry-after': '5' });
  }
  // Express and its parsers mark what the client did wrong with a status; their messages may repeat the body.
  const status = error instanceof Error && 'status' in error ? error.status : undefined;
  if (typeof status !== 'number' || status < 400 || status > 499) return null;
  // Of all that reads requests, only the router decodes with an error of this kind.
  if (error instanceof URIError) return unreadable(req, status, 'Path validation error: what its percent signs stand for is not UTF-8.', 'invalid_uri');
  const notJson = 'type' in (error as object) && (error as { type?: unknown }).type === 'entity.parse.failed';
  return unreadable(req, status, notJson ? 'The body is not JSON, as its Content-Type says.' : (PROBLEMS[status] ?? PROBLEMS[400]));
}

/** What is wrong with a request before its endpoint has seen it. */
export function unreadable(req: Request, status: number, problem: string, code: 'invalid_body' | 'invalid_uri' | 'invalid_query_string' = 'invalid_body'): ApiError {
  const shape = shapeOf(req.path);
  return errorOf(shape, status, shape === 'oauth' ? 'invalid_request' : code, problem);
}

const PROBLEMS: Record<number, string> & { 400: string } = {
  400: 'The request cannot be read: its body is malformed.',
  413: `The body is too large: ${LIMITS.requestBodyBytes / 1024} KiB are the limit.`,
  415: 'The content type, encoding or character set of the body is not supported.',
};

function unexpected(error: unknown, req: Request, res: Response, logger: Logger): ApiError {
  const errorId = randomUUID();
  const { name, message, stack } = error instanceof Error ? error : new Error(`not an error: ${typeof error}`);
  // Only these three: other properties of an error may hold the request's body or a row.
  logger.error({ error_id: errorId, request_id: contextOf(res).requestId, error: { name, message, stack }, method: req.method, path: shownPath(req.path) }, 'a request failed unexpectedly');
  const answer = errorFor(req, 500, 'internal_error', 'An internal server error occurred');
  return new ApiError(500, { ...answer.body, usher: { error_id: errorId } });
}
