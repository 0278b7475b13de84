import { type RawBuilder, type SqlBool, sql } from 'kysely';
import type { Database } from '../store/database.ts';
import { searchCondition } from './search-condition.ts';
import type { SearchField, SearchFields } from './search-field.ts';

/**
 * The condition on `log` that `q` of `GET /logs` means. Fields and their meaning are those of Auth0's page "Log Search
 * Query Syntax"; those that are kept encrypted here cannot be searched.
 *
 * @throws {SearchSyntaxError} 400, with the place in `q`.
 */
export function searchLogs(database: Database, q: string): RawBuilder<SqlBool> {
  return searchCondition(database, FIELDS, q);
}

const text = (name: string): SearchField => ({ kind: 'text', value: sql.ref(`log.${name}`) });

/** A column of the connection or client that the entry is about, as it is now. */
const through = (table: 'connection' | 'client', column: string): SearchField => ({
  kind: 'text',
  value: sql.ref(`${table}.${column}`),
  through: (test) => sql`(${sql.ref(`log.${table}_id`)} in (select ${sql.ref(`${table}.id`)} from ${sql.table(table)} where ${test}))`,
});

const FIELDS: SearchFields = new Map<string, SearchField>([
  ['log_id', text('id')],
  // Auth0's "Migrate to Tenant Log Search v3": as an end of a range, a date is its first millisecond.
  ['date', { kind: 'date', value: sql.ref('log.date'), rangeEnd: 'moment' }],
  ['type', text('type')],
  ['user_id', text('user_id')],
  ['client_id', text('client_id')],
  ['connection_id', text('connection_id')],
  ['connection', through('connection', 'name')],
  ['strategy', through('connection', 'strategy')],
  ['client_name', through('client', 'name')],
  ...['description', 'hostname', 'ip', 'strategy_type', 'user_agent', 'user_name']
    .map((name): [string, SearchField] => [name, { kind: 'sealed' }]),
]);
