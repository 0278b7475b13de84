import cors from 'cors';
import { type Request, Router } from 'express';
import { z } from 'zod';
import type { ApiError } from '../domain/api-error.ts';
import type { Auth } from './auth.ts';
import { inRequest } from '../observe/request-context.ts';
import type { Call, Endpoint, Route } from './endpoint.ts';
import { errorOf, unreadable } from './error-handler.ts';
import { readForm } from './form.ts';
import { contextOf } from './request-log.ts';
import { problemOf } from './validation.ts';

/** A browser asks again after this time, in seconds. */
export const PREFLIGHT_LIFETIME = 600;

const NOTHING = z.strictObject({});
/** Auth0's clients send the body `null` where none is needed. */
const NO_BODY = NOTHING.nullish();

export interface MountOptions {
  auth: Auth;
  /** Refuses to send what the document does not describe, with 500. For tests: a check of each answer costs time. */
  checkAnswers: boolean;
}

/**
 * Serves endpoints: the token first, then path, query, body and headers, then the handler. An unknown property or parameter is
 * an error wherever the endpoint's schemas are strict, as Auth0's are.
 */
export function mountRoutes(routes: readonly Route[], { auth, checkAnswers }: MountOptions): Router {
  const router = Router({ caseSensitive: true });
  for (const { endpoint, handle } of routes) {
    const path = endpoint.path.replaceAll(/\{(\w+)\}/g, ':$1');
    const requireScope = endpoint.basic === undefined ? auth.requireScope : auth.requireScopeOrSecret;
    const guards = endpoint.scopes === null ? [] : [requireScope(...endpoint.scopes)];
    const readers = endpoint.file === undefined ? [] : [readForm(endpoint.file)];
    if (endpoint.fromAnyPage !== undefined) router.use(path, cors({ methods: [endpoint.method.toUpperCase()], maxAge: PREFLIGHT_LIFETIME }));
    router[endpoint.method](path, ...guards, ...readers, async (req, res) => {
      refuseUnread(req, endpoint);
      const call = {
        params: parse(endpoint, 'path', endpoint.params ?? NOTHING, req.params),
        query: parse(endpoint, 'query', endpoint.query ?? NOTHING, req.query),
        body: parse(endpoint, 'body', endpoint.body ?? NO_BODY, endpoint.body === undefined ? (req.body ?? null) : (req.body ?? {}), otherTypeOf(req, endpoint)),
        headers: endpoint.headers === undefined ? {} : parse(endpoint, 'headers', endpoint.headers, req.headers),
        token: res.locals['token'],
        req,
        res,
      } as Call<Endpoint>;
      const answer = await inRequest(contextOf(res), () => handle(call));
      if (checkAnswers) check(endpoint, answer);
      // A handler may have set another one.
      if (res.statusCode === 200) res.status(answer === undefined ? 204 : (endpoint.status ?? 200));
      if (answer === undefined) res.end();
      else if (endpoint.returnsType === undefined) res.json(answer);
      else res.type(endpoint.returnsType).send(answer);
    });
  }
  return router;
}

const PARTS = {
  path: { words: 'Path validation error', code: 'invalid_uri' },
  query: { words: 'Query validation error', code: 'invalid_query_string' },
  headers: { words: 'Header validation error', code: 'invalid_headers' },
  body: { words: 'Payload validation error', code: 'invalid_body' },
} as const;

/** @throws {ApiError} 400 in Auth0's words, naming the first thing that is wrong. @param advice what may be the reason. */
function parse(endpoint: Endpoint, part: keyof typeof PARTS, schema: z.ZodType, value: unknown, advice = ''): unknown {
  const parsed = schema.safeParse(value, { reportInput: true });
  if (parsed.success) return parsed.data;
  throw refusal(endpoint, part, `${problemOf(parsed.error)}${advice}`);
}

/** A body of a type that nobody has read is no empty one. */
function refuseUnread(req: Request, endpoint: Endpoint): void {
  const advice = otherTypeOf(req, endpoint);
  if (endpoint.body !== undefined && req.body === undefined && advice !== '') throw unreadable(req, 415, advice.trim());
}

/** Whoever forgets the content type (`curl -d` alone) is told that, not only which property is missing then. */
function otherTypeOf(req: Request, { bodyTypes = ['application/json'] }: Endpoint): string {
  // `is` takes an empty body for one.
  if (req.get('content-length') === '0' || req.is([...bodyTypes]) !== false) return '';
  return ` The body has the Content-Type ${req.get('content-type')?.slice(0, 100) ?? '(none)'}: send ${bodyTypes.join(' or ')}.`;
}

function refusal({ errorShape = 'management' }: Endpoint, part: keyof typeof PARTS, problem: string): ApiError {
  const { words, code } = PARTS[part];
  return errorOf(errorShape, 400, errorShape === 'oauth' ? 'invalid_request' : code, `${words}: ${problem}`);
}

function check({ operationId, returns }: Endpoint, answer: unknown): void {
  const problem = returns?.safeParse(answer, { reportInput: true }).error;
  if (problem !== undefined) throw new Error(`${operationId} answers what the document does not describe: ${problemOf(problem)}`);
}
