import { type DataPaths, prepareDataDir, readMasterKey } from './data-dir.ts';
import { asStartError, StartError } from './start-error.ts';
import type { Database } from './store/database.ts';
import { createKeyring, type Keyring, WrongMasterKeyError } from './store/keyring.ts';
import { acquireLock, type Lock, LockedError } from './store/lock.ts';
import { migrate, StoreNewerError } from './store/migrate.ts';
import { openSqlite } from './store/sqlite.ts';

/** The opened data directory: store at its newest tables, and the keys. */
export interface Installation {
  paths: DataPaths;
  database: Database;
  keyring: Keyring;
  close(): Promise<void>;
}

/**
 * Opens the data directory, making it on the first start.
 *
 * @throws {StartError} with one sentence that says what is wrong and what to do; nothing is damaged then.
 */
export async function openInstallation(options: { dataDir: string; masterKey: Buffer | null }): Promise<Installation> {
  const paths = await prepareDataDir(options.dataDir);
  const masterKey = await readMasterKey(paths, options.masterKey);
  let database: Database | undefined;
  try {
    database = openSqlite(paths.store);
    await migrate(database);
    const keyring = createKeyring(database, masterKey);
    await keyring.prepare();
    const opened = database;
    return { paths, database, keyring, close: () => opened.close() };
  } catch (error) {
    await database?.close();
    if (error instanceof WrongMasterKeyError || error instanceof StoreNewerError) throw new StartError(error.message, { cause: error });
    throw asStartError(error, `The store ${paths.store}`);
  }
}

/** How long a starting role waits for a predecessor that is just dying. */
const LOCK_PATIENCE_MS = 10_000;
const LOOK_EVERY_MS = 100;

/**
 * Takes a lock of the data directory; held until the process ends.
 *
 * @param patient waits 10 s for whoever has it.
 * @throws {StartError} when another living process has it, or the file cannot be used.
 */
export async function takeLock(path: string, patient: boolean): Promise<Lock> {
  const giveUpAt = performance.now() + (patient ? LOCK_PATIENCE_MS : 0);
  for (;;) {
    try {
      return acquireLock(path);
    } catch (error) {
      if (!(error instanceof LockedError)) throw asStartError(error, `The lock file ${path}`);
      if (performance.now() >= giveUpAt) throw new StartError(error.message, { cause: error });
      await new Promise((resolve) => setTimeout(resolve, LOOK_EVERY_MS));
    }
  }
}
