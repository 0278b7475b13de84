import { gunzipSync } from 'node:zlib';
import { expect, test } from 'vitest';
import { createUsersExport } from '../../src/jobs/users-export.ts';
import { createJobStore, JobLostError } from '../../src/store/jobs.ts';
import { describeEachStore } from '../helpers/each-store.ts';
import { prepareStore, signUpOf, type TestStore } from '../helpers/stores.ts';

const COUNT = 1203;

async function addUsers({ database }: TestStore): Promise<void> {
  // All of one moment, as an import leaves them.
  const rows = Array.from({ length: COUNT }, (_, index) => ({ ...signUpOf(`person-${index}@example.com`).user, id: `auth0|person-${index}`, created_at: 7 }));
  for (let start = 0; start < COUNT; start += 300) await database.db.insertInto('user_account').values(rows.slice(start, start + 300)).execute();
}

describeEachStore('an export of users', (fresh) => {
  test('that was interrupted begins anew, and has each user once, whatever the size of its pages', async () => {
    const usher = await prepareStore((await fresh()).open());
    await addUsers(usher);
    const jobs = createJobStore(usher);
    const { id } = await jobs.create({ type: 'users_export', status: 'pending', options: { format: 'json' } });
    await usher.database.db.updateTable('job').set({ status: 'processing', position: 500 }).execute();
    const work = createUsersExport({ ...usher, jobs, toAnswer: (user) => ({ user_id: user.id }) });

    const claimed = (await jobs.claim(['users_export'], 0))!;
    const outdated = (await jobs.claim(['users_export'], 0))!;
    await work(claimed, new AbortController().signal);

    const lines = gunzipSync(Buffer.from((await jobs.readResult(id))!, 'base64')).toString().trim().split('\n');
    expect(lines).toHaveLength(COUNT);
    expect(new Set(lines).size).toBe(COUNT);
    expect(await jobs.find(id)).toMatchObject({ status: 'completed', position: COUNT, summary: { total: COUNT } });
    // Whoever had it before cannot replace what is done.
    await expect(work(outdated, new AbortController().signal)).rejects.toBeInstanceOf(JobLostError);
  });

  test('ends early at a stop, without a result', async () => {
    const usher = await prepareStore((await fresh()).open());
    await addUsers(usher);
    const jobs = createJobStore(usher);
    const { id } = await jobs.create({ type: 'users_export', status: 'pending', options: { format: 'json' } });
    const stopping = new AbortController();
    const work = createUsersExport({ ...usher, jobs, toAnswer: (user) => {
      stopping.abort();
      return { user_id: user.id };
    } });

    await work((await jobs.claim(['users_export'], 0))!, stopping.signal);

    expect(await jobs.find(id)).toMatchObject({ status: 'processing', position: 500 });
    expect(await jobs.readResult(id)).toBeNull();
  });

  test('ends when somebody else takes it up in its middle', async () => {
    const usher = await prepareStore((await fresh()).open());
    await addUsers(usher);
    const jobs = createJobStore(usher);
    await jobs.create({ type: 'users_export', status: 'pending', options: { format: 'json' } });
    const taken = { ...jobs, advance: async (...args: Parameters<typeof jobs.advance>) => {
      await jobs.advance(...args);
      await usher.database.db.updateTable('job').set({ position: 7 }).where('position', '=', 500).execute();
    } };
    const work = createUsersExport({ ...usher, jobs: taken, toAnswer: (user) => ({ user_id: user.id }) });

    await expect(work((await jobs.claim(['users_export'], 0))!, new AbortController().signal)).rejects.toBeInstanceOf(JobLostError);
  });
});
