import type { Insertable, Selectable } from 'kysely';
import type { ActionModuleTable, ActionModuleVersionTable, ActionTable, ActionVersionTable, BindingSecretsTable, BindingTable, DependencyArchiveTable } from './tables/actions.ts';
import type { ClientGrantTable, ClientTable, ConnectionTable, ResourceServerTable } from './tables/applications.ts';
import type { JobErrorTable, JobTable, MessageTable, PasswordlessCodeTable, TicketTable } from './tables/authentication.ts';
import type { CounterTable, DataKeyTable, LogTable, SettingTable, SigningKeyTable } from './tables/installation.ts';
import type { AttemptTable, CacheEntryTable, ExecutionTable, HandedInTable, RegistrationTable, StepTable } from './tables/ledger.ts';
import type { BulkItemTable, BulkOperationTable, FlowTable } from './tables/operations.ts';
import type { ErasureTable, HistoryRemovalTable } from './tables/protection.ts';
import type { RolePermissionTable, RoleTable, UserAccountTable, UserRoleTable } from './tables/users.ts';

export type { BuildStatus } from './tables/actions.ts';
export type { AttemptOutcome, HeldReason, RegistrationOutcome, RegistrationState, StepState } from './tables/ledger.ts';

/**
 * The tables, as kysely sees them; `migrations/` makes them. The same on SQLite and PostgreSQL: times are integer
 * milliseconds since the epoch (UTC), booleans are 0 or 1, JSON is text, ids are made in code and sort by time.
 * A column ending in `_sealed` is encrypted under the row's data key (`key_id`); see `sealing.ts`.
 */
export interface Schema {
  setting: SettingTable;
  data_key: DataKeyTable;
  signing_key: SigningKeyTable;
  counter: CounterTable;
  log: LogTable;
  client: ClientTable;
  client_grant: ClientGrantTable;
  resource_server: ResourceServerTable;
  connection: ConnectionTable;
  user_account: UserAccountTable;
  role: RoleTable;
  role_permission: RolePermissionTable;
  user_role: UserRoleTable;
  passwordless_code: PasswordlessCodeTable;
  ticket: TicketTable;
  message: MessageTable;
  job: JobTable;
  job_error: JobErrorTable;
  action: ActionTable;
  action_version: ActionVersionTable;
  dependency_archive: DependencyArchiveTable;
  binding: BindingTable;
  binding_secrets: BindingSecretsTable;
  action_module: ActionModuleTable;
  action_module_version: ActionModuleVersionTable;
  registration: RegistrationTable;
  handed_in: HandedInTable;
  step: StepTable;
  attempt: AttemptTable;
  execution: ExecutionTable;
  cache_entry: CacheEntryTable;
  flow: FlowTable;
  bulk_operation: BulkOperationTable;
  bulk_item: BulkItemTable;
  erasure: ErasureTable;
  history_removal: HistoryRemovalTable;
}

export type Row<T extends keyof Schema> = Selectable<Schema[T]>;
export type NewRow<T extends keyof Schema> = Insertable<Schema[T]>;
