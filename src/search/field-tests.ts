import { type RawBuilder, type SqlBool, sql } from 'kysely';
import { LIMITS } from '../domain/limits.ts';
import type { Database } from '../store/database.ts';
import type { JsonScalar } from '../store/text-and-json.ts';
import { parsePeriod, type Period } from './dates.ts';
import type { Bound, Term, Value } from './query.ts';
import type { BooleanField, DateField, JsonField, NumberField, TextField } from './search-field.ts';
import { quoted, SearchSyntaxError } from './search-syntax-error.ts';

/** A term that compares with values. */
type Comparison = Extract<Term, { type: 'equals' | 'range' }>;

const NUMBER = /^-?\d+(\.\d+)?([eE][+-]?\d+)?$/;
const LAST_CODE_POINT = 0x10ffff;

/** Whole texts; prefixes and ranges by code points. */
export function testText({ textAndJson }: Database, field: TextField, term: Term): RawBuilder<SqlBool> {
  const { value, ignoreCase = false, through = (test) => test } = field;
  const ordered = textAndJson.bytewise(value);
  const textOf = ({ text }: Value): string => (ignoreCase ? text.toLowerCase() : text);
  switch (term.type) {
    case 'exists':
      return through(sql`(${value} is not null)`);
    case 'equals':
      return through(sql`(${value} = ${textOf(term.value)})`);
    case 'prefix': {
      // Not `like`: this needs no escaping, means the same on both stores, and can use an index.
      const start = textOf(term.value);
      const end = firstBehind(start);
      return through(end === null ? sql`(${ordered} >= ${start})` : sql`(${ordered} >= ${start} and ${ordered} < ${end})`);
    }
    default:
      return through(testRange(term, {
        from: (bound) => (bound.inclusive ? sql`${ordered} >= ${textOf(bound)}` : sql`${ordered} > ${textOf(bound)}`),
        to: (bound) => (bound.inclusive ? sql`${ordered} <= ${textOf(bound)}` : sql`${ordered} < ${textOf(bound)}`),
      }));
  }
}

/** The first text, by code points, behind all that begin with `start`; null when there is none. */
function firstBehind(start: string): string | null {
  const chars = Array.from(start);
  while (chars.length > 0) {
    const last = chars.pop()!.codePointAt(0)!;
    // Surrogates are no characters.
    if (last < LAST_CODE_POINT) return chars.join('') + String.fromCodePoint(last === 0xd7ff ? 0xe000 : last + 1);
  }
  return null;
}

/** Times; a date without a time is its whole day (month, year, …). */
export function testDate({ value, rangeEnd }: DateField, term: Comparison): RawBuilder<SqlBool> {
  if (term.type === 'equals') {
    const { from, to } = periodOf(term.value);
    return sql`(${value} >= ${from} and ${value} < ${to})`;
  }
  const endOf = (bound: Bound): Period => {
    const period = periodOf(bound);
    return rangeEnd === 'period' ? period : { from: period.from, to: period.from + 1 };
  };
  return testRange(term, {
    from: (bound) => sql`${value} >= ${bound.inclusive ? endOf(bound).from : endOf(bound).to}`,
    to: (bound) => sql`${value} < ${bound.inclusive ? endOf(bound).to : endOf(bound).from}`,
  });
}

function periodOf({ text, column }: Value): Period {
  const period = parsePeriod(text);
  if (period === null) {
    throw new SearchSyntaxError(column, `${quoted(text)} is not a date: write 2024-01-31, 2024-01, 2024 or, in quotes or a range, 2024-01-31T10:20:30.400Z.`);
  }
  return period;
}

/** Numbers, and booleans, which are 0 and 1. */
export function testNumber({ kind, value }: NumberField | BooleanField, term: Comparison): RawBuilder<SqlBool> {
  // Without the cast, PostgreSQL takes 1.5 for a wrongly written integer.
  const parameter = (operand: Value): RawBuilder<number> => sql`cast(${kind === 'number' ? numberOf(operand) : flagOf(operand)} as numeric)`;
  if (term.type === 'equals') return sql`(${value} = ${parameter(term.value)})`;
  if (kind === 'boolean') throw new SearchSyntaxError((term.from ?? term.to)!.column, `${quoted(term.field.path.join('.'))} is true or false: ranges are for dates, numbers and texts.`);
  return testRange(term, {
    from: (bound) => (bound.inclusive ? sql`${value} >= ${parameter(bound)}` : sql`${value} > ${parameter(bound)}`),
    to: (bound) => (bound.inclusive ? sql`${value} <= ${parameter(bound)}` : sql`${value} < ${parameter(bound)}`),
  });
}

function numberOf({ text, column }: Value): number {
  const number = toNumber(text);
  if (number === null) throw new SearchSyntaxError(column, `${quoted(text)} is not a number.`);
  return number;
}

function flagOf({ text, column }: Value): 0 | 1 {
  if (text !== 'true' && text !== 'false') throw new SearchSyntaxError(column, `${quoted(text)} is neither true nor false.`);
  return text === 'true' ? 1 : 0;
}

/**
 * A value in metadata: `13` finds the number 13 and the text "13". Ranges and wildcards are not available there, as on
 * Auth0 (docs "User Search Query Syntax" for `user_metadata`, "Migrate from Search v2 to v3" for both).
 */
export function testJson({ textAndJson }: Database, { value }: JsonField, path: string[], term: Term): RawBuilder<SqlBool> {
  const { column } = term.field;
  if (path.length > LIMITS.jsonDepth) throw new SearchSyntaxError(column, `this path is deeper than metadata can be (${LIMITS.jsonDepth} levels).`);
  if (term.type === 'exists') return textAndJson.jsonHasAny(value, path);
  const root = term.field.path[0]!;
  if (term.type !== 'equals') throw new SearchSyntaxError(column, `ranges and wildcards are not available in ${root}, as on Auth0. Search for a whole value.`);
  if (path.length === 0) throw new SearchSyntaxError(column, `${root} is an object: name a field of it, as in ${root}.plan:"gold".`);
  return textAndJson.jsonHas(value, path, scalarsOf(term.value.text));
}

function scalarsOf(text: string): JsonScalar[] {
  if (text === 'true' || text === 'false') return [text, text === 'true'];
  const number = toNumber(text);
  return number === null ? [text] : [text, number];
}

function toNumber(text: string): number | null {
  const number = NUMBER.test(text) ? Number(text) : Number.NaN;
  return Number.isFinite(number) ? number : null;
}

/** What a bound asks for, at each end that is there. */
function testRange(
  { from, to }: Extract<Term, { type: 'range' }>,
  test: Record<'from' | 'to', (bound: Bound) => RawBuilder<SqlBool>>,
): RawBuilder<SqlBool> {
  const tests = [...(from === null ? [] : [test.from(from)]), ...(to === null ? [] : [test.to(to)])];
  return sql`(${sql.join(tests, sql` and `)})`;
}
