import type { Request, Response } from 'express';
import type { z } from 'zod';
import type { Scope } from '../domain/scopes.ts';
import type { VerifiedToken } from './auth.ts';

/** In whose shape an endpoint tells what is wrong (`src/domain/api-error.ts`). */
export type ErrorShape = 'management' | 'sign-up' | 'oauth';

/**
 * One endpoint, described once: validation, the handler's types and the OpenAPI document come from here.
 * What is left out is not there: an endpoint without `query` refuses every parameter.
 */
export interface Endpoint {
  /** Auth0's name of the operation where it has one. */
  operationId: string;
  method: 'get' | 'post' | 'put' | 'patch' | 'delete';
  /** In OpenAPI's form: `/api/v2/users/{id}`. */
  path: string;
  summary: string;
  /** More than the summary says, in Markdown. */
  description?: string;
  tag: Tag;
  /** The token must have one of them; `null` for endpoints that take no token. */
  scopes: readonly Scope[] | null;
  /** A client may show its id and secret by HTTP Basic in place of a token: for senders that cannot renew one. */
  basic?: true;
  /** Names in lower case. */
  headers?: z.ZodObject;
  params?: z.ZodObject;
  query?: z.ZodObject;
  body?: z.ZodType;
  /** Media types of the body. @default application/json */
  bodyTypes?: readonly string[];
  /** The body is a form (`multipart/form-data`), and this field of it a file, which becomes text; larger ones are refused with 413. */
  file?: { field: string; maxBytes: number };
  /** Of the answer that is no error. @default 200, or 204 without `returns` */
  status?: 200 | 201 | 202 | 204 | 302;
  /** Also answers 204 without a body: when? */
  empty?: string;
  /** The answer's body: JSON, or a text of `returnsType`. */
  returns?: z.ZodType;
  /** @default application/json */
  returnsType?: 'text/html' | 'application/gzip';
  /** The body of a 503 that is an answer, not an error. */
  unavailable?: z.ZodType;
  /** What else it can answer, beyond what follows from the rest of the description. */
  errors?: readonly (400 | 401 | 403 | 404 | 409 | 412)[];
  /** @default management */
  errorShape?: ErrorShape;
  /** Pages of any origin may call it: what lets them in is in the path. */
  fromAnyPage?: true;
  /** An endpoint that Auth0 does not have. */
  ours?: true;
}

/** How the document groups endpoints; Auth0's own words where it has one. */
export type Tag =
  | 'actions' | 'users' | 'users-by-email' | 'roles' | 'connections' | 'clients' | 'client-grants' | 'resource-servers'
  | 'tickets' | 'jobs' | 'logs' | 'tenants' | 'keys' | 'authentication' | 'registrations' | 'operations' | 'health';

type Output<S> = S extends z.ZodType ? z.output<S> : undefined;

/** A request that has passed the endpoint's checks. */
export interface Call<E extends Endpoint> {
  params: Output<E['params']>;
  query: Output<E['query']>;
  body: Output<E['body']>;
  headers: Output<E['headers']>;
  /** Who calls; only where the endpoint has scopes. */
  token: E['scopes'] extends null ? undefined : VerifiedToken;
  req: Request;
  /** For headers, and for answers that are no JSON. */
  res: Response;
}

type Returned<E extends Endpoint> = E['returns'] extends z.ZodType ? z.input<E['returns']> : void;

/** An endpoint with what it does. */
export interface Route {
  endpoint: Endpoint;
  handle(call: Call<Endpoint>): Promise<unknown>;
}

/**
 * Puts an endpoint and its handler together. What the handler returns is sent as JSON, or as text where `returnsType`
 * says so; its `ApiError`s become answers.
 */
export function route<const E extends Endpoint>(endpoint: E, handle: (call: Call<E>) => Promise<Returned<E>>): Route {
  // The call is checked against this very endpoint before the handler sees it.
  return { endpoint, handle };
}
