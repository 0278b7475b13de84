/** A secret of a connection's options, and where in them it stands. */
export interface OptionSecret {
  path: (string | number)[];
  value: string;
}

/** `client_secret`, `twilio_token`, `gateway_authentication.secret` …; what is taken for a secret by mistake does no harm. */
const SECRET = /(^|[_-])(secret|token|password|key|credentials?)$/i;
/** What a custom database's scripts read: each value is a secret. */
const ALL_SECRET = 'configuration';

/** Takes the secrets out of a connection's options, so that they can be kept sealed. */
export function splitSecrets(options: Record<string, unknown>): { options: Record<string, unknown>; secrets: OptionSecret[] } {
  const secrets: OptionSecret[] = [];

  function strip(value: unknown, path: (string | number)[], isSecret: boolean): unknown {
    if (Array.isArray(value)) return value.map((item, index) => strip(item, [...path, index], isSecret));
    if (typeof value === 'object' && value !== null) {
      const entries = Object.entries(value).map(([key, inner]) => [key, strip(inner, [...path, key], isSecret || SECRET.test(key) || key === ALL_SECRET)]);
      return Object.fromEntries(entries) as unknown;
    }
    if (typeof value !== 'string' || !isSecret) return value;
    secrets.push({ path, value });
    return null;
  }

  return { options: strip(options, [], false) as Record<string, unknown>, secrets };
}

/** Puts the secrets back where they were. */
export function joinSecrets(options: Record<string, unknown>, secrets: OptionSecret[]): Record<string, unknown> {
  const whole = structuredClone(options);
  for (const { path, value } of secrets) {
    const last = path.at(-1)!;
    const parent = path.slice(0, -1).reduce<unknown>((at, key) => (at as Record<string | number, unknown>)[key], whole);
    (parent as Record<string | number, unknown>)[last] = value;
  }
  return whole;
}
