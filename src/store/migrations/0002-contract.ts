import { type Kysely, sql } from 'kysely';

/** What Auth0's contract needs beyond the main job: applications, roles, passwordless login, mails, jobs, modules. */
export async function up(db: Kysely<unknown>): Promise<void> {
  await applications(db);
  await users(db);
  await authentication(db);
  await actions(db);
}

async function applications(db: Kysely<unknown>): Promise<void> {
  const schema = db.schema;

  await schema.createTable('client_grant')
    .addColumn('id', 'text', (c) => c.primaryKey())
    .addColumn('client_id', 'text', (c) => c.notNull())
    .addColumn('audience', 'text', (c) => c.notNull())
    .addColumn('scope', 'text', (c) => c.notNull())
    .addColumn('subject_type', 'text', (c) => c.notNull().defaultTo('client'))
    .addColumn('settings', 'text', (c) => c.notNull().defaultTo('{}'))
    .addColumn('created_at', 'bigint', (c) => c.notNull())
    .addUniqueConstraint('client_grant_audience', ['client_id', 'audience', 'subject_type'])
    .execute();
  // What a client may do was a column of its own, and for the Management API alone.
  await sql`insert into client_grant (id, client_id, audience, scope, created_at)
    select 'cgr_' || substr(id, 1, 16), id, '/api/v2/', scopes, created_at from client`.execute(db);
  await schema.alterTable('client').dropColumn('scopes').execute();
  await schema.alterTable('client').addColumn('secret_sealed', 'text').execute();
  await schema.alterTable('client').addColumn('settings', 'text', (c) => c.notNull().defaultTo('{}')).execute();
  await schema.alterTable('client').addColumn('updated_at', 'bigint', (c) => c.notNull().defaultTo(0)).execute();

  await schema.createTable('resource_server')
    .addColumn('id', 'text', (c) => c.primaryKey())
    .addColumn('identifier', 'text', (c) => c.notNull().unique())
    .addColumn('name', 'text', (c) => c.notNull())
    .addColumn('scopes', 'text', (c) => c.notNull())
    .addColumn('settings', 'text', (c) => c.notNull())
    .addColumn('created_at', 'bigint', (c) => c.notNull())
    .execute();

  await schema.alterTable('connection').addColumn('settings', 'text', (c) => c.notNull().defaultTo('{}')).execute();
  await schema.alterTable('connection').addColumn('enabled_clients', 'text').execute();
  await schema.alterTable('connection').addColumn('secrets_sealed', 'text').execute();
  await schema.alterTable('connection').addColumn('updated_at', 'bigint', (c) => c.notNull().defaultTo(0)).execute();

  await schema.createTable('counter')
    .addColumn('key', 'text', (c) => c.primaryKey())
    .addColumn('count', 'integer', (c) => c.notNull())
    .addColumn('expires_at', 'bigint', (c) => c.notNull())
    .execute();
  await schema.createIndex('counter_expires').on('counter').column('expires_at').execute();
}

