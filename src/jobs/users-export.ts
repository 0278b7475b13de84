import { pipeline } from 'node:stream/promises';
import { createGzip } from 'node:zlib';
import type { ExportField, ExportOptions } from '../domain/job.ts';
import type { Database } from '../store/database.ts';
import type { ClaimedJob, JobStore } from '../store/jobs.ts';
import type { StoredUser } from '../store/users.ts';
import { csvLine, csvTitles, DEFAULT_CSV_FIELDS } from './csv.ts';
import { JOB_LEASE_MS, type JobWork } from './job-runner.ts';
import { valueAt } from './value-at.ts';

/** Users read at once. */
const PAGE = 500;

export interface UsersExportDeps {
  database: Database;
  jobs: Pick<JobStore, 'advance' | 'finish'>;
  /** A user as the Management API gives it. */
  toAnswer: (user: StoredUser) => Record<string, unknown>;
}

/**
 * Writes users into a file, compressed with gzip: one JSON object a line, or CSV. An export that was interrupted begins
 * anew. Its result is kept as base64; a million users take about 100 MB of it.
 */
export function createUsersExport({ database, jobs, toAnswer }: UsersExportDeps): JobWork {
  const { db } = database;

  return async (job, signal) => {
    const options = job.options as unknown as ExportOptions;
    const total = await countUsers(options);
    await restart(job, total);
    const chunks: Buffer[] = [];
    await pipeline(lines(job, options, total, signal), createGzip(), async (zipped: AsyncIterable<Buffer>) => {
      for await (const chunk of zipped) chunks.push(chunk);
    });
    if (!signal.aborted) await jobs.finish(job, { status: 'completed', result: Buffer.concat(chunks).toString('base64') });
  };

  async function countUsers({ connectionId, limit = Infinity }: ExportOptions): Promise<number> {
    let query = db.selectFrom('user_account').select((eb) => eb.fn.countAll<number>().as('total'));
    if (connectionId !== undefined) query = query.where('connection_id', '=', connectionId);
    return Math.min((await query.executeTakeFirstOrThrow()).total, limit);
  }

  async function restart(job: ClaimedJob, total: number): Promise<void> {
    await moveOn(job, -job.position, total);
  }

  async function moveOn(job: ClaimedJob, by: number, total: number): Promise<void> {
    await jobs.advance(db, job, { by, summary: { total }, leaseMs: JOB_LEASE_MS });
    job.position += by;
  }

  async function* lines(job: ClaimedJob, options: ExportOptions, total: number, signal: AbortSignal): AsyncGenerator<string> {
    const { format, fields } = options;
    const columns = fields ?? DEFAULT_CSV_FIELDS;
    if (format === 'csv') yield csvTitles(columns);
    let last: StoredUser | undefined;
    while (!signal.aborted) {
      const users = await page(options, last, Math.min(PAGE, (options.limit ?? Infinity) - job.position));
      last = users.at(-1);
      if (last === undefined) return;
      const answers = users.map(toAnswer);
      yield answers.map((user) => (format === 'csv' ? csvLine(columns, user) : `${JSON.stringify(fields === undefined ? user : chosen(fields, user))}\n`)).join('');
      await moveOn(job, users.length, total);
    }
  }

  async function page({ connectionId }: ExportOptions, after: StoredUser | undefined, limit: number): Promise<StoredUser[]> {
    let query = db.selectFrom('user_account')
      .innerJoin('connection', 'connection.id', 'user_account.connection_id')
      .selectAll('user_account')
      .select('connection.name as connection_name')
      .orderBy('user_account.created_at')
      .orderBy('user_account.id')
      .limit(limit);
    if (connectionId !== undefined) query = query.where('user_account.connection_id', '=', connectionId);
    if (after !== undefined) {
      query = query.where((eb) => eb.or([
        eb('user_account.created_at', '>', after.created_at),
        eb.and([eb('user_account.created_at', '=', after.created_at), eb('user_account.id', '>', after.id)]),
      ]));
    }
    return await query.execute();
  }
}

function chosen(fields: ExportField[], user: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(fields.map(({ name, export_as: title = name }) => [title, valueAt(user, name)]));
}
