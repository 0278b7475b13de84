/** What is limited apart from each other: sign-up, tokens and logins, passwordless starts and mails, and the Management API. */
export type RateLimitKind = 'signUp' | 'token' | 'passwordless' | 'management';

/** Requests that one address may make in a minute; null: no limit. */
export type RateLimits = Record<RateLimitKind, number | null>;

/** The defaults; IPv6 addresses count by their /56 network. */
export const DEFAULT_RATE_LIMITS: RateLimits = { signUp: 60, token: 120, passwordless: 30, management: 1200 };