async function users(db: Kysely<unknown>): Promise<void> {
  const schema = db.schema;

  await schema.alterTable('user_account').addColumn('blocked', 'integer', (c) => c.notNull().defaultTo(0)).execute();
  await schema.alterTable('user_account').addColumn('logins_count', 'integer', (c) => c.notNull().defaultTo(0)).execute();
  await schema.alterTable('user_account').addColumn('last_login', 'bigint').execute();
  await schema.alterTable('user_account').addColumn('last_ip', 'text').execute();
  await schema.createIndex('user_account_phone').on('user_account')
    .columns(['connection_id', 'phone_number'])
    .unique()
    // Elsewhere a phone number is a part of the profile, which two users may share.
    .where(sql`substr(id, 1, 4)`, '=', sql`'sms|'`)
    .execute();
  await schema.createIndex('user_account_any_email').on('user_account').column('email').execute();
  await schema.createIndex('user_account_created').on('user_account').columns(['created_at', 'id']).execute();

  await schema.createTable('role')
    .addColumn('id', 'text', (c) => c.primaryKey())
    .addColumn('name', 'text', (c) => c.notNull().unique())
    .addColumn('description', 'text', (c) => c.notNull())
    .addColumn('created_at', 'bigint', (c) => c.notNull())
    .execute();
  await schema.createTable('user_role')
    .addColumn('user_id', 'text', (c) => c.notNull().references('user_account.id').onDelete('cascade'))
    .addColumn('role_id', 'text', (c) => c.notNull().references('role.id').onDelete('cascade'))
    .addColumn('created_at', 'bigint', (c) => c.notNull())
    .addPrimaryKeyConstraint('user_role_pk', ['user_id', 'role_id'])
    .execute();
  await schema.createTable('role_permission')
    .addColumn('role_id', 'text', (c) => c.notNull().references('role.id').onDelete('cascade'))
    .addColumn('audience', 'text', (c) => c.notNull())
    .addColumn('name', 'text', (c) => c.notNull())
    .addPrimaryKeyConstraint('role_permission_pk', ['role_id', 'audience', 'name'])
    .execute();
  await schema.createIndex('user_role_role').on('user_role').column('role_id').execute();
}

async function authentication(db: Kysely<unknown>): Promise<void> {
  const schema = db.schema;

  await schema.createTable('passwordless_code')
    .addColumn('connection_id', 'text', (c) => c.notNull())
    .addColumn('recipient', 'text', (c) => c.notNull())
    .addColumn('client_id', 'text', (c) => c.notNull())
    .addColumn('code_hash', 'text', (c) => c.notNull())
    .addColumn('tries_left', 'integer', (c) => c.notNull())
    .addColumn('created_at', 'bigint', (c) => c.notNull())
    .addColumn('expires_at', 'bigint', (c) => c.notNull())
    .addPrimaryKeyConstraint('passwordless_code_pk', ['connection_id', 'recipient', 'client_id'])
    .execute();
  await schema.createIndex('passwordless_code_expires').on('passwordless_code').column('expires_at').execute();

  await schema.createTable('ticket')
    .addColumn('token_hash', 'text', (c) => c.primaryKey())
    .addColumn('kind', 'text', (c) => c.notNull())
    .addColumn('user_id', 'text', (c) => c.notNull().references('user_account.id').onDelete('cascade'))
    .addColumn('email', 'text')
    .addColumn('client_id', 'text')
    .addColumn('result_url', 'text')
    .addColumn('created_at', 'bigint', (c) => c.notNull())
    .addColumn('expires_at', 'bigint', (c) => c.notNull())
    .execute();
  await schema.createIndex('ticket_user').on('ticket').column('user_id').execute();
  await schema.createIndex('ticket_expires').on('ticket').column('expires_at').execute();

  await schema.createTable('message')
    .addColumn('id', 'text', (c) => c.primaryKey())
    .addColumn('channel', 'text', (c) => c.notNull())
    .addColumn('content_sealed', 'text', (c) => c.notNull())
    .addColumn('key_id', 'text', (c) => c.notNull())
    .addColumn('state', 'text', (c) => c.notNull())
    .addColumn('due_at', 'bigint')
    .addColumn('claimed_until', 'bigint')
    .addColumn('failures', 'integer', (c) => c.notNull())
    .addColumn('error', 'text')
    .addColumn('created_at', 'bigint', (c) => c.notNull())
    .execute();
  await schema.createIndex('message_due').on('message').columns(['channel', 'due_at', 'id']).where('due_at', 'is not', null).execute();
  await schema.createIndex('message_left_over').on('message').columns(['state', 'id']).where(sql.ref('due_at'), 'is', null).execute();

  await schema.createTable('job')
    .addColumn('id', 'text', (c) => c.primaryKey())
    .addColumn('type', 'text', (c) => c.notNull())
    .addColumn('status', 'text', (c) => c.notNull())
    .addColumn('options', 'text', (c) => c.notNull())
    .addColumn('content_sealed', 'text')
    .addColumn('key_id', 'text')
    .addColumn('position', 'integer', (c) => c.notNull())
    .addColumn('summary', 'text')
    .addColumn('status_details', 'text')
    .addColumn('claimed_until', 'bigint')
    .addColumn('created_at', 'bigint', (c) => c.notNull())
    .addColumn('updated_at', 'bigint', (c) => c.notNull())
    .execute();
  await schema.createIndex('job_status').on('job').columns(['status', 'created_at']).execute();
  await schema.createTable('job_error')
    .addColumn('job_id', 'text', (c) => c.notNull().references('job.id').onDelete('cascade'))
    .addColumn('position', 'integer', (c) => c.notNull())
    .addColumn('entry_sealed', 'text', (c) => c.notNull())
    .addColumn('key_id', 'text', (c) => c.notNull())
    .addPrimaryKeyConstraint('job_error_pk', ['job_id', 'position'])
    .execute();

  await schema.createTable('handed_in')
    .addColumn('key_hash', 'text', (c) => c.primaryKey())
    .addColumn('body_hash', 'text', (c) => c.notNull())
    .addColumn('registration_id', 'text', (c) => c.notNull().references('registration.id'))
    .addColumn('created_at', 'bigint', (c) => c.notNull())
    .execute();
}

