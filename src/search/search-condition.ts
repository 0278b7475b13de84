import { type RawBuilder, type SqlBool, sql } from 'kysely';
import type { Database } from '../store/database.ts';
import { testDate, testJson, testNumber, testText } from './field-tests.ts';
import { parseQuery } from './parse-query.ts';
import type { Query, Term } from './query.ts';
import type { SearchField, SearchFields } from './search-field.ts';
import { quoted, SearchSyntaxError } from './search-syntax-error.ts';

/**
 * The condition that a search query (`q`) means, for the `where` of a query on the table of `fields`. The same on SQLite
 * and PostgreSQL; whatever the user wrote is a parameter of it.
 *
 * @throws {SearchSyntaxError} when the query is not of the supported form, or names what cannot be searched.
 */
export function searchCondition(database: Database, fields: SearchFields, q: string): RawBuilder<SqlBool> {
  function conditionOf(query: Query): RawBuilder<SqlBool> {
    switch (query.type) {
      case 'and':
        return sql`(${sql.join(query.clauses.map(conditionOf), sql` and `)})`;
      case 'or':
        return sql`(${sql.join(query.clauses.map(conditionOf), sql` or `)})`;
      case 'not':
        // A comparison with null is null, and its opposite must be true.
        return sql`(${conditionOf(query.clause)} is not true)`;
      default:
        return testOf(query);
    }
  }

  function testOf(term: Term): RawBuilder<SqlBool> {
    const { field, path } = findField(fields, term);
    switch (field.kind) {
      case 'json':
        return testJson(database, field, path, term);
      case 'text':
        return testText(database, field, term);
      case 'sealed':
        throw new SearchSyntaxError(term.field.column, `the field ${nameOf(term)} is kept encrypted and cannot be searched. Fields that can be: ${listOf(fields)}.`);
      default:
        if (term.type === 'exists') return sql`(${field.value} is not null)`;
        if (term.type === 'prefix') {
          throw new SearchSyntaxError(term.value.column, `the field ${nameOf(term)} is a ${field.kind}: wildcards are for texts. Use a value or a range.`);
        }
        if (field.kind === 'date') return testDate(field, term);
        return testNumber(field, term);
    }
  }

  return conditionOf(parseQuery(q));
}

/** The field that a term names; `path` is what follows the name of a field of kind `json`. */
function findField(fields: SearchFields, term: Term): { field: SearchField; path: string[] } {
  const [root, ...path] = term.field.path;
  const json = fields.get(root!);
  if (json?.kind === 'json') return { field: json, path };
  const field = fields.get(term.field.path.join('.'));
  if (field !== undefined) return { field, path: [] };
  throw new SearchSyntaxError(term.field.column, `unknown field ${nameOf(term)}. Fields that can be searched: ${listOf(fields)}.`);
}

function nameOf(term: Term): string {
  return quoted(term.field.path.join('.'));
}

function listOf(fields: SearchFields): string {
  const names = [...fields].filter(([, { kind }]) => kind !== 'sealed').map(([name, { kind }]) => (kind === 'json' ? `${name}.*` : name));
  return names.join(', ');
}
