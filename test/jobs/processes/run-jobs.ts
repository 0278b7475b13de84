/** Works on the jobs of the store given until it is killed; prints the place of each user that it has just moved past. */
import { pino } from 'pino';
import { readUser } from '../../../src/http/jobs/import-user.ts';
import { createJobRunner } from '../../../src/jobs/job-runner.ts';
import { createUsersImport } from '../../../src/jobs/users-import.ts';
import { createJobStore } from '../../../src/store/jobs.ts';
import { openPostgres } from '../../../src/store/postgres.ts';
import { openSqlite } from '../../../src/store/sqlite.ts';
import { prepareStore } from '../../helpers/stores.ts';

const [, , place = ''] = process.argv;
const database = place.startsWith('postgres:') ? openPostgres(place) : openSqlite(place);
const usher = await prepareStore(database);
const jobs = createJobStore(usher);
const counting = {
  ...jobs,
  async advance(...args: Parameters<typeof jobs.advance>) {
    await jobs.advance(...args);
    process.stdout.write(`${args[1].position}\n`);
  },
};
createJobRunner({ jobs, work: { users_import: createUsersImport({ ...usher, jobs: counting, readUser }) }, logger: pino({ level: 'silent' }), pollMs: 20 }).start();
setInterval(() => undefined, 60_000);
