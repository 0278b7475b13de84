import type { Logger } from '../logger.ts';
import { type ClaimedJob, JobLostError, type JobStore, type JobType } from '../store/jobs.ts';

/** Whoever works on a job renews its lease by each step; after this it is taken up by somebody else. */
export const JOB_LEASE_MS = 10_000;
/** How long a job waits that another process was given, or has left. */
const DEFAULT_POLL_MS = 2_000;
/** As at Auth0: a job and all that it holds is removed after a day. */
const KEEP_MS = 24 * 60 * 60_000;
const CLEANING_MS = 10 * 60_000;
/** As at Auth0: what has not ended by then has failed. */
const TIME_LIMIT_MS = 2 * 60 * 60_000;

/**
 * Works on a claimed job until it has finished it, or returns soon after `signal` is aborted; then the job goes on where
 * it was. May be called again for the same job, by another process too.
 */
export type JobWork = (job: ClaimedJob, signal: AbortSignal) => Promise<void>;

/** Works on jobs, one after the other, in the background. Any number of processes can. */
export interface JobRunner {
  start(): void;
  /** There is a new job. */
  wake(): void;
  /** Ends after the step under way; the job goes on elsewhere, or here after a new start. */
  stop(): Promise<void>;
}

export function createJobRunner(deps: {
  jobs: Pick<JobStore, 'claim' | 'finish' | 'release' | 'removeBefore'>;
  work: Partial<Record<JobType, JobWork>>;
  logger: Logger;
  /** @default 2 s */
  pollMs?: number;
}): JobRunner {
  const { jobs, work, logger, pollMs = DEFAULT_POLL_MS } = deps;
  const types = Object.keys(work) as JobType[];
  const stopping = new AbortController();
  let woken = Promise.withResolvers<void>();
  let cleanAt = 0;
  let running = Promise.resolve();

  /** @returns whether there was one. */
  async function workOnNext(): Promise<boolean> {
    const job = await jobs.claim(types, JOB_LEASE_MS);
    if (job === null) return false;
    logger.info({ job_id: job.id, type: job.type, position: job.position }, 'working on a job');
    try {
      if (Date.now() - job.createdAt > TIME_LIMIT_MS) await jobs.finish(job, { status: 'failed', statusDetails: 'The job took longer than 2 hours.' });
      else await work[job.type]!(job, stopping.signal);
    } catch (error) {
      if (error instanceof JobLostError) logger.info({ job_id: job.id }, error.message);
      else logger.error({ err: error, job_id: job.id }, 'a job was interrupted; it goes on when its lease has run out');
      return true;
    }
    if (stopping.signal.aborted) await jobs.release(job);
    return true;
  }

  async function cleanSometimes(): Promise<void> {
    if (Date.now() < cleanAt) return;
    cleanAt = Date.now() + CLEANING_MS;
    await jobs.removeBefore(Date.now() - KEEP_MS);
  }

  async function loop(): Promise<void> {
    while (!stopping.signal.aborted) {
      woken = Promise.withResolvers<void>();
      let busy = false;
      try {
        busy = await workOnNext();
        if (!busy) await cleanSometimes();
      } catch (error) {
        logger.error({ err: error }, 'the jobs cannot be read; trying again');
      }
      if (!busy) await Promise.race([woken.promise, rest(pollMs)]);
    }
  }

  return {
    start() {
      running = loop();
    },
    wake() {
      woken.resolve();
    },
    async stop() {
      stopping.abort();
      woken.resolve();
      await running;
    },
  };
}

async function rest(ms: number): Promise<void> {
  await new Promise<void>((resolve) => {
    setTimeout(resolve, ms).unref();
  });
}
