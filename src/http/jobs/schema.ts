import { z } from 'zod';
import { DATE, FLAG, ID } from '../schema/common.ts';

const FIELDS = z.array(
  z.strictObject({
    name: z.string().min(1).max(200).describe('Such as `email`, `user_metadata.plan` or `identities[0].connection`.'),
    export_as: z.string().min(1).max(200).optional().describe('Its title in the file.'),
  }),
).max(30);

/** Source: Auth0's `CreateImportUsersRequestContent`; `usher_registrations` is ours. */
export const IMPORT_BODY = z.strictObject({
  users: z.string().meta({ format: 'binary' }).describe('A JSON array of users in the form of an Auth0 import, at most 500 kB.'),
  connection_id: ID,
  upsert: FLAG.default(false).describe('Update users that are there already; else they fail.'),
  external_id: z.string().max(255).optional(),
  send_completion_email: FLAG.optional().describe('Taken, but no such mail is sent here.'),
  usher_registrations: FLAG.default(false).describe('Ours. Each user that is inserted is a registration: post-user-registration Actions run.'),
});

export const EXPORT_BODY = z.strictObject({
  connection_id: ID.optional().describe('Left out: users of all connections.'),
  format: z.enum(['json', 'csv']).default('json'),
  limit: z.int().min(1).max(10_000_000).optional(),
  fields: FIELDS.optional(),
});

/** A job of any type (Auth0's `GetJobResponseContent`, and what the endpoints that make jobs add). */
export const JOB = z
  .strictObject({
    status: z.enum(['pending', 'processing', 'completed', 'failed']),
    type: z.enum(['users_import', 'users_export', 'verification_email']),
    created_at: DATE,
    id: z.string(),
    connection_id: z.string().optional(),
    external_id: z.string().optional(),
    upsert: z.boolean().optional(),
    format: z.enum(['json', 'csv']).optional(),
    limit: z.int().optional(),
    fields: FIELDS.optional(),
    location: z.string().optional().describe('Where the result is, while the job is kept: 24 hours.'),
    percentage_done: z.int().optional(),
    time_left_seconds: z.int().optional(),
    status_details: z.string().optional().describe('Why it failed.'),
    summary: z.strictObject({ failed: z.int(), updated: z.int(), inserted: z.int(), total: z.int() }).optional(),
  })
  .meta({ id: 'Job' });

export const JOB_FAILURES = z.array(
  z.strictObject({
    user: z.record(z.string(), z.unknown()).describe('As it stands in the file; hashes are not shown.'),
    errors: z.array(z.strictObject({ code: z.string(), message: z.string(), path: z.string() })),
  }),
);
