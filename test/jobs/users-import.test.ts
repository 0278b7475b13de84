import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { pino } from 'pino';
import { expect, test } from 'vitest';
import { readUser } from '../../src/http/jobs/import-user.ts';
import { createJobRunner, type JobRunner } from '../../src/jobs/job-runner.ts';
import { createUsersImport } from '../../src/jobs/users-import.ts';
import { createJobStore, type Job, JobLostError, type JobStore } from '../../src/store/jobs.ts';
import { describeEachStore } from '../helpers/each-store.ts';
import { bindActions, prepareStore, type TestStore } from '../helpers/stores.ts';

const RUN_JOBS = new URL('processes/run-jobs.ts', import.meta.url).pathname;
const CONNECTION = 'con_0000000000000001';

async function makeImport(jobs: JobStore, count: number, options: { upsert?: boolean; registrations?: boolean } = {}): Promise<Job> {
  const users = Array.from({ length: count }, (_, index) => ({ email: `person-${index}@example.com`, user_id: `person-${index}` }));
  return await jobs.create({ type: 'users_import', status: 'pending', options: { connectionId: CONNECTION, upsert: false, registrations: false, clientId: 'client1', ...options }, content: JSON.stringify(users) });
}

function makeRunner(usher: TestStore, jobs: JobStore): JobRunner {
  return createJobRunner({ jobs, work: { users_import: createUsersImport({ ...usher, jobs, readUser }) }, logger: pino({ level: 'silent' }), pollMs: 20 });
}

async function untilEnded(jobs: JobStore, id: string): Promise<Job> {
  const giveUpAt = performance.now() + 45_000;
  for (;;) {
    const job = await jobs.find(id);
    if (job.status === 'completed' || job.status === 'failed') return job;
    if (performance.now() > giveUpAt) throw new Error(`still ${job.status} at ${job.position}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

async function countOf({ database }: TestStore, table: 'registration' | 'step' | 'user_account' | 'job' | 'job_error'): Promise<number> {
  const { count } = await database.db.selectFrom(table).select((eb) => eb.fn.countAll<number>().as('count')).executeTakeFirstOrThrow();
  return count;
}

describeEachStore('an import of users', (fresh) => {
  test('goes on where it was after three kills with -9, and imports each user with its registration exactly once', async () => {
    const store = await fresh();
    const usher = await prepareStore(store.open());
    await bindActions(usher, [{ name: 'Notify Slack' }]);
    const jobs = createJobStore(usher);
    const count = 400;
    const { id } = await makeImport(jobs, count, { registrations: true });

    for (let round = 1; round <= 3; round++) {
      const child = spawn(process.execPath, [RUN_JOBS, store.place, '40'], { stdio: ['ignore', 'ignore', 'inherit'] });
      await once(child, 'exit');
      expect(child.signalCode).toBe('SIGKILL');
      // Each time, the last one was not committed.
      expect(await jobs.find(id)).toMatchObject({ status: 'processing', position: round * 39 });
      // The lease of the dead process runs out.
      await usher.database.db.updateTable('job').set({ claimed_until: 0 }).execute();
    }
    const runner = makeRunner(usher, jobs);
    runner.start();
    const job = await untilEnded(jobs, id);
    await runner.stop();

    expect(job).toMatchObject({ status: 'completed', position: count, summary: { inserted: count, updated: 0, failed: 0, total: count } });
    expect(await Promise.all((['user_account', 'registration', 'step', 'job_error'] as const).map((table) => countOf(usher, table)))).toEqual([count, count, count, 0]);
  });

  test('that two work on at once, because a lease ran out, imports each user once', async () => {
    const usher = await prepareStore((await fresh()).open());
    const jobs = createJobStore(usher);
    const { id } = await makeImport(jobs, 60);
    const first = (await jobs.claim(['users_import'], 0))!;
    const second = (await jobs.claim(['users_import'], 0))!;
    expect([first.id, second.id]).toEqual([id, id]);

    const work = createUsersImport({ ...usher, jobs, readUser });
    const { signal } = new AbortController();
    const results = await Promise.allSettled([work(first, signal), work(second, signal)]);

    const lost = results.flatMap((result) => (result.status === 'rejected' ? [result.reason as unknown] : []));
    expect(lost).toHaveLength(1);
    expect(lost[0]).toBeInstanceOf(JobLostError);
    expect(await jobs.find(id)).toMatchObject({ status: 'completed', summary: { inserted: 60, failed: 0 } });
    expect([await countOf(usher, 'user_account'), await countOf(usher, 'job_error')]).toEqual([60, 0]);
  });

  test('gives way to a stop, and goes on after a start without waiting for a lease', async () => {
    const usher = await prepareStore((await fresh()).open());
    const jobs = createJobStore(usher);
    const { id } = await makeImport(jobs, 200);
    let passed = 0;
    const moved = Promise.withResolvers<void>();
    const runner = makeRunner(usher, {
      ...jobs,
      async advance(...args) {
        await jobs.advance(...args);
        if (++passed === 20) moved.resolve();
      },
    });
    runner.start();
    await moved.promise;
    await runner.stop();
    const stopped = await jobs.find(id);
    expect(stopped.status).toBe('processing');
    expect(stopped.position).toBeLessThan(200);

    const next = makeRunner(usher, jobs);
    next.start();
    await untilEnded(jobs, id);
    await next.stop();
    expect(await countOf(usher, 'user_account')).toBe(200);
  });

  test('keeps its file sealed while it runs, and no file after it', async () => {
    const usher = await prepareStore((await fresh()).open());
    const jobs = createJobStore(usher);
    const { id } = await makeImport(jobs, 1);
    const sealed = async () => (await usher.database.db.selectFrom('job').select('content_sealed').where('id', '=', id).executeTakeFirstOrThrow()).content_sealed;
    expect(await sealed()).toMatch(/^v1\./);
    expect(await sealed()).not.toContain('person-0');

    const runner = makeRunner(usher, jobs);
    runner.start();
    await untilEnded(jobs, id);
    await runner.stop();
    expect(await sealed()).toBeNull();
  });

  test('that has not ended within two hours has failed, and after a day nothing is left of it', async () => {
    const usher = await prepareStore((await fresh()).open());
    const jobs = createJobStore(usher);
    const { id } = await makeImport(jobs, 1);
    const { db } = usher.database;
    await db.updateTable('job').set((eb) => ({ created_at: eb('created_at', '-', 2 * 3_600_000 + 1) })).execute();
    const runner = makeRunner(usher, jobs);
    runner.start();
    expect(await untilEnded(jobs, id)).toMatchObject({ status: 'failed', statusDetails: 'The job took longer than 2 hours.' });
    await runner.stop();
    expect(await countOf(usher, 'user_account')).toBe(0);

    await jobs.removeBefore(Date.now() - 24 * 3_600_000);
    expect(await countOf(usher, 'job')).toBe(1);
    await db.updateTable('job').set((eb) => ({ created_at: eb('created_at', '-', 24 * 3_600_000) })).execute();
    await jobs.removeBefore(Date.now() - 24 * 3_600_000);
    expect(await countOf(usher, 'job')).toBe(0);
  });
});
