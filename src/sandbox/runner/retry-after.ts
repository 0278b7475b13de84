/** `Retry-After` (RFC 9110 §10.2.3): seconds or an HTTP date; milliseconds from now, undefined when it is neither. */
export function parseRetryAfter(value: string | undefined): number | undefined {
  if (value === undefined) return undefined;
  const trimmed = value.trim();
  if (/^\d+(\.\d+)?$/.test(trimmed)) return millisecondsOf(Number(trimmed));
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
  return typeof value === 'number' && Number.isFinite(value) && value >= 0 ? millisecondsOf(value) : undefined;
}

/** Infinity is no JSON: the parent would take the message for a forged one. */
function millisecondsOf(seconds: number): number {
  return Math.min(Math.round(seconds * 1000), Number.MAX_SAFE_INTEGER);
}
