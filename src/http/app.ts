import express, { type Express } from 'express';
import helmet from 'helmet';
import type { Logger } from '../logger.ts';
import { NO_TRACING, type Tracing } from '../observe/tracing.ts';
import type { ClientOrigins } from '../store/client-origins.ts';
import type { Auth } from './auth.ts';
import { readBody } from './body.ts';
import { CORS_PATHS, createCors } from './cors.ts';
import { documentRoutes } from './document-routes.ts';
import type { Route } from './endpoint.ts';
import { createErrorHandler } from './error-handler.ts';
import { mountRoutes } from './mount.ts';
import { notHere } from './not-here.ts';
import type { OpenRequests } from './open-requests.ts';
import { limitRates } from './rate-limits.ts';
import { logRequests } from './request-log.ts';

export interface AppDeps {
  logger: Logger;
  auth: Auth;
  /** Every endpoint, in no particular order: no two match one request. */
  routes: Route[];
  /** From which pages in browsers the Authentication API may be called. @default from none */
  origins?: ClientOrigins;
  /** CIDRs of the proxies whose `X-Forwarded-*` and fingerprint headers are believed. */
  trustedProxies: string[];
  rateLimits: Parameters<typeof limitRates>[0];
  /** Where clients reach Usher, when it was told. @default null */
  publicUrl?: string | null;
  /** @default off */
  tracing?: Tracing;
  /** Counts all but those that ask for the health. @default nobody does */
  openRequests?: Pick<OpenRequests, 'count'>;
  /** See `mountRoutes`. @default false */
  checkAnswers?: boolean;
}

/** Paths that tell how the process is: without limits, and without a body that could hold them up. */
const HEALTH = 'health';

/** Puts the HTTP API together. Does not listen. */
export function createApp({ logger, auth, routes, origins, trustedProxies, rateLimits, publicUrl = null, tracing = NO_TRACING, openRequests, checkAnswers = false }: AppDeps): Express {
  const all = [...routes, ...documentRoutes(routes)];
  const mount = (chosen: Route[]) => mountRoutes(chosen, { auth, checkAnswers });
  const app = express();
  app.set('trust proxy', trustedProxies.length === 0 ? false : trustedProxies);
  // A browser keeps HSTS for every port of a host: right for a public name, and a trap on `localhost`.
  app.use(helmet({ strictTransportSecurity: publicUrl?.startsWith('https:') === true }));
  app.use(logRequests({ logger, tracing }));
  app.use(mount(all.filter(({ endpoint }) => endpoint.tag === HEALTH)));
  if (openRequests !== undefined) app.use(openRequests.count);

  const cors = origins === undefined ? null : createCors({ origins });
  if (cors !== null) app.use(CORS_PATHS, cors.beforeBody);
  app.use(limitRates(rateLimits));
  app.use(readBody());
  if (cors !== null) app.use(CORS_PATHS, cors.afterBody);
  app.use(mount(all.filter(({ endpoint }) => endpoint.tag !== HEALTH)));

  app.use(notHere);
  app.use(createErrorHandler({ logger }));
  return app;
}
