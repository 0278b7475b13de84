/** `Retry-After` (RFC 9110 §10.2.3): seconds or an HTTP date; milliseconds from now, undefined when it is neither. */
export function parseRetryAfter(value: string | undefined): number | undefined {
  if (value === undefined) return undefined;
  const trimmed = value.trim();
  if (/^\d+(\.\d+)?$/.test(trimmed)) return Math.round(Number(trimmed) * 1000);
  const date = Date.parse(trimmed);
  return Number.isNaN(date) || !/[a-z]/i.test(trimmed) ? undefined : Math.max(0, date - Date.now());
}

/**
 * What a thrown error's `retryAfter` asks for, in milliseconds from now: a number of seconds, a `Date`, or a text as the
 * header has it. Undefined for anything else; 0 for a moment that has passed.
 */
export function retryAfterOf(value: unknown): number | undefined {
  if (typeof value === 'string') return parseRetryAfter(value);
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? undefined : Math.max(0, value.getTime() - Date.now());
  return typeof value === 'number' && Number.isFinite(value) && value >= 0 ? Math.round(value * 1000) : undefined;
}
