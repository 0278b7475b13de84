import { randomBytes } from 'node:crypto';
import { managementError } from '../domain/api-error.ts';
import type { ImportFailure } from '../domain/job.ts';
import type { Database, Queryable } from './database.ts';
import { INSTALLATION_KEY, type Keyring } from './keyring.ts';
import type { Row } from './schema.ts';
import { SealError } from './sealing.ts';

export type JobType = Row<'job'>['type'];

/** An import, an export, or a mail that was asked for. */
export interface Job {
  id: string;
  type: JobType;
  status: Row<'job'>['status'];
  /** What was asked for. */
  options: Record<string, unknown>;
  /** Users done. */
  position: number;
  summary: Record<string, number> | null;
  /** Why it failed. */
  statusDetails: string | null;
  createdAt: number;
}

/** A job that is ours to work on, with what is imported. */
export interface ClaimedJob extends Job {
  content: string | null;
}

/** Somebody else has taken the job up: nothing that this one still does may be committed. */
export class JobLostError extends Error {
  constructor(id: string) {
    super(`The job ${id} is worked on by somebody else now.`);
    this.name = 'JobLostError';
  }
}

/** Jobs of the Management API. Times in milliseconds. */
export interface JobStore {
  /** @param job.status - `pending` for one that is to be worked on. */
  create(job: { type: JobType; status: 'pending' | 'completed'; options: object; content?: string }): Promise<Job>;
  /** @throws {ApiError} 404 */
  find(id: string): Promise<Job>;
  /** How many of a type are not done. */
  countActive(type: JobType): Promise<number>;
  /** Takes the oldest job of these types that nobody works on; it is ours for `leaseMs`. */
  claim(types: JobType[], leaseMs: number): Promise<ClaimedJob | null>;
  /**
   * Moves a claimed job on by `by` users and renews its lease, in the transaction that does what it moves past.
   *
   * @throws {JobLostError} when it is not where we left it: then the transaction must not commit.
   */
  advance(tx: Queryable, job: Pick<Job, 'id' | 'position'>, step: { by: number; summary: object; leaseMs: number }): Promise<void>;
  writeFailure(tx: Queryable, job: Pick<Job, 'id' | 'position'>, failure: ImportFailure): Promise<void>;
  /** Ends a claimed job; its content is replaced by the result, if there is one. */
  finish(job: Pick<Job, 'id' | 'position'>, end: { status: 'completed' | 'failed'; statusDetails?: string; result?: string }): Promise<void>;
  /** Gives a claimed job back, for the next who looks for one. */
  release(job: Pick<Job, 'id'>): Promise<void>;
  /** In the order of the file. */
  listFailures(id: string): Promise<ImportFailure[]>;
  /** What an export has made; null when there is none. */
  readResult(id: string): Promise<string | null>;
  /** A text that gives access to the result of this job alone. */
  signResult(id: string): Promise<string>;
  /** Whether `signResult` has made the text for this job. */
  isSigned(id: string, token: string): Promise<boolean>;
  /** Removes jobs that were made before this time, with all that they hold. */
  removeBefore(time: number): Promise<void>;
}

