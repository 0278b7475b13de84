/** Works on the jobs of the store given; kills itself just before it commits the n-th user that it moves past. */
import { pino } from 'pino';
import { readUser } from '../../../src/http/jobs/import-user.ts';
import { createJobRunner } from '../../../src/jobs/job-runner.ts';
import { createUsersImport } from '../../../src/jobs/users-import.ts';
import { createJobStore } from '../../../src/store/jobs.ts';
import { openPostgres } from '../../../src/store/postgres.ts';
import { openSqlite } from '../../../src/store/sqlite.ts';
import { prepareStore } from '../../helpers/stores.ts';

const [, , place = '', last] = process.argv;
const database = place.startsWith('postgres:') ? openPostgres(place) : openSqlite(place);
const usher = await prepareStore(database);
const jobs = createJobStore(usher);
let passed = 0;
const deadly = {
  ...jobs,
  async advance(...args: Parameters<typeof jobs.advance>) {
    await jobs.advance(...args);
    if (++passed === Number(last)) process.kill(process.pid, 'SIGKILL');
  },
};
createJobRunner({ jobs, work: { users_import: createUsersImport({ ...usher, jobs: deadly, readUser }) }, logger: pino({ level: 'silent' }), pollMs: 20 }).start();
setInterval(() => undefined, 60_000);
