/** A query as `parseQuery` understands it. Columns count characters from 1. */
export type Query =
  | { type: 'and' | 'or'; clauses: Query[] }
  | { type: 'not'; clause: Query }
  | { type: 'equals'; field: FieldName; value: Value }
  | { type: 'prefix'; field: FieldName; value: Value }
  /** At least one end is there: a range that is open at both ends is `exists`. */
  | { type: 'range'; field: FieldName; from: Bound | null; to: Bound | null }
  | { type: 'exists'; field: FieldName };

/** A query about one field. */
export type Term = Extract<Query, { field: FieldName }>;

/** `user_metadata.address.city` has three parts; a dot with a backslash belongs to its part. */
export interface FieldName {
  path: string[];
  column: number;
}

/** What a field is compared with, without quotes and backslashes. */
export interface Value {
  text: string;
  column: number;
}

/** One end of a range. */
export interface Bound extends Value {
  inclusive: boolean;
}
