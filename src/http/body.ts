import express, { type RequestHandler } from 'express';
import { LIMITS } from '../domain/limits.ts';
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
  const problem = /%00/.test(req.url) ? 'The path or the query holds a NUL character.' : problemIn(req.body);
  if (problem !== null) throw unreadable(req, 400, problem);
  next();
};

/** Walks without recursion: the nesting comes from outside. */
function problemIn(body: unknown): string | null {
  const open: { value: unknown; depth: number }[] = [{ value: body, depth: 0 }];
  for (let item = open.pop(); item !== undefined; item = open.pop()) {
    const { value, depth } = item;
    if (typeof value === 'string') {
      const problem = problemInText(value);
      if (problem !== null) return problem;
    } else if (typeof value === 'object' && value !== null) {
      if (depth >= LIMITS.jsonDepth) return `The body is nested deeper than ${LIMITS.jsonDepth} levels.`;
      for (const [key, inner] of Object.entries(value)) open.push({ value: key, depth }, { value: inner, depth: depth + 1 });
    }
  }
  return null;
}

function problemInText(text: string): string | null {
  if (text.includes('\0')) return 'The body holds a NUL character.';
  return text.isWellFormed() ? null : 'The body holds half of a surrogate pair.';
}
