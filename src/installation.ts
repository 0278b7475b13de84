import { existsSync } from 'node:fs';
import { type DataPaths, prepareDataDir, readMasterKey, refuseMoved } from './data-dir.ts';
import { asStartError, StartError } from './start-error.ts';
import { type Database, isStoreUnavailable } from './store/database.ts';
import { createKeyring, hasMasterKey, type Keyring, WrongMasterKeyError } from './store/keyring.ts';
import { acquireLock, type Lock, LockedError } from './store/lock.ts';
import { StoreNewerError } from './store/migrate.ts';
import { migrateStore, nameOfStore, openStore, type StorePlace } from './store/open-store.ts';
import { checkPostgresVersion, PostgresTooOldError } from './store/postgres.ts';

/** The opened data directory: store at its newest tables, and the keys. */
export interface Installation {
  paths: DataPaths;
  database: Database;
  keyring: Keyring;
  close(): Promise<void>;
}

/**
 * Opens the data directory and the store, making both on the first start.
 *
 * @param store.isEachSynced of the embedded store; see `openSqlite`.
 * @throws {StartError} with one sentence that says what is wrong and what to do; nothing is damaged then.
 */
export async function openInstallation(
  options: { dataDir: string; databaseUrl: string | null; masterKey: Buffer | null; previousMasterKey?: Buffer | null },
  { isEachSynced = true }: { isEachSynced?: boolean } = {},
): Promise<Installation> {
  const paths = await prepareDataDir(options.dataDir);
  const place = { databaseUrl: options.databaseUrl, file: paths.store };
  if (place.databaseUrl === null) refuseMoved(paths);
  const readKey = (isStoreMade: () => Promise<boolean>) => readMasterKey(paths, { given: options.masterKey, store: nameOfStore(place), isStoreMade });
  let database: Database | undefined;
  try {
    // The file is made after its key, so that of two first starts at once none misses the key.
    const keyOfFile = options.databaseUrl === null ? await readKey(() => Promise.resolve(existsSync(paths.store))) : null;
    const opened = openStore(place, { isEachSynced });
    database = opened;
    if (opened.dialect === 'postgres') await checkPostgresVersion(opened);
    const masterKey = keyOfFile ?? (await readKey(() => hasMasterKey(opened)));
    await migrateStore(place, opened);
    const keyring = createKeyring(opened, masterKey, options.previousMasterKey);
    await keyring.prepare();
    return { paths, database: opened, keyring, close: () => opened.close() };
  } catch (error) {
    await database?.close();
    throw explainStoreError(error, place);
  }
}

/** The error of a store as a sentence for people; one that is for developers comes back unchanged. */
export function explainStoreError(error: unknown, place: StorePlace): unknown {
  if (error instanceof WrongMasterKeyError || error instanceof StoreNewerError || error instanceof PostgresTooOldError) {
    return new StartError(error.message, { cause: error });
  }
  if (place.databaseUrl !== null && isStoreUnavailable(error)) {
    return new StartError(`${nameOfStore(place)} cannot be used now (${(error as Error).message}): see that PostgreSQL runs there and takes writes, and that DATABASE_URL names it; nothing was changed.`, { cause: error });
  }
  return asStartError(error, nameOfStore(place));
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
