import { z } from 'zod';

/** Ids that we make, and those that clients remember of what is gone. */
export const ID = z.string().regex(/^[\w-]{1,64}$/);

/** Of a client: as `USHER_CLIENT_ID` may be, too. */
export const CLIENT_ID = z.string().regex(/^[\w.-]{1,64}$/);

/** The path of what one id names. */
export const ID_PATH = z.strictObject({ id: ID });

/** A boolean in a query string. */
export const FLAG = z.enum(['true', 'false']).transform((text) => text === 'true');

const PAGE = z.coerce.number().int().min(0).max(10_000).default(0).describe('From 0.');

/** `page` and `per_page`, with Auth0's default for the list at hand; it gives at most 100 an answer. */
export function pageQuery(perPage: number) {
  return z.strictObject({ page: PAGE, per_page: z.coerce.number().int().min(1).max(100).default(perPage) });
}

/** What lists outside of Actions take on top of a page; `include_totals` makes the answer an object. */
export const TOTALS_QUERY = { include_totals: FLAG.default(false) };

/** Which properties of each item are wanted, separated by commas. */
export const FIELDS_QUERY = {
  fields: z.string().max(1000).optional().describe('Properties, separated by commas.'),
  include_fields: FLAG.default(true).describe('false: all but those named in `fields`.'),
};

/** Milliseconds of precision, as users have it; Actions have nanoseconds. */
export const DATE = z.iso.datetime({ offset: false });

/** Stamps of Actions. */
export const NANO_DATE = z.string().meta({ format: 'date-time', examples: ['2026-05-29T10:45:58.888947671Z'] });