async function actions(db: Kysely<unknown>): Promise<void> {
  const schema = db.schema;

  await schema.alterTable('action').addColumn('modules', 'text', (c) => c.notNull().defaultTo('[]')).execute();
  await schema.alterTable('action_version').addColumn('modules', 'text', (c) => c.notNull().defaultTo('[]')).execute();
  await schema.alterTable('binding').addColumn('secrets_id', 'text').execute();
  await schema.alterTable('step').addColumn('binding_secrets_id', 'text').execute();
  await schema.createTable('binding_secrets')
    .addColumn('id', 'text', (c) => c.primaryKey())
    .addColumn('binding_id', 'text', (c) => c.notNull())
    .addColumn('secret_names', 'text', (c) => c.notNull())
    .addColumn('secrets_sealed', 'text', (c) => c.notNull())
    .addColumn('key_id', 'text', (c) => c.notNull())
    .addColumn('unbound_at', 'bigint')
    .execute();
  await schema.createIndex('step_binding_secrets').on('step').column('binding_secrets_id').where('binding_secrets_id', 'is not', null).execute();

  await schema.createTable('action_module')
    .addColumn('id', 'text', (c) => c.primaryKey())
    .addColumn('name', 'text', (c) => c.notNull())
    .addColumn('name_key', 'text', (c) => c.notNull().unique())
    .addColumn('code', 'text', (c) => c.notNull())
    .addColumn('dependencies', 'text', (c) => c.notNull())
    .addColumn('secret_names', 'text', (c) => c.notNull())
    .addColumn('secrets_sealed', 'text', (c) => c.notNull())
    .addColumn('key_id', 'text', (c) => c.notNull())
    .addColumn('created_at', 'text', (c) => c.notNull())
    .addColumn('updated_at', 'text', (c) => c.notNull())
    .execute();
  await schema.createTable('action_module_version')
    .addColumn('id', 'text', (c) => c.primaryKey())
    .addColumn('module_id', 'text', (c) => c.notNull())
    .addColumn('number', 'integer', (c) => c.notNull())
    .addColumn('code', 'text', (c) => c.notNull())
    .addColumn('dependencies', 'text', (c) => c.notNull())
    .addColumn('secret_names', 'text', (c) => c.notNull())
    .addColumn('secrets_sealed', 'text', (c) => c.notNull())
    .addColumn('key_id', 'text', (c) => c.notNull())
    .addColumn('created_at', 'text', (c) => c.notNull())
    .addUniqueConstraint('action_module_version_number', ['module_id', 'number'])
    .execute();
}
