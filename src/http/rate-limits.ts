import type { RequestHandler } from 'express';
import { rateLimit } from 'express-rate-limit';
import { errorFor } from './error-handler.ts';

/** Requests that one address may make in a minute; IPv6 addresses count by their /56 network. */
const PER_MINUTE = { signUp: 60, token: 120, management: 1200 } as const;

/**
 * A limit per client address with Auth0's headers `x-ratelimit-limit`, `-remaining` and `-reset` (seconds since the
 * epoch). Beyond it: 429 with `retry-after`. Counted in this process: several processes allow as many times more.
 */
export function limitRate(kind: keyof typeof PER_MINUTE): RequestHandler {
  return rateLimit({
    windowMs: 60_000,
    limit: PER_MINUTE[kind],
    legacyHeaders: true,
    standardHeaders: false,
    // Anybody can send these headers; whom to believe is for `trust proxy` to say, and no reason to warn.
    validate: { xForwardedForHeader: false, forwardedHeader: false },
    handler: (req) => {
      throw errorFor(req, 429, 'too_many_requests', 'Too many requests. Check the X-RateLimit-Limit, X-RateLimit-Remaining and X-RateLimit-Reset headers.');
    },
  });
}
