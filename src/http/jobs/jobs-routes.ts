import { z } from 'zod';
import { managementError } from '../../domain/api-error.ts';
import type { ExportOptions, ImportOptions } from '../../domain/job.ts';
import type { ConnectionManagement } from '../../store/connection-management.ts';
import type { Job, JobStore } from '../../store/jobs.ts';
import { type Route, route } from '../endpoint.ts';
import { issuerOf } from '../issuer.ts';
import { ID_PATH } from '../schema/common.ts';
import { jobAnswer } from './answers.ts';
import { EXPORT_BODY, IMPORT_BODY, JOB, JOB_FAILURES } from './schema.ts';

export interface JobsRoutesDeps {
  jobs: JobStore;
  connections: Pick<ConnectionManagement, 'get'>;
  /** Called when there is a new job. */
  wakeJobs: () => void;
  /** Origin under which clients know us, where it is configured. */
  publicUrl: string | null;
}

const PATH = '/api/v2/jobs';
/** As at Auth0. */
const MAX_FILE_BYTES = 512_000;
/** As at Auth0: imports that are not done. */
const MAX_IMPORTS = 2;
const IMPORTABLE = ['auth0', 'email', 'sms'];

/** Imports and exports of users, and every job's state. */
export function jobsRoutes({ jobs, connections, wakeJobs, publicUrl }: JobsRoutesDeps): Route[] {
  return [
    route(
      {
        operationId: 'post_users_imports',
        method: 'post',
        path: `${PATH}/users-imports`,
        summary: 'Import users from a file',
        tag: 'jobs',
        scopes: ['create:users'],
        body: IMPORT_BODY,
        bodyTypes: ['multipart/form-data'],
        file: { field: 'users', maxBytes: MAX_FILE_BYTES },
        status: 202,
        returns: JOB,
        errors: [404],
      },
      async ({ body, token }) => {
        const { strategy } = await connections.get(body.connection_id);
        if (!IMPORTABLE.includes(strategy)) throw managementError(400, 'Users are imported into database and passwordless connections only.', 'invalid_body');
        if ((await jobs.countActive('users_import')) >= MAX_IMPORTS) {
          throw managementError(429, `There are ${MAX_IMPORTS} active import users jobs, please wait until some of them are finished and try again`, 'too_many_requests');
        }
        const options: ImportOptions = {
          connectionId: body.connection_id,
          upsert: body.upsert,
          externalId: body.external_id,
          registrations: body.usher_registrations,
          clientId: token.clientId,
        };
        const job = await jobs.create({ type: 'users_import', status: 'pending', options, content: body.users });
        wakeJobs();
        return jobAnswer(job);
      },
    ),
    route(
      {
        operationId: 'post_users_exports',
        method: 'post',
        path: `${PATH}/users-exports`,
        summary: 'Export users to a file',
        tag: 'jobs',
        scopes: ['read:users'],
        body: EXPORT_BODY,
        returns: JOB,
        errors: [404],
      },
      async ({ body: { connection_id: connectionId, ...rest } }) => {
        if (connectionId !== undefined) await connections.get(connectionId);
        const options: ExportOptions = { connectionId, ...rest };
        const job = await jobs.create({ type: 'users_export', status: 'pending', options });
        wakeJobs();
        return jobAnswer(job);
      },
    ),
    route(
      {
        operationId: 'get_jobs_by_id',
        method: 'get',
        path: `${PATH}/{id}`,
        summary: 'Get a job',
        tag: 'jobs',
        scopes: ['create:users', 'read:users'],
        params: ID_PATH,
        returns: JOB,
        errors: [404],
      },
      async ({ params, token, req }) => {
        const job = await jobs.find(params.id);
        const hasResult = job.type === 'users_export' && job.status === 'completed' && token.scopes.includes('read:users');
        return jobAnswer(job, hasResult ? `${issuerOf(req, publicUrl)}${resultPath(job)}?token=${await jobs.signResult(job.id)}` : undefined);
      },
    ),
    route(
      {
        operationId: 'get_errors',
        method: 'get',
        path: `${PATH}/{id}/errors`,
        summary: 'Get the users that an import could not import, and why',
        description: 'Of a job that failed as a whole: the job.',
        empty: 'There are none.',
        tag: 'jobs',
        scopes: ['create:users', 'read:users'],
        params: ID_PATH,
        returns: z.union([JOB_FAILURES, JOB]).optional(),
        errors: [404],
      },
      async ({ params }) => {
        const job = await jobs.find(params.id);
        if (job.status === 'failed') return jobAnswer(job);
        const failures = await jobs.listFailures(job.id);
        return failures.length > 0 ? failures : undefined;
      },
    ),
    route(
      {
        operationId: 'get_export',
        method: 'get',
        path: '/usher/exports/{id}/{file}',
        summary: "Download an export by its job's `location`",
        tag: 'jobs',
        scopes: null,
        params: ID_PATH.extend({ file: z.enum(['usher.json.gz', 'usher.csv.gz']) }),
        query: z.strictObject({ token: z.string().max(500) }),
        returns: z.instanceof(Buffer).meta({ override: { type: 'string', format: 'binary' } }),
        returnsType: 'application/gzip',
        errors: [404],
        ours: true,
      },
      async ({ params: { id, file }, query: { token }, res }) => {
        const job = (await jobs.isSigned(id, token)) ? await jobs.find(id) : null;
        const result = job === null || fileOf(job) !== file ? null : await jobs.readResult(id);
        if (result === null) throw managementError(404, 'There is no such export, or its link is not right. `GET /api/v2/jobs/{id}` has the link for 24 hours.');
        res.attachment(file).set('cache-control', 'no-store');
        return Buffer.from(result, 'base64');
      },
    ),
  ];
}

function fileOf({ options }: Job): 'usher.json.gz' | 'usher.csv.gz' {
  return `usher.${(options as unknown as ExportOptions).format}.gz`;
}

function resultPath(job: Job): string {
  return `usher/exports/${job.id}/${fileOf(job)}`;
}