export function createJobStore({ database, keyring }: { database: Database; keyring: Keyring }): JobStore {
  const { db, now } = database;

  async function row(id: string): Promise<Row<'job'>> {
    const found = await db.selectFrom('job').selectAll().where('id', '=', id).executeTakeFirst();
    if (found === undefined) throw managementError(404, 'The job does not exist.', 'inexistent_job');
    return found;
  }

  return {
    async create({ type, status, options, content }) {
      const id = `job_${randomBytes(12).toString('base64url')}`;
      const createdAt = Date.now();
      const created = await db.insertInto('job')
        .values({
          id,
          type,
          status,
          options: JSON.stringify(options),
          content_sealed: content === undefined ? null : await keyring.seal(INSTALLATION_KEY, contentOf(id), content),
          key_id: INSTALLATION_KEY,
          position: 0,
          created_at: createdAt,
          updated_at: createdAt,
        })
        .returningAll()
        .executeTakeFirstOrThrow();
      return toJob(created);
    },

    async find(id) {
      return toJob(await row(id));
    },

    async countActive(type) {
      const { count } = await db.selectFrom('job')
        .select((eb) => eb.fn.countAll<number>().as('count'))
        .where('type', '=', type)
        .where('status', 'in', ['pending', 'processing'])
        .executeTakeFirstOrThrow();
      return count;
    },

    async claim(types, leaseMs) {
      const waiting = (from: Pick<Queryable, 'selectFrom'>) =>
        from.selectFrom('job')
          .select('id')
          .where('type', 'in', types)
          .where('status', 'in', ['pending', 'processing'])
          .where((eb) => eb.or([eb('claimed_until', 'is', null), eb('claimed_until', '<=', now)]))
          .orderBy('created_at')
          .limit(1);
      // A look first: on SQLite an update takes the write lock, also when there is nothing to do.
      if ((await waiting(db).executeTakeFirst()) === undefined) return null;
      const claimed = await db
        .with('chosen', (qb) => waiting(qb).forUpdate().skipLocked())
        .updateTable('job')
        .set((eb) => ({ status: 'processing', claimed_until: eb(now, '+', leaseMs), updated_at: Date.now() }))
        .where('id', 'in', (eb) => eb.selectFrom('chosen').select('id'))
        .returningAll()
        .executeTakeFirst();
      if (claimed === undefined) return null;
      const { id, content_sealed: sealed } = claimed;
      return { ...toJob(claimed), content: sealed === null ? null : await keyring.open(INSTALLATION_KEY, contentOf(id), sealed) };
    },

    async advance(tx, { id, position }, { by, summary, leaseMs }) {
      const { numUpdatedRows } = await tx.updateTable('job')
        .set((eb) => ({ position: position + by, summary: JSON.stringify(summary), claimed_until: eb(now, '+', leaseMs), updated_at: Date.now() }))
        .where('id', '=', id)
        .where('position', '=', position)
        .where('status', '=', 'processing')
        .executeTakeFirst();
      if (numUpdatedRows !== 1n) throw new JobLostError(id);
    },

    async writeFailure(tx, { id, position }, failure) {
      await tx.insertInto('job_error')
        .values({ job_id: id, position, entry_sealed: await keyring.sealJson(INSTALLATION_KEY, entryOf(id, position), failure, tx), key_id: INSTALLATION_KEY })
        .execute();
    },

    async finish({ id, position }, { status, statusDetails = null, result }) {
      const { numUpdatedRows } = await db.updateTable('job')
        .set({
          status,
          status_details: statusDetails,
          content_sealed: result === undefined ? null : await keyring.seal(INSTALLATION_KEY, contentOf(id), result),
          claimed_until: null,
          updated_at: Date.now(),
        })
        .where('id', '=', id)
        .where('position', '=', position)
        .where('status', '=', 'processing')
        .executeTakeFirst();
      if (numUpdatedRows !== 1n) throw new JobLostError(id);
    },

    async release({ id }) {
      await db.updateTable('job').set({ claimed_until: null }).where('id', '=', id).where('status', '=', 'processing').execute();
    },

    async listFailures(id) {
      const rows = await db.selectFrom('job_error').selectAll().where('job_id', '=', id).orderBy('position').execute();
      return await Promise.all(rows.map((each) => keyring.openJson<ImportFailure>(each.key_id, entryOf(id, each.position), each.entry_sealed)));
    },

    async readResult(id) {
      const { content_sealed: sealed, status } = await row(id);
      return sealed === null || status !== 'completed' ? null : await keyring.open(INSTALLATION_KEY, contentOf(id), sealed);
    },

    async signResult(id) {
      return await keyring.seal(INSTALLATION_KEY, accessTo(id), '');
    },

    async isSigned(id, token) {
      try {
        await keyring.open(INSTALLATION_KEY, accessTo(id), token);
        return true;
      } catch (error) {
        if (error instanceof SealError) return false;
        throw error;
      }
    },

    async removeBefore(time) {
      await db.deleteFrom('job').where('created_at', '<', time).execute();
    },
  };
}

function toJob(row: Row<'job'>): Job {
  return {
    id: row.id,
    type: row.type,
    status: row.status,
    options: JSON.parse(row.options) as Record<string, unknown>,
    position: row.position,
    summary: row.summary === null ? null : (JSON.parse(row.summary) as Record<string, number>),
    statusDetails: row.status_details,
    createdAt: row.created_at,
  };
}

function contentOf(id: string): string {
  return `job/${id}/content`;
}

function accessTo(id: string): string {
  return `job/${id}/access`;
}

function entryOf(id: string, position: number): string {
  return `job/${id}/error/${position}`;
}
