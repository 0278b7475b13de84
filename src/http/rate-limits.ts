import { Router } from 'express';
import { type ClientRateLimitInfo, type Options, rateLimit } from 'express-rate-limit';
import type { RateLimitKind, RateLimits } from '../domain/rate-limits.ts';
import type { CounterStore } from '../store/counters.ts';
import { errorFor } from './error-handler.ts';

const WINDOW_MS = 60_000;

/** Which requests count for which limit. */
const PATHS: Record<RateLimitKind, string[]> = {
  signUp: ['/dbconnections/signup'],
  token: ['/oauth/token'],
  passwordless: ['/passwordless', '/dbconnections/change_password'],
  management: ['/api/v2', '/usher'],
};

/**
 * Limits for each client address with Auth0's headers `x-ratelimit-limit`, `-remaining` and `-reset` (seconds since the
 * epoch). Beyond one: 429 with `retry-after`.
 *
 * @param options.counters - where the requests are counted when several processes serve the same clients; null: in
 *   this process.
 */
export function limitRates({ limits, counters }: { limits: RateLimits; counters: CounterStore | null }): Router {
  const router = Router();
  for (const [kind, paths] of Object.entries(PATHS) as [RateLimitKind, string[]][]) {
    const limit = limits[kind];
    if (limit === null) continue;
    router.use(paths, rateLimit({
      windowMs: WINDOW_MS,
      limit,
      legacyHeaders: true,
      standardHeaders: false,
      ...(counters === null ? {} : { store: sharedStore(counters, kind) }),
      // Anybody can send these headers; whom to believe is for `trust proxy` to say, and no reason to warn.
      validate: { xForwardedForHeader: false, forwardedHeader: false },
      handler: (req) => {
        throw errorFor(req, 429, 'too_many_requests', 'Too many requests. Check the X-RateLimit-Limit, X-RateLimit-Remaining and X-RateLimit-Reset headers.');
      },
    }));
  }
  return router;
}

function sharedStore(counters: CounterStore, kind: RateLimitKind): NonNullable<Options['store']> {
  const prefix = `rate/${kind}/`;
  return {
    prefix,
    async increment(key): Promise<ClientRateLimitInfo> {
      const { count, expiresAt } = await counters.increment(prefix + key, WINDOW_MS);
      return { totalHits: count, resetTime: new Date(expiresAt) };
    },
    // Every request counts, however it is answered.
    decrement: () => {},
    resetKey: (key) => counters.remove(prefix + key),
  };
}
