import { type Kysely, sql } from 'kysely';

/** Everything that the main job needs. `integer` of PostgreSQL is 32 bits wide, so times are `bigint` on both. */
export async function up(db: Kysely<unknown>): Promise<void> {
  const schema = db.schema;

  await schema.createTable('setting')
    .addColumn('name', 'text', (c) => c.primaryKey())
    .addColumn('value', 'text', (c) => c.notNull())
    .execute();

  await schema.createTable('data_key')
    .addColumn('id', 'text', (c) => c.primaryKey())
    .addColumn('wrapped', 'text', (c) => c.notNull())
    .addColumn('master_key_id', 'text', (c) => c.notNull())
    .addColumn('created_at', 'bigint', (c) => c.notNull())
    .execute();

  await schema.createTable('signing_key')
    .addColumn('id', 'text', (c) => c.primaryKey())
    .addColumn('public_jwk', 'text', (c) => c.notNull())
    .addColumn('private_jwk_sealed', 'text', (c) => c.notNull())
    .addColumn('key_id', 'text', (c) => c.notNull())
    .addColumn('created_at', 'bigint', (c) => c.notNull())
    .execute();

  await schema.createTable('client')
    .addColumn('id', 'text', (c) => c.primaryKey())
    .addColumn('name', 'text', (c) => c.notNull())
    .addColumn('secret_hash', 'text', (c) => c.notNull())
    .addColumn('scopes', 'text', (c) => c.notNull())
    .addColumn('metadata', 'text', (c) => c.notNull())
    .addColumn('created_at', 'bigint', (c) => c.notNull())
    .execute();

  await schema.createTable('connection')
    .addColumn('id', 'text', (c) => c.primaryKey())
    .addColumn('name', 'text', (c) => c.notNull().unique())
    .addColumn('strategy', 'text', (c) => c.notNull())
    .addColumn('options', 'text', (c) => c.notNull())
    .addColumn('metadata', 'text', (c) => c.notNull())
    .addColumn('created_at', 'bigint', (c) => c.notNull())
    .execute();

  await schema.createTable('user_account')
    .addColumn('id', 'text', (c) => c.primaryKey())
    .addColumn('connection_id', 'text', (c) => c.notNull().references('connection.id'))
    .addColumn('email', 'text')
    .addColumn('email_verified', 'integer', (c) => c.notNull())
    .addColumn('username', 'text')
    .addColumn('phone_number', 'text')
    .addColumn('phone_verified', 'integer', (c) => c.notNull())
    .addColumn('profile', 'text', (c) => c.notNull())
    .addColumn('user_metadata', 'text', (c) => c.notNull())
    .addColumn('app_metadata', 'text', (c) => c.notNull())
    .addColumn('password_hash', 'text')
    .addColumn('last_password_reset', 'bigint')
    .addColumn('created_at', 'bigint', (c) => c.notNull())
    .addColumn('updated_at', 'bigint', (c) => c.notNull())
    .execute();
  await schema.createIndex('user_account_email').on('user_account').columns(['connection_id', 'email']).unique().execute();
  await schema.createIndex('user_account_username').on('user_account').columns(['connection_id', 'username']).unique().execute();

  await schema.createTable('dependency_archive')
    .addColumn('key', 'text', (c) => c.primaryKey())
    .addColumn('lockfile', 'text', (c) => c.notNull())
    // Each dialect has one name of its own for bytes; SQLite takes any name.
    .addColumn('archive', 'bytea' as 'blob', (c) => c.notNull())
    .addColumn('created_at', 'bigint', (c) => c.notNull())
    .execute();

  await schema.createTable('action')
    .addColumn('id', 'text', (c) => c.primaryKey())
    .addColumn('name', 'text', (c) => c.notNull())
    .addColumn('name_key', 'text', (c) => c.notNull().unique())
    .addColumn('trigger_id', 'text', (c) => c.notNull())
    .addColumn('trigger_version', 'text', (c) => c.notNull())
    .addColumn('code', 'text', (c) => c.notNull())
    .addColumn('runtime', 'text', (c) => c.notNull())
    .addColumn('dependencies', 'text', (c) => c.notNull())
    .addColumn('secret_names', 'text', (c) => c.notNull())
    .addColumn('secrets_sealed', 'text', (c) => c.notNull())
    .addColumn('key_id', 'text', (c) => c.notNull())
    .addColumn('build_status', 'text', (c) => c.notNull())
    .addColumn('build_errors', 'text', (c) => c.notNull())
    .addColumn('build_seq', 'integer', (c) => c.notNull())
    .addColumn('build_claimed_until', 'bigint')
    .addColumn('built_at', 'text')
    .addColumn('archive_key', 'text')
    .addColumn('deploy_version_id', 'text')
    .addColumn('deployed_version_id', 'text')
    .addColumn('created_at', 'text', (c) => c.notNull())
    .addColumn('updated_at', 'text', (c) => c.notNull())
    .execute();

  await schema.createTable('action_version')
    .addColumn('id', 'text', (c) => c.primaryKey())
    // No foreign key: a version outlives its Action while a step needs it.
    .addColumn('action_id', 'text', (c) => c.notNull())
    .addColumn('action_name', 'text', (c) => c.notNull())
    .addColumn('number', 'integer', (c) => c.notNull())
    .addColumn('trigger_id', 'text', (c) => c.notNull())
    .addColumn('trigger_version', 'text', (c) => c.notNull())
    .addColumn('code', 'text', (c) => c.notNull())
    .addColumn('runtime', 'text', (c) => c.notNull())
    .addColumn('dependencies', 'text', (c) => c.notNull())
    .addColumn('secret_names', 'text', (c) => c.notNull())
    .addColumn('secrets_sealed', 'text', (c) => c.notNull())
    .addColumn('key_id', 'text', (c) => c.notNull())
    .addColumn('archive_key', 'text')
    .addColumn('built_at', 'text')
    .addColumn('created_at', 'text', (c) => c.notNull())
    .addColumn('updated_at', 'text', (c) => c.notNull())
    .addUniqueConstraint('action_version_number', ['action_id', 'number'])
    .execute();

  await schema.createTable('binding')
    .addColumn('id', 'text', (c) => c.primaryKey())
    .addColumn('trigger_id', 'text', (c) => c.notNull())
    .addColumn('action_id', 'text', (c) => c.notNull().references('action.id'))
    .addColumn('display_name', 'text', (c) => c.notNull())
    .addColumn('position', 'integer', (c) => c.notNull())
    .addColumn('policy', 'text', (c) => c.notNull())
    .addColumn('on_error', 'text', (c) => c.notNull())
    .addColumn('created_at', 'text', (c) => c.notNull())
    .addColumn('updated_at', 'text', (c) => c.notNull())
    .addUniqueConstraint('binding_position', ['trigger_id', 'position'])
    .execute();

  await schema.createTable('registration')
    .addColumn('id', 'text', (c) => c.primaryKey())
    .addColumn('source', 'text', (c) => c.notNull())
    .addColumn('user_id', 'text', (c) => c.notNull())
    .addColumn('connection_id', 'text', (c) => c.notNull())
    .addColumn('connection_name', 'text', (c) => c.notNull())
    .addColumn('client_id', 'text')
    .addColumn('event_sealed', 'text', (c) => c.notNull())
    .addColumn('key_id', 'text', (c) => c.notNull())
    .addColumn('state', 'text', (c) => c.notNull())
    .addColumn('outcome', 'text')
    .addColumn('due_at', 'bigint')
    .addColumn('due_seq', 'integer', (c) => c.notNull())
    .addColumn('claimed_until', 'bigint')
    .addColumn('dispatch_failures', 'integer', (c) => c.notNull())
    .addColumn('dispatch_error', 'text')
    .addColumn('check_at', 'bigint')
    .addColumn('created_at', 'bigint', (c) => c.notNull())
    .addColumn('closed_at', 'bigint')
    .execute();
  // Partial: the outbox and the sweep read only what is open, however many registrations are kept.
  await schema.createIndex('registration_due').on('registration').column('due_at').where('due_at', 'is not', null).execute();
  await schema.createIndex('registration_check').on('registration').column('check_at').where('check_at', 'is not', null).execute();
  await schema.createIndex('registration_user').on('registration').column('user_id').execute();

  await schema.createTable('step')
    .addColumn('id', 'text', (c) => c.primaryKey())
    .addColumn('registration_id', 'text', (c) => c.notNull().references('registration.id'))
    .addColumn('position', 'integer', (c) => c.notNull())
    .addColumn('action_id', 'text', (c) => c.notNull())
    .addColumn('action_name', 'text', (c) => c.notNull())
    .addColumn('binding_id', 'text', (c) => c.notNull())
    .addColumn('version_id', 'text', (c) => c.notNull())
    .addColumn('version_number', 'integer', (c) => c.notNull())
    .addColumn('policy', 'text', (c) => c.notNull())
    .addColumn('run', 'integer', (c) => c.notNull())
    .addColumn('state', 'text', (c) => c.notNull())
    .addColumn('phase', 'text', (c) => c.notNull())
    .addColumn('counted', 'integer', (c) => c.notNull())
    .addColumn('last_attempt', 'integer', (c) => c.notNull())
    .addColumn('phase_started_at', 'bigint')
    .addColumn('next_at', 'bigint')
    .addColumn('ended_at', 'bigint')
    .addUniqueConstraint('step_position', ['registration_id', 'position'])
    .execute();
  await schema.createIndex('step_version').on('step').column('version_id').execute();

  await schema.createTable('attempt')
    .addColumn('id', 'text', (c) => c.primaryKey())
    .addColumn('step_id', 'text', (c) => c.notNull().references('step.id'))
    .addColumn('registration_id', 'text', (c) => c.notNull())
    .addColumn('run', 'integer', (c) => c.notNull())
    .addColumn('number', 'integer', (c) => c.notNull())
    .addColumn('phase', 'text', (c) => c.notNull())
    .addColumn('worker_id', 'text', (c) => c.notNull())
    .addColumn('started_at', 'bigint', (c) => c.notNull())
    .addColumn('leased_until', 'bigint', (c) => c.notNull())
    .addColumn('ended_at', 'bigint')
    .addColumn('outcome', 'text')
    .addColumn('counted', 'integer', (c) => c.notNull())
    .addColumn('error_type', 'text')
    .addColumn('error_sealed', 'text')
    .addColumn('calls_sealed', 'text')
    .addColumn('logs_sealed', 'text')
    .addUniqueConstraint('attempt_number', ['step_id', 'number'])
    .execute();
  await schema.createIndex('attempt_running').on('attempt').column('worker_id').where(sql.ref('ended_at'), 'is', null).execute();

  await schema.createTable('execution')
    .addColumn('id', 'text', (c) => c.primaryKey())
    .addColumn('trigger_id', 'text', (c) => c.notNull())
    .addColumn('registration_id', 'text')
    .addColumn('status', 'text', (c) => c.notNull())
    .addColumn('results_sealed', 'text', (c) => c.notNull())
    .addColumn('key_id', 'text', (c) => c.notNull())
    .addColumn('created_at', 'bigint', (c) => c.notNull())
    .addColumn('updated_at', 'bigint', (c) => c.notNull())
    .execute();

  await schema.createTable('cache_entry')
    .addColumn('trigger_id', 'text', (c) => c.notNull())
    .addColumn('key', 'text', (c) => c.notNull())
    .addColumn('value_sealed', 'text', (c) => c.notNull())
    .addColumn('key_id', 'text', (c) => c.notNull())
    .addColumn('expires_at', 'bigint', (c) => c.notNull())
    .addPrimaryKeyConstraint('cache_entry_pk', ['trigger_id', 'key'])
    .execute();

  await schema.createTable('log')
    .addColumn('id', 'text', (c) => c.primaryKey())
    .addColumn('date', 'bigint', (c) => c.notNull())
    .addColumn('type', 'text', (c) => c.notNull())
    .addColumn('user_id', 'text')
    .addColumn('connection_id', 'text')
    .addColumn('client_id', 'text')
    .addColumn('registration_id', 'text')
    .addColumn('item_sealed', 'text', (c) => c.notNull())
    .addColumn('key_id', 'text', (c) => c.notNull())
    .execute();
  await schema.createIndex('log_type').on('log').columns(['type', 'id']).execute();
  await schema.createIndex('log_user').on('log').columns(['user_id', 'id']).execute();
}
