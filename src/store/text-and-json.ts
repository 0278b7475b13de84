import type { DatabaseSync } from 'node:sqlite';
import { type Expression, type RawBuilder, type SqlBool, sql } from 'kysely';
import { managementError } from '../domain/api-error.ts';
import { LIMITS } from '../domain/limits.ts';

/** A scalar of JSON that can be searched for. */
export type JsonScalar = string | number | boolean;

/** Expressions over text, and over JSON in text columns, that give the same on SQLite and PostgreSQL. */
export interface TextAndJson {
  /** Lower case by Unicode's rules, as `toLowerCase` has it. On PostgreSQL it needs ICU, which all usual builds have. */
  lower(text: Expression<unknown>): RawBuilder<string>;
  /** The text, but compared and sorted by code points, whatever language the database is set to. */
  bytewise(text: Expression<unknown>): RawBuilder<string>;
  /** Where `part` first stands in the text, from 1; 0 when it does not. */
  position(text: Expression<unknown>, part: string): RawBuilder<number>;
  /** The text of one member of a JSON object. */
  jsonText(json: Expression<unknown>, key: string): RawBuilder<string | null>;
  /**
   * True when one of `values` stands at `path`: as it is, or in an array. Arrays on the way there are looked through:
   * `['addresses', 'city']` reaches into each address.
   */
  jsonHas(json: Expression<unknown>, path: string[], values: JsonScalar[]): RawBuilder<SqlBool>;
  /** True when any scalar but `null` stands at `path` or below it. */
  jsonHasAny(json: Expression<unknown>, path: string[]): RawBuilder<SqlBool>;
}

/** Auth0 gives a search up as long as this too (docs "List and Search Users"): 503. */
const MAX_STATEMENT_MS = 2000;

/**
 * SQLite knows upper and lower case of ASCII only and cannot look through arrays, so these are functions of ours. They
 * are slow, and a statement stops the whole process while it runs: after 2 s it is given up.
 */
export function sqliteTextAndJson(file: DatabaseSync): TextAndJson {
  const checkTime = createStopwatch();
  function define(name: string, fn: (...texts: string[]) => string | number | null): void {
    file.function(name, { deterministic: true, directOnly: true, varargs: true }, (...values) => {
      checkTime();
      return values.includes(null) ? null : fn(...values.map(String));
    });
  }
  define('usher_lower', (text) => text.toLowerCase());
  define('usher_json_has', (json, path, values) => {
    const wanted = JSON.parse(values) as unknown[];
    return valuesAt(json, path).some((value) => wanted.includes(value)) ? 1 : 0;
  });
  define('usher_json_has_any', (json, path) => (valuesAt(json, path).some(hasScalar) ? 1 : 0));
  return {
    lower: (text) => sql`usher_lower(${text})`,
    bytewise: (text) => sql`${text}`,
    position: (text, part) => sql`instr(${text}, ${part})`,
    jsonText: (json, key) => sql`(${json} ->> ${key})`,
    jsonHas: (json, path, values) => sql`usher_json_has(${json}, ${JSON.stringify(path)}, ${JSON.stringify(values)})`,
    jsonHasAny: (json, path) => sql`usher_json_has_any(${json}, ${JSON.stringify(path)})`,
  };
}

/** A check that throws when it is called too long after its first call in the same statement. */
function createStopwatch(): () => void {
  let startedAt: number | null = null;
  return () => {
    if (startedAt === null) {
      startedAt = performance.now();
      // Nothing else runs before the statement has ended.
      queueMicrotask(() => {
        startedAt = null;
      });
    }
    if (performance.now() - startedAt > MAX_STATEMENT_MS) {
      throw managementError(503, `The search takes longer than ${MAX_STATEMENT_MS / 1000} seconds. Search for fewer values of names and metadata, or by other fields.`);
    }
  };
}

/** What stands at a path, arrays looked through. */
function valuesAt(json: string, path: string): unknown[] {
  let values: unknown[] = [JSON.parse(json)];
  for (const key of JSON.parse(path) as string[]) {
    values = values.flatMap((value) => (isObject(value) && Object.hasOwn(value, key) ? [value[key]] : [])).flat(LIMITS.jsonDepth);
  }
  return values;
}

function hasScalar(value: unknown): boolean {
  if (typeof value !== 'object') return true;
  return value !== null && Object.values(value).some(hasScalar);
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** By `jsonb` and its path language. */
export const postgresTextAndJson: TextAndJson = {
  lower: (text) => sql`lower(${text} collate "und-x-icu")`,
  bytewise: (text) => sql`(${text} collate "C")`,
  position: (text, part) => sql`strpos(${text}, ${part})`,
  jsonText: (json, key) => sql`(${toJsonb(json)} ->> ${key})`,
  jsonHas: (json, path, values) =>
    sql`jsonb_path_exists(${toJsonb(json)}, cast(${`${jsonPath(path)} ? (@ == $values[*])`} as jsonpath), cast(${JSON.stringify({ values })} as jsonb))`,
  jsonHasAny: (json, path) =>
    sql`jsonb_path_exists(${toJsonb(json)}, cast(${`${jsonPath(path)}.** ? (@.type() == "string" || @.type() == "number" || @.type() == "boolean")`} as jsonpath))`,
};

/** JSON of ours is valid, but `jsonb` does not take what no PostgreSQL text can have: NUL and half surrogate pairs. */
function toJsonb(json: Expression<unknown>): RawBuilder<unknown> {
  const untakable = String.raw`(?<!\\)((?:\\\\)*)\\u(0000|d[89a-f][0-9a-f]{2})`;
  return sql`cast(regexp_replace(${json}, ${untakable}, ${String.raw`\1\\ufffd`}, 'g') as jsonb)`;
}

/** `[*]` goes into an array and leaves anything else as it is, once for each array within arrays. */
function jsonPath(path: string[]): string {
  return `$${path.map((key) => `.${JSON.stringify(key)}${'[*]'.repeat(LIMITS.jsonDepth)}`).join('')}`;
}
