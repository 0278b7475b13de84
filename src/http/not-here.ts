import type { RequestHandler } from 'express';
import { errorFor } from './error-handler.ts';

/** Below these, a path that no route has taken is one of Auth0's that is not here, or a mistake. */
const AUTH0 = /^\/(api\/v2|activate|authorize|userinfo|u|login|logout|v2\/logout|oidc|samlp|wsfed|mfa|oauth|passwordless|dbconnections|delegation|unlink|tokeninfo|co|bc-authorize|\.well-known)(\/|$)/;

/** Answers what no route has taken: 404 in the shape of the API that was called, naming the page that says what is not here. */
export const notHere: RequestHandler = (req) => {
  const isAuth0s = AUTH0.test(req.path);
  const message = isAuth0s
    ? `Not Found: Usher has no ${req.method} ${req.path.slice(0, 200)}. What of Auth0's API is not here stands in docs/not-here.md.`
    : `Not Found${req.path === '/' ? ': what is here stands at /openapi.' : ''}`;
  throw errorFor(req, 404, 'not_found', message);
};
