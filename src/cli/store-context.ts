import { existsSync } from 'node:fs';
import { sql } from 'kysely';
import { NO_STORE } from '../backup/snapshot.ts';
import { type DataPaths, dataPaths, refuseMoved } from '../data-dir.ts';
import { explainStoreError, takeLock } from '../installation.ts';
import { StartError } from '../start-error.ts';
import type { Database, Queryable } from '../store/database.ts';
import type { Lock } from '../store/lock.ts';
import { nameOfStore, openStore } from '../store/open-store.ts';
import { checkPostgresVersion } from '../store/postgres.ts';
import { CommandError, type Terminal } from './terminal.ts';

/** What the commands about a store are given of the process that they run in. */
export interface StoreContext {
  terminal: Terminal;
  workingDir: string;
  dataDir: string;
  /** PostgreSQL; null: the embedded store of the data directory. */
  databaseUrl: string | null;
  masterKey: Buffer | null;
  previousMasterKey: Buffer | null;
  /** Aborted when somebody wants it to end. */
  signal: AbortSignal;
}

/** A store that a command has opened. */
export interface OpenedStore {
  database: Database;
  paths: DataPaths;
  /** As people are told of it. */
  name: string;
}

/**
 * Does something with a store: the one of the data directory, or the one at `databaseUrl`. Nothing is made or changed by
 * the opening.
 *
 * @param options.make whether the file of an embedded store may be made.
 * @throws {CommandError} when there is no store.
 * @throws {StartError} when it cannot be used, or has moved.
 */
export async function withStore<T>({ dataDir, databaseUrl }: Pick<StoreContext, 'dataDir' | 'databaseUrl'>, { make }: { make: boolean }, work: (store: OpenedStore) => Promise<T>): Promise<T> {
  const paths = dataPaths(dataDir);
  const place = { databaseUrl, file: paths.store };
  if (databaseUrl === null) {
    refuseMoved(paths);
    if (!make && !existsSync(paths.store)) throw new CommandError(`${paths.store}: ${NO_STORE}`);
  }
  let database: Database | undefined;
  try {
    database = openStore(place, { patient: true });
    if (database.dialect === 'postgres') await checkPostgresVersion(database);
    return await work({ database, paths, name: nameOfStore(place) });
  } catch (error) {
    throw explainStoreError(error, place);
  } finally {
    await database?.close();
  }
}

/**
 * Keeps every Usher from the data directory until the locks are released.
 *
 * @throws {StartError} when one uses it.
 */
export async function lockDataDir({ supervisorLock, roleLock }: DataPaths): Promise<Lock> {
  const locks: Lock[] = [];
  const release = (): void => locks.forEach((lock) => lock.release());
  try {
    for (const path of [supervisorLock, roleLock('api'), roleLock('worker')]) locks.push(await takeLock(path, false));
  } catch (error) {
    release();
    throw error;
  }
  return { release };
}

/** Whether a process of Usher, other than this one, runs on the store now. */
export async function isUsherRunning({ database, paths }: OpenedStore, tx: Queryable): Promise<boolean> {
  if (database.dialect === 'postgres') {
    const { rows } = await sql`
      select 1 from pg_stat_activity
      where datname = current_database() and application_name = 'usher' and pid <> pg_backend_pid()`.execute(tx);
    return rows.length > 0;
  }
  try {
    (await lockDataDir(paths)).release();
    return false;
  } catch (error) {
    if (error instanceof StartError) return true;
    throw error;
  }
}
