import { type RawBuilder, type SqlBool, sql } from 'kysely';
import { managementError } from '../domain/api-error.ts';
import type { Database } from '../store/database.ts';
import { searchCondition } from './search-condition.ts';
import type { SearchField, SearchFields } from './search-field.ts';
import { quoted } from './search-syntax-error.ts';

/**
 * The condition on `user_account` that `q` of `GET /users` means. Fields and their meaning are those of Auth0's page
 * "User Search Query Syntax" (version 3), as far as they exist here; `docs/user-search.md` lists them.
 *
 * @throws {SearchSyntaxError} 400, with the place in `q`.
 */
export function searchUsers(database: Database, q: string): RawBuilder<SqlBool> {
  return searchCondition(database, userFields(database), q);
}

const NEVER_NULL = new Set(['user_id', 'created_at', 'updated_at', 'logins_count', 'blocked']);

/**
 * The order that `sort` of `GET /users` means, for `orderBy`: `field:1` upwards or `field:-1` downwards, users without
 * the field last, equals by their id. Texts are sorted as they are compared: without case where a search ignores it.
 *
 * @throws {ApiError} 400 `invalid_query_string` for anything else, and for metadata, as on Auth0.
 */
export function sortUsers(database: Database, sort: string): RawBuilder<unknown> {
  const [, name = '', order] = /^(.*):(1|-1)$/s.exec(sort) ?? [];
  const fields = new Map([...userFields(database)].filter(([name, field]) => isSortable(name, field)));
  const field = fields.get(name);
  if (field === undefined || field.kind === 'sealed') {
    const allowed = [...fields.keys()].join(', ');
    throw managementError(400, `Query validation error: ${quoted(sort)} is not a sort order: write field:1 or field:-1 with one of ${allowed}.`, 'invalid_query_string');
  }
  const value = field.kind === 'text' ? database.textAndJson.bytewise(field.value) : field.value;
  const direction = order === '1' ? sql`asc` : sql`desc`;
  // Where no value is missing, an index can be used only if nothing is said about it.
  const missing = NEVER_NULL.has(name) ? sql`` : sql`nulls last`;
  return sql`${value} ${direction} ${missing}, ${column('id')} ${direction}`;
}

function isSortable(name: string, field: SearchField): boolean {
  return field.kind !== 'json' && !name.includes('.');
}

function userFields({ textAndJson: { lower, position, jsonText } }: Database): SearchFields {
  const exact = (value: RawBuilder<unknown>): SearchField => ({ kind: 'text', value });
  const profile = (name: string): RawBuilder<unknown> => jsonText(column('profile'), name);
  const anyCase = (value: RawBuilder<unknown>): SearchField => ({ kind: 'text', value, ignoreCase: true });
  const date = (name: string): SearchField => ({ kind: 'date', value: column(name), rangeEnd: 'period' });
  const bar = position(column('id'), '|');
  return new Map<string, SearchField>([
    ['user_id', exact(column('id'))],
    // Stored in lower case.
    ['email', anyCase(column('email'))],
    ['email.domain', anyCase(sql`substr(${column('email')}, ${position(column('email'), '@')} + 1)`)],
    ['email_verified', { kind: 'boolean', value: whereThere('email_verified', 'email') }],
    ['username', exact(column('username'))],
    ['phone_number', exact(column('phone_number'))],
    ['phone_verified', { kind: 'boolean', value: whereThere('phone_verified', 'phone_number') }],
    ['name', anyCase(lower(profile('name')))],
    ['given_name', anyCase(lower(profile('given_name')))],
    ['family_name', anyCase(lower(profile('family_name')))],
    ['nickname', anyCase(lower(profile('nickname')))],
    ['picture', exact(profile('picture'))],
    ['created_at', date('created_at')],
    ['updated_at', date('updated_at')],
    ['last_login', date('last_login')],
    ['last_ip', exact(column('last_ip'))],
    ['logins_count', { kind: 'number', value: column('logins_count') }],
    ['blocked', { kind: 'boolean', value: column('blocked') }],
    ['identities.connection', {
      kind: 'text',
      value: sql.ref('connection.name'),
      through: (test) => sql`(${column('connection_id')} in (select ${sql.ref('connection.id')} from ${sql.table('connection')} where ${test}))`,
    }],
    ['identities.provider', exact(sql`substr(${column('id')}, 1, ${bar} - 1)`)],
    ['identities.user_id', exact(sql`substr(${column('id')}, ${bar} + 1)`)],
    ['user_metadata', { kind: 'json', value: column('user_metadata') }],
    ['app_metadata', { kind: 'json', value: column('app_metadata') }],
  ]);
}

function column(name: string): RawBuilder<unknown> {
  return sql.ref(`user_account.${name}`);
}

/** Whether an address is verified means nothing for a user without one. */
function whereThere(name: string, address: string): RawBuilder<unknown> {
  return sql`(case when ${column(address)} is not null then ${column(name)} end)`;
}
