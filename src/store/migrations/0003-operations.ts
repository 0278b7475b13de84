import { type Kysely, sql } from 'kysely';

/** Policies, holds, running things again, and seeing them. */
export async function up(db: Kysely<unknown>): Promise<void> {
  const schema = db.schema;

  await schema.alterTable('registration').addColumn('trace_parent', 'text').execute();
  await schema.alterTable('registration').addColumn('handed_over_at', 'bigint').execute();
  await schema.createIndex('registration_created').on('registration').columns(['created_at', 'id']).execute();
  // With all that lists are filtered by: the rows themselves are large.
  await schema.createIndex('registration_listed').on('registration').columns(['outcome', 'id', 'connection_name', 'source', 'created_at']).execute();
  await schema.createIndex('registration_closed').on('registration').column('closed_at').where('closed_at', 'is not', null).execute();

  await schema.alterTable('step').addColumn('wish', 'integer', (c) => c.notNull().defaultTo(0)).execute();
  await schema.alterTable('step').addColumn('redrives', 'integer', (c) => c.notNull().defaultTo(0)).execute();
  await schema.alterTable('step').addColumn('held_reason', 'text').execute();
  await schema.alterTable('step').addColumn('held_at', 'bigint').execute();
  await schema.alterTable('step').addColumn('let_go_at', 'bigint').execute();
  await schema.createIndex('step_held').on('step').columns(['action_id', 'held_reason', 'held_at']).where('held_at', 'is not', null).execute();
  await schema.createIndex('step_held_reason').on('step').columns(['held_reason', 'held_at']).where('held_reason', 'is not', null).execute();
  await schema.createIndex('step_parked').on('step').column('action_name').where(sql.ref('state'), '=', sql.lit('parked')).execute();
  // Ids grow with time, so lists that are asked for by these come newest first from the index.
  await schema.createIndex('step_action').on('step').columns(['action_id', 'state', 'registration_id']).execute();
  await schema.createIndex('step_waiting').on('step').column('registration_id').where(sql<boolean>`next_at is not null or held_reason is not null`).execute();

  await schema.alterTable('attempt').addColumn('action_id', 'text').execute();
  await schema.alterTable('attempt').addColumn('failed_calls', 'integer', (c) => c.notNull().defaultTo(0)).execute();
  await schema.createIndex('attempt_alive').on('attempt').column('action_id').where(sql.ref('ended_at'), 'is', null).execute();

  await schema.createTable('flow')
    .addColumn('id', 'text', (c) => c.primaryKey())
    .addColumn('paused_at', 'bigint')
    .addColumn('paused_by', 'text')
    .addColumn('failures', 'integer', (c) => c.notNull().defaultTo(0))
    .addColumn('failed_step_ids', 'text')
    .addColumn('down_since', 'bigint')
    .addColumn('probe_step_id', 'text')
    .addColumn('probe_until', 'bigint')
    .addColumn('next_probe_at', 'bigint')
    .addColumn('recovering_since', 'bigint')
    .addColumn('next_release_at', 'bigint')
    .addColumn('updated_at', 'bigint', (c) => c.notNull())
    .execute();

  await schema.createTable('bulk_operation')
    .addColumn('id', 'text', (c) => c.primaryKey())
    .addColumn('kind', 'text', (c) => c.notNull())
    .addColumn('filter', 'text', (c) => c.notNull())
    .addColumn('options', 'text', (c) => c.notNull())
    .addColumn('state', 'text', (c) => c.notNull())
    .addColumn('cursor', 'text', (c) => c.notNull())
    .addColumn('rate', 'integer', (c) => c.notNull())
    .addColumn('total', 'integer', (c) => c.notNull())
    .addColumn('done', 'integer', (c) => c.notNull())
    .addColumn('changed', 'integer', (c) => c.notNull())
    .addColumn('failed', 'integer', (c) => c.notNull())
    .addColumn('created_by', 'text', (c) => c.notNull())
    .addColumn('created_at', 'bigint', (c) => c.notNull())
    .addColumn('updated_at', 'bigint', (c) => c.notNull())
    .addColumn('ended_at', 'bigint')
    .addColumn('claimed_until', 'bigint')
    .execute();

  await schema.createTable('bulk_item')
    .addColumn('operation_id', 'text', (c) => c.notNull().references('bulk_operation.id'))
    .addColumn('subject_id', 'text', (c) => c.notNull())
    .addColumn('registration_id', 'text')
    .addColumn('result', 'text', (c) => c.notNull())
    .addColumn('reason', 'text')
    .addColumn('at', 'bigint', (c) => c.notNull())
    .addPrimaryKeyConstraint('bulk_item_pk', ['operation_id', 'subject_id'])
    .execute();
  await schema.createIndex('bulk_item_result').on('bulk_item').columns(['operation_id', 'result', 'subject_id']).execute();

  // What is removed with a registration is found by it.
  await schema.createIndex('execution_registration').on('execution').column('registration_id').where('registration_id', 'is not', null).execute();
  // Those of denied sign-ups, which are removed by their own age.
  await schema.createIndex('execution_denied').on('execution').column('id').where(sql.ref('registration_id'), 'is', null).execute();
  await schema.createIndex('handed_in_registration').on('handed_in').column('registration_id').execute();

  await schema.createTable('erasure')
    .addColumn('id', 'text', (c) => c.primaryKey())
    .addColumn('state', 'text', (c) => c.notNull())
    .addColumn('subject_sealed', 'text')
    .addColumn('key_id', 'text')
    .addColumn('stage', 'text', (c) => c.notNull())
    .addColumn('cursor', 'text', (c) => c.notNull())
    .addColumn('removed', 'text', (c) => c.notNull())
    .addColumn('created_by', 'text', (c) => c.notNull())
    .addColumn('created_at', 'bigint', (c) => c.notNull())
    .addColumn('ended_at', 'bigint')
    .execute();
  await schema.createIndex('erasure_state').on('erasure').columns(['state', 'created_at']).execute();

  await schema.createTable('history_removal')
    .addColumn('registration_id', 'text', (c) => c.primaryKey())
    .addColumn('erasure_id', 'text', (c) => c.notNull().references('erasure.id'))
    .addColumn('created_at', 'bigint', (c) => c.notNull())
    .execute();
  await schema.createIndex('history_removal_erasure').on('history_removal').column('erasure_id').execute();
}
