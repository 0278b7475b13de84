import { ApiError, managementError } from '../domain/api-error.ts';

/**
 * A search that cannot be answered exactly as it is written: 400 `invalid_query_string`, in Auth0's words ("The search
 * query string has an error: …"), with the place.
 */
export class SearchSyntaxError extends ApiError {
  /** Where, in characters from 1. */
  readonly column: number;

  constructor(column: number, problem: string) {
    const message = `The search query string has an error at column ${column}: ${problem}`;
    super(400, managementError(400, message, 'invalid_query_string').body);
    this.name = 'SearchSyntaxError';
    this.column = column;
  }
}

/** At most this many characters of a query are repeated in a message. */
const QUOTED_CHARS = 40;

/** A part of a query as a message shows it. */
export function quoted(text: string): string {
  const chars = Array.from(text);
  return `"${chars.length > QUOTED_CHARS ? `${chars.slice(0, QUOTED_CHARS).join('')}…` : text}"`;
}
