import type { TestProject } from 'vitest/node';
import { postgresMissing, startPostgres } from '../../examples/cluster/postgres.ts';
import { migrate } from '../../src/store/migrate.ts';
import { openPostgres } from '../../src/store/postgres.ts';
import { TEMPLATE } from './app-store.ts';
import { mustSkip } from './must-skip.ts';

/** Starts the PostgreSQL of a whole vitest project, with a database from which each test's own is made. */
export default async function setup(project: TestProject): Promise<(() => Promise<void>) | undefined> {
  // Without it they run on SQLite once more.
  if (mustSkip('PostgreSQL for the tests "on PostgreSQL"', postgresMissing())) return undefined;
  const server = await startPostgres();
  const template = openPostgres(await server.ensureDatabase(TEMPLATE));
  await migrate(template);
  await template.close();
  project.provide('postgresPort', server.port);
  return () => server.stop();
}
