import express, { type Express, type Router } from 'express';
import helmet from 'helmet';
import type { Logger } from '../logger.ts';
import { readBody } from './body.ts';
import { createErrorHandler, notFound } from './error-handler.ts';
import { type ExecutionsRoutesDeps, executionsRoutes } from './executions-routes.ts';
import { healthRoutes, type Readiness } from './health-routes.ts';
import { logsRoutes } from './logs-routes.ts';
import { type OauthRoutesDeps, oauthRoutes } from './oauth-routes.ts';
import { limitRate } from './rate-limits.ts';
import { logRequests } from './request-log.ts';
import { signUpRoutes } from './signup-routes.ts';
import type { FingerprintHeaders } from './request-facts.ts';
import type { SignUp } from '../registration/sign-up.ts';
import type { LogStore } from '../store/logs.ts';

export interface AppDeps extends OauthRoutesDeps, ExecutionsRoutesDeps {
  logger: Logger;
  signUp: SignUp;
  logs: LogStore;
  /** Routes below `/api/v2/actions`. */
  actionRouters: Router[];
  readiness: () => Promise<Readiness>;
  /** CIDRs of the proxies whose `X-Forwarded-*` and fingerprint headers are believed. */
  trustedProxies: string[];
  fingerprintHeaders: FingerprintHeaders;
  rateLimits: boolean;
}

/** Puts the HTTP API together. Does not listen. */
export function createApp(deps: AppDeps): Express {
  const app = express();
  app.set('trust proxy', deps.trustedProxies.length === 0 ? false : deps.trustedProxies);
  app.use(helmet());
  app.use(logRequests(deps.logger));
  app.use(healthRoutes(deps));

  if (deps.rateLimits) {
    app.use('/dbconnections/signup', limitRate('signUp'));
    app.use('/oauth/token', limitRate('token'));
    app.use('/api/v2', limitRate('management'));
  }
  app.use(readBody());
  app.use(signUpRoutes(deps));
  app.use(oauthRoutes(deps));
  app.use('/api/v2', logsRoutes(deps));
  app.use('/api/v2/actions', executionsRoutes(deps), ...deps.actionRouters);

  app.use(notFound);
  app.use(createErrorHandler(deps));
  return app;
}
