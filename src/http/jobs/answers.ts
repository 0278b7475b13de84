import type { z } from 'zod';
import type { ExportOptions, ImportOptions, ImportSummary } from '../../domain/job.ts';
import type { Job } from '../../store/jobs.ts';
import type { JOB } from './schema.ts';

type JobAnswer = z.input<typeof JOB>;

/** @param location - of the result of a finished export. */
export function jobAnswer(job: Job, location?: string): JobAnswer {
  return {
    status: job.status,
    type: job.type,
    created_at: new Date(job.createdAt).toISOString(),
    id: job.id,
    ...optionsOf(job),
    ...(job.status === 'processing' ? progressOf(job) : {}),
    ...(job.statusDetails === null ? {} : { status_details: job.statusDetails }),
    ...(job.type === 'users_import' && job.summary !== null && job.status !== 'processing' ? { summary: job.summary as unknown as ImportSummary } : {}),
    ...(location === undefined ? {} : { location }),
  };
}

function optionsOf({ type, options }: Job): Partial<JobAnswer> {
  if (type === 'users_import') {
    const { connectionId, upsert, externalId } = options as unknown as ImportOptions;
    return { connection_id: connectionId, upsert, ...(externalId === undefined ? {} : { external_id: externalId }) };
  }
  if (type === 'verification_email') return {};
  const { connectionId, ...given } = options as unknown as ExportOptions;
  return { ...(connectionId === undefined ? {} : { connection_id: connectionId }), ...given };
}

/** As if it went on as fast as it has since it was made. */
function progressOf({ position, summary, createdAt }: Job): Partial<JobAnswer> {
  const total = summary?.['total'] ?? 0;
  if (total === 0) return { percentage_done: 0 };
  const left = total - position;
  return {
    percentage_done: Math.floor((100 * position) / total),
    ...(position === 0 ? {} : { time_left_seconds: Math.ceil(((Date.now() - createdAt) / position / 1000) * left) }),
  };
}
