import type { RawBuilder, SqlBool } from 'kysely';

/** A field that a search can name, and how the table has it. */
export type SearchField = TextField | NumberField | DateField | BooleanField | JsonField | SealedField;

/** The fields of one search, by name. Below a field of kind `json` any path can be named. */
export type SearchFields = ReadonlyMap<string, SearchField>;

/** Compared as a whole, never word by word. */
export interface TextField {
  kind: 'text';
  value: RawBuilder<unknown>;
  /** Then `value` is in lower case. @default false */
  ignoreCase?: boolean;
  /** Turns a test of `value`, which is then a column of another table, into one of a row. */
  through?: (test: RawBuilder<SqlBool>) => RawBuilder<SqlBool>;
}

export interface NumberField {
  kind: 'number';
  value: RawBuilder<unknown>;
}

export interface DateField {
  kind: 'date';
  /** Milliseconds since the epoch. */
  value: RawBuilder<unknown>;
  /**
   * What `2024-01-31` is as the end of a range: the whole day, so that `[… TO 2024-01-31]` includes it, or the first
   * moment of it.
   */
  rangeEnd: 'period' | 'moment';
}

/** 0, 1 or null. */
export interface BooleanField {
  kind: 'boolean';
  value: RawBuilder<unknown>;
}

/** A text column with a JSON object. */
export interface JsonField {
  kind: 'json';
  value: RawBuilder<unknown>;
}

/** Kept, but encrypted. */
export interface SealedField {
  kind: 'sealed';
}
