import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe } from 'vitest';
import { postgresMissing, type PostgresServer, startPostgres } from '../../examples/cluster/postgres.ts';
import { newId } from '../../src/domain/ids.ts';
import type { Database } from '../../src/store/database.ts';
import { openPostgres } from '../../src/store/postgres.ts';
import { openSqlite } from '../../src/store/sqlite.ts';
import { mustSkip } from './must-skip.ts';

/** Where a test finds an empty database of its own, and how it opens it: once or, as a second process would, again. */
export interface EmptyStore {
  dialect: 'sqlite' | 'postgres';
  /** File or URL. */
  place: string;
  open(options?: Parameters<typeof openSqlite>[1]): Database;
}

type Suite = (fresh: () => Promise<EmptyStore>, postgres: () => PostgresServer) => void;

/** Runs one suite on SQLite and on a real PostgreSQL; what `fresh` opened is closed after each test. */
export function describeEachStore(title: string, suite: Suite, dialects: EmptyStore['dialect'][] = ['sqlite', 'postgres']): void {
  const isSkipped = dialects.includes('postgres') && mustSkip(`${title} (postgres)`, postgresMissing());

  describe.each(dialects)(`${title} (%s)`, (dialect) => {
    if (dialect === 'postgres' && isSkipped) {
      describe.skip('without PostgreSQL', () => suite(unavailable, unavailable));
      return;
    }
    const opened: Database[] = [];
    let server: PostgresServer;
    let dir: string;

    beforeAll(async () => {
      dir = await mkdtemp(join(tmpdir(), 'usher-store-'));
      if (dialect === 'postgres') server = await startPostgres();
    });
    afterEach(async () => {
      await Promise.all(opened.splice(0).map((database) => database.close()));
    });
    afterAll(async () => {
      if (dialect === 'postgres') await server.stop();
      await rm(dir, { recursive: true, force: true });
    });

    async function fresh(): Promise<EmptyStore> {
      const place = dialect === 'sqlite' ? join(dir, `${newId()}.db`) : await server.createDatabase();
      return {
        dialect,
        place,
        open(options) {
          const database = dialect === 'sqlite' ? openSqlite(place, options) : openPostgres(place);
          opened.push(database);
          return database;
        },
      };
    }
    suite(fresh, () => server);
  });
}

function unavailable(): never {
  throw new Error('there is no PostgreSQL');
}
