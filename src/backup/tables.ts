import type { Schema } from '../store/schema.ts';

export type TableName = keyof Schema;

/** The columns by which a table's rows are told apart: those of its primary key. */
type Keys = { readonly [T in TableName]: readonly (keyof Schema[T] & string)[] };

/** Every table, those that others refer to before them: in this order they can be filled, in the other one dropped. */
export const KEYS: Keys = {
  setting: ['name'],
  data_key: ['id'],
  signing_key: ['id'],
  counter: ['key'],
  log: ['id'],
  client: ['id'],
  client_grant: ['id'],
  resource_server: ['id'],
  connection: ['id'],
  user_account: ['id'],
  role: ['id'],
  role_permission: ['role_id', 'audience', 'name'],
  user_role: ['user_id', 'role_id'],
  passwordless_code: ['connection_id', 'recipient', 'client_id'],
  ticket: ['token_hash'],
  message: ['id'],
  job: ['id'],
  job_error: ['job_id', 'position'],
  dependency_archive: ['key'],
  action: ['id'],
  action_version: ['id'],
  binding: ['id'],
  binding_secrets: ['id'],
  action_module: ['id'],
  action_module_version: ['id'],
  registration: ['id'],
  handed_in: ['key_hash'],
  step: ['id'],
  attempt: ['id'],
  execution: ['id'],
  cache_entry: ['trigger_id', 'key'],
  flow: ['id'],
  bulk_operation: ['id'],
  bulk_item: ['operation_id', 'subject_id'],
  erasure: ['id'],
  history_removal: ['registration_id'],
};

/** Names of all tables, in that order. */
export const TABLES = Object.keys(KEYS) as TableName[];

/** Rows that are read and written at once. An archive or an import can be tens of megabytes large. */
export function rowsPerPage(table: TableName): number {
  return table === 'dependency_archive' || table === 'job' ? 1 : 100;
}
