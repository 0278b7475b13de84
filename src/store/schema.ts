import type { Insertable, Selectable } from 'kysely';

/**
 * The tables, as kysely sees them; `migrations/` makes them. The same on SQLite and PostgreSQL: times are integer
 * milliseconds since the epoch (UTC), booleans are 0 or 1, JSON is text, ids are made in code and sort by time.
 * A column ending in `_sealed` is encrypted under the row's data key (`key_id`); see `sealing.ts`.
 */
export interface Schema {
  setting: SettingTable;
  data_key: DataKeyTable;
  signing_key: SigningKeyTable;
  client: ClientTable;
  connection: ConnectionTable;
  user_account: UserAccountTable;
  action: ActionTable;
  action_version: ActionVersionTable;
  dependency_archive: DependencyArchiveTable;
  binding: BindingTable;
  registration: RegistrationTable;
  step: StepTable;
  attempt: AttemptTable;
  execution: ExecutionTable;
  cache_entry: CacheEntryTable;
  log: LogTable;
}

type Flag = 0 | 1;

/** Facts of the installation: its id, the master key's check value, the Temporal namespace it last spoke with. */
export interface SettingTable {
  name: string;
  value: string;
}

/** One key per registration and per Action, wrapped under the master key; deleting the row erases what it sealed. */
export interface DataKeyTable {
  id: string;
  wrapped: string;
  master_key_id: string;
  created_at: number;
}

/** RS256 keys of the token endpoint; `id` is the `kid`. */
export interface SigningKeyTable {
  id: string;
  public_jwk: string;
  private_jwk_sealed: string;
  key_id: string;
  created_at: number;
}

export interface ClientTable {
  id: string;
  name: string;
  /** SHA-256, hex: the secret is random, so a slow hash would add nothing. */
  secret_hash: string;
  /** JSON array of scopes. */
  scopes: string;
  /** JSON object of strings. */
  metadata: string;
  created_at: number;
}

export interface ConnectionTable {
  id: string;
  name: string;
  /** `auth0` (database); `email` and `sms` when passwordless arrives. */
  strategy: string;
  /** JSON object. */
  options: string;
  /** JSON object of strings. */
  metadata: string;
  created_at: number;
}

/** A user. Email and username are kept in lower case, as Auth0 does, and are unique in their connection. */
export interface UserAccountTable {
  /** With the provider, e.g. `auth0|5f7c8ec7c33c6c004bbafe82`. */
  id: string;
  connection_id: string;
  email: string | null;
  email_verified: Flag;
  username: string | null;
  phone_number: string | null;
  phone_verified: Flag;
  /** JSON object: given_name, family_name, name, nickname, picture. */
  profile: string;
  user_metadata: string;
  app_metadata: string;
  password_hash: string | null;
  last_password_reset: number | null;
  created_at: number;
  updated_at: number;
}

export type BuildStatus = 'pending' | 'building' | 'built' | 'failed';

/** An Action and its draft. */
export interface ActionTable {
  id: string;
  name: string;
  /** Lower-cased name, unique. */
  name_key: string;
  /** Any of Auth0's triggers; those that do not run here are stored all the same. */
  trigger_id: string;
  trigger_version: string;
  code: string;
  runtime: string;
  /** JSON `[{name, version, registry_url?}]`, `latest` replaced by the resolved version once built. */
  dependencies: string;
  /** JSON `[{name, updated_at}]`, times in nanoseconds as ISO text. */
  secret_names: string;
  /** JSON `{name: value}`. */
  secrets_sealed: string;
  key_id: string;
  build_status: BuildStatus;
  /** JSON `[{id, msg, url}]`: Auth0's ActionError. */
  build_errors: string;
  /** Grows with each change of the draft, so that a build that was overtaken is thrown away. */
  build_seq: number;
  build_claimed_until: number | null;
  built_at: string | null;
  archive_key: string | null;
  /** Id of the version to be made as soon as the build ends well (`deploy: true` on creation); answers show it already. */
  deploy_version_id: string | null;
  deployed_version_id: string | null;
  /** ISO text with nanoseconds, as Auth0 shows it. */
  created_at: string;
  updated_at: string;
}

/** An immutable version, made by a deploy. It outlives its Action while a step needs it. */
export interface ActionVersionTable {
  id: string;
  action_id: string;
  action_name: string;
  number: number;
  trigger_id: string;
  trigger_version: string;
  code: string;
  runtime: string;
  dependencies: string;
  secret_names: string;
  secrets_sealed: string;
  key_id: string;
  archive_key: string | null;
  built_at: string | null;
  created_at: string;
  updated_at: string;
}

