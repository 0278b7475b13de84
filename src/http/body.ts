import express, { type RequestHandler } from 'express';
import { LIMITS } from '../domain/limits.ts';
import { unsafeText } from '../domain/unsafe-text.ts';
import { unreadable } from './error-handler.ts';

/**
 * Reads JSON and form bodies, and refuses with 400 what no store and no Action can take: NUL characters, lone
 * surrogates, and nesting deeper than `LIMITS.jsonDepth`.
 */
export function readBody(): RequestHandler[] {
  const limit = LIMITS.requestBodyBytes;
  return [
    // Not strict: Auth0's clients send the body `null` where none is needed.
    express.json({ limit, strict: false }),
    express.urlencoded({ limit, extended: true }),
    refuseUnsafeText,
  ];
}

const refuseUnsafeText: RequestHandler = (req, _res, next) => {
  // Parts of the path are looked up in the store too; half a surrogate cannot be written in a URL.
  if (req.path.includes('%00')) throw unreadable(req, 400, 'Path validation error: it holds a NUL character.', 'invalid_uri');
  if (req.url.includes('%00')) throw unreadable(req, 400, 'Query validation error: it holds a NUL character.', 'invalid_query_string');
  const problem = unsafeText(req.body);
  if (problem !== null) throw unreadable(req, 400, `The body ${problem}.`);
  next();
};
