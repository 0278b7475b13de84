import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { Client } from 'pg';
import { inject } from 'vitest';
import type { Database } from '../../src/store/database.ts';
import { migrate } from '../../src/store/migrate.ts';
import { openPostgres } from '../../src/store/postgres.ts';
import { openSqlite } from '../../src/store/sqlite.ts';

declare module 'vitest' {
  export interface ProvidedContext {
    /** Of the vitest project's PostgreSQL, where it has one. */
    postgresPort: number | undefined;
  }
}

/** The database that has the tables and nothing else. */
export const TEMPLATE = 'usher_template';

/**
 * A store of its own with all tables: a file in `folder`, or in the vitest project "on PostgreSQL" a new database there.
 * Whoever opens it closes it.
 */
export async function openAppStore(folder: string): Promise<Database> {
  const port = inject('postgresPort');
  if (port === undefined) {
    const database = openSqlite(join(folder, 'usher.sqlite'));
    await migrate(database);
    return database;
  }
  const name = `app_${randomBytes(8).toString('hex')}`;
  const client = new Client({ connectionString: `postgres://postgres@127.0.0.1:${port}/postgres` });
  await client.connect();
  try {
    await client.query(`create database ${name} template ${TEMPLATE}`);
  } finally {
    await client.end();
  }
  return openPostgres(`postgres://postgres@127.0.0.1:${port}/${name}`);
}