/** An installed `node_modules` as one gzipped tar. */
export interface DependencyArchiveTable {
  /** SHA-256 over lockfile, Node major and platform. */
  key: string;
  lockfile: string;
  archive: Uint8Array;
  created_at: number;
}

export interface BindingTable {
  id: string;
  trigger_id: string;
  action_id: string;
  display_name: string;
  position: number;
  /** JSON `StepPolicy`; post-user-registration only. */
  policy: string;
  /** What a failure of the Action itself means; pre-user-registration only. */
  on_error: 'deny' | 'allow';
  created_at: string;
  updated_at: string;
}

export type RegistrationState = 'open' | 'closed';
export type RegistrationOutcome = 'succeeded' | 'failed' | 'cancelled' | 'nothing-bound';

/** A committed sign-up with its event. Its id is also the id of its post-user-registration execution. */
export interface RegistrationTable {
  id: string;
  /** The way in, e.g. `signup`. */
  source: string;
  user_id: string;
  connection_id: string;
  connection_name: string;
  client_id: string | null;
  /** JSON: the event without `secrets` and `usher`, which each invocation adds. */
  event_sealed: string;
  key_id: string;
  state: RegistrationState;
  outcome: RegistrationOutcome | null;
  /** Outbox: due to be handed to Temporal at this time; null when Temporal has it. */
  due_at: number | null;
  /** Grows each time that the registration is made due, so that an older hand-over cannot clear a newer wish. */
  due_seq: number;
  /** Outbox: the lease of the dispatcher that hands it over now. */
  claimed_until: number | null;
  dispatch_failures: number;
  dispatch_error: string | null;
  /** When the sweep asks Temporal about it, if it is not heard of before. */
  check_at: number | null;
  created_at: number;
  closed_at: number | null;
}

/**
 * `pending` and `parked` are open. `blocked` waits for a step that failed for good (`onFailure: wait`); like `failed`
 * it can be redriven.
 */
export type StepState = 'pending' | 'parked' | 'succeeded' | 'failed' | 'blocked' | 'cancelled';

/** One bound Action of one registration: everything about it fixed when the registration committed. */
export interface StepTable {
  id: string;
  registration_id: string;
  position: number;
  action_id: string;
  action_name: string;
  binding_id: string;
  version_id: string;
  version_number: number;
  policy: string;
  /** Grows only when a step that had succeeded is run again. */
  run: number;
  state: StepState;
  phase: 'quick' | 'long';
  /** Attempts that counted in this phase. */
  counted: number;
  /** Number of the last attempt; goes on through phases, runs and restarts. */
  last_attempt: number;
  phase_started_at: number | null;
  /** When the next attempt is due after a failure. */
  next_at: number | null;
  ended_at: number | null;
}

export type AttemptOutcome = 'succeeded' | 'failed' | 'lost' | 'cancelled';

export interface AttemptTable {
  id: string;
  step_id: string;
  registration_id: string;
  run: number;
  number: number;
  phase: 'quick' | 'long';
  worker_id: string;
  started_at: number;
  /** By the store's clock. The worker renews it, or kills the attempt before it runs out. */
  leased_until: number;
  ended_at: number | null;
  outcome: AttemptOutcome | null;
  /** 1 when a failure was the Action's own. */
  counted: Flag;
  error_type: string | null;
  /** JSON `ActionError`. */
  error_sealed: string | null;
  /** JSON `OutgoingCall[]`. */
  calls_sealed: string | null;
  /** JSON `{lines: LogLine[], truncated}`; later output of left-over work is added. */
  logs_sealed: string | null;
}

/** An execution of pre-user-registration; that of post-user-registration is the registration with its steps. */
export interface ExecutionTable {
  id: string;
  trigger_id: string;
  /** Null when the sign-up was denied. */
  registration_id: string | null;
  status: 'final' | 'partial' | 'canceled';
  /** JSON: per Action its name, times, error, logs and calls. */
  results_sealed: string;
  key_id: string;
  created_at: number;
  updated_at: number;
}

/** `api.cache`, scoped to the trigger. */
export interface CacheEntryTable {
  trigger_id: string;
  key: string;
  value_sealed: string;
  key_id: string;
  expires_at: number;
}

/** Auth0's tenant log. */
export interface LogTable {
  id: string;
  date: number;
  type: string;
  user_id: string | null;
  connection_id: string | null;
  client_id: string | null;
  registration_id: string | null;
  /** JSON: everything else of Auth0's log item (user_name, ip, details …). */
  item_sealed: string;
  key_id: string;
}

export type Row<T extends keyof Schema> = Selectable<Schema[T]>;
export type NewRow<T extends keyof Schema> = Insertable<Schema[T]>;
