import cors from 'cors';
import type { Request, RequestHandler } from 'express';
import type { ClientOrigins } from '../store/client-origins.ts';
import { basicCredentials } from './authentication/token-request.ts';
import { PREFLIGHT_LIFETIME } from './mount.ts';

/** What pages in browsers call, as Auth0's own browser clients do. */
export const CORS_PATHS = ['/dbconnections', '/passwordless', '/oauth/token', '/.well-known'];

const MARKS = ['access-control-allow-origin', 'access-control-allow-credentials', 'access-control-expose-headers'];

const EXPOSED = ['x-ratelimit-limit', 'x-ratelimit-remaining', 'x-ratelimit-reset', 'retry-after'];

/**
 * Lets pages of the clients' `allowed_origins` and `web_origins` read our answers; other pages do not get to see them.
 *
 * `beforeBody` answers preflights, which name no client, and marks every other answer where any client has the origin,
 * so that a page also learns of a body that cannot be read and of a rate limit. `afterBody` takes the mark back where
 * the request names a client that does not have the origin.
 */
export function createCors({ origins }: { origins: ClientOrigins }): { beforeBody: RequestHandler; afterBody: RequestHandler } {
  return {
    async beforeBody(req, res, next) {
      res.vary('Origin');
      const { origin } = req.headers;
      if (origin === undefined || !(await origins.allows(origin, null))) {
        next();
        return;
      }
      // Never `*`: the origin itself. Credentials for pages that send them along; there are no cookies here.
      cors({ origin, credentials: true, exposedHeaders: EXPOSED, maxAge: PREFLIGHT_LIFETIME, methods: ['GET', 'POST'] })(req, res, next);
    },

    async afterBody(req, res, next) {
      const { origin } = req.headers;
      const clientId = clientOf(req);
      if (origin !== undefined && clientId !== null && !(await origins.allows(origin, clientId))) {
        for (const header of MARKS) res.removeHeader(header);
      }
      next();
    },
  };
}

/** The client that a request names, if it names one. */
function clientOf(req: Request): string | null {
  const body: unknown = req.body;
  const named = typeof body === 'object' && body !== null && 'client_id' in body ? body.client_id : undefined;
  if (typeof named === 'string') return named;
  return basicCredentials(req.headers.authorization)?.id ?? null;
}
