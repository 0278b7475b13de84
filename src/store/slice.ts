import { type SelectQueryBuilder, sql } from 'kysely';
import type { Schema } from './schema.ts';

/** A part of a list that is sorted by id: a page, or what comes after a checkpoint. */
export interface Slice {
  limit: number;
  /** @default 0 */
  offset?: number;
  /** Only rows whose id comes after this one; it need not exist any more. */
  after?: string;
}

/** A part of a list, with the number of all rows that match. */
export interface Listed<T> {
  items: T[];
  total: number;
}

/** Sorts a query on one table by its id, and takes a part of it. */
export function slice<T extends keyof Schema, O>(query: SelectQueryBuilder<Schema, T, O>, { limit, offset = 0, after }: Slice): SelectQueryBuilder<Schema, T, O> {
  const id = sql.ref<string>('id');
  const sorted = query.orderBy(id).limit(limit).offset(offset);
  return after === undefined ? sorted : sorted.where(id, '>', after);
}
