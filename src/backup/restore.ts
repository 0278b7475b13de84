import { setTimeout as sleep } from 'node:timers/promises';
import { sql, type Transaction } from 'kysely';
import { addCodecKeys, type CodecKeyRows, readCodecKeys } from '../store/codec-keys.ts';
import { type Database, type Queryable, storeNow } from '../store/database.ts';
import { INSTALLATION_KEY, rewrapDataKey, unwrapDataKey, type WrappedKey } from '../store/keyring.ts';
import { appliedMigrations, applyMigrations, missingMigrations } from '../store/migrate.ts';
import type { Schema } from '../store/schema.ts';
import { SealError } from '../store/sealing.ts';
import { tableColumns } from '../store/table-columns.ts';
import { type BackupHeader, openBackup } from './backup-file.ts';
import { BackupError } from './backup-error.ts';
import { dropTables, load } from './load.ts';
import type { Cell, Page, Sums } from './page.ts';
import { aboveAll, beginAnew } from './restored.ts';
import { waitForUs } from './snapshot.ts';
import { TABLES } from './tables.ts';

/** Longer than any lease: more is the work of a clock that was moved. */
const LONGEST_LEASE_MS = 60_000;
const LOCK_TRIES = 10;
/** Everybody else waits meanwhile, too. */
const LOCK_TIMEOUT_MS = 3_000;

/** What a backup holds that has to fit the keys at hand. */
export interface CheckedBackup {
  path: string;
  header: BackupHeader;
  installationKey: WrappedKey | null;
}

/**
 * Reads a backup from its beginning to its end, and tries the master keys on it.
 *
 * @throws {BackupError} when it is damaged, a newer Usher has made it, or it was sealed under another master key.
 */
export async function checkBackup(path: string, masterKeys: readonly Buffer[], signal: AbortSignal): Promise<CheckedBackup> {
  const { header, pages } = await openBackup(path);
  const keys = new Map<string, WrappedKey>();
  let installationKey: WrappedKey | null = null;
  for await (const page of pages) {
    signal.throwIfAborted();
    if (page.table !== 'data_key') continue;
    for (const key of wrappedKeys(page)) {
      keys.set(key.master_key_id, key);
      if (key.id === INSTALLATION_KEY) installationKey = key;
    }
  }
  for (const key of keys.values()) {
    if (unwrapped(key, masterKeys) === null) {
      throw new BackupError(
        `What is sealed in ${path} was sealed under another master key. Give the one of that time as USHER_MASTER_KEY, or as ` +
          'the key file in the data directory; while a key was being replaced, also the one before as USHER_MASTER_KEY_PREVIOUS. Nothing was changed.',
      );
    }
  }
  return { path, header, installationKey };
}

function wrappedKeys({ columns, rows }: Page): WrappedKey[] {
  const cell = (row: Cell[], name: keyof WrappedKey) => row[columns.indexOf(name)] as string;
  return rows.map((row) => ({ id: cell(row, 'id'), wrapped: cell(row, 'wrapped'), master_key_id: cell(row, 'master_key_id') }));
}

function unwrapped(key: WrappedKey, masterKeys: readonly Buffer[]): Buffer | null {
  try {
    return unwrapDataKey(key, masterKeys);
  } catch (error) {
    if (error instanceof SealError) return null;
    throw error;
  }
}

export interface RestoreOptions {
  masterKeys: readonly Buffer[];
  /** Whether what is in the store may be replaced. */
  replace: boolean;
  /** Whether a process of Usher runs on the store. */
  isRunning(tx: Queryable): Promise<boolean>;
  signal: AbortSignal;
  /** What is waited for, as a sentence. */
  progress(line: string): void;
}

/**
 * Puts a backup in the place of everything in the store, in one transaction, also while Usher runs on it: whoever wants to
 * write waits meanwhile and is refused in the end, and no attempt that was begun before is alive afterwards. Every
 * registration that is open in the backup is due then.
 *
 * @returns what was restored, and the number of registrations that go on.
 * @throws {BackupError} and leaves the store as it was.
 */
export async function restore(database: Database, backup: CheckedBackup, options: RestoreOptions): Promise<{ sums: Sums; open: number }> {
  for (let tries = 1; ; tries++) {
    try {
      return await database.transaction((tx) => replaceAll(database, tx, backup, options));
    } catch (error) {
      if (!isLockedOut(error)) throw error;
      if (tries === LOCK_TRIES) throw new BackupError('The store is kept busy (by a backup, or long queries): try again when they have ended. Nothing was changed.', { cause: error });
    }
  }
}

/** PostgreSQL's SQLSTATE for a deadlock, and for a lock that is not given in time. */
function isLockedOut(error: unknown): boolean {
  return ['40P01', '55P03'].includes((error as { code?: string }).code ?? '');
}

async function replaceAll(database: Database, tx: Transaction<Schema>, backup: CheckedBackup, options: RestoreOptions): Promise<{ sums: Sums; open: number }> {
  const { masterKeys, signal, progress } = options;
  await waitForUs(database, tx);
  await database.lockSchema(tx);
  let atLeast = 1;
  let codecKeys: CodecKeyRows | null = null;
  if (await holdsUsher(database, tx)) {
    if (!options.replace) throw new BackupError('The store is not empty: add --replace to put the backup in the place of everything in it. Nothing was changed.');
    await lockOutOthers(database, tx);
    // An older program's tables become ours first, so that the questions to them are those of today.
    await applyMigrations(database, tx, missingMigrations(await appliedMigrations(database, tx)));
    const isSame = await isSameInstallation(tx, backup, masterKeys);
    // The processes of another one would go on for a moment, and seal under keys that are not in the backup.
    if (!isSame && (await options.isRunning(tx))) {
      throw new BackupError('The store is of another installation than the backup, and its Usher runs: stop it, restore, and start it again. Nothing was changed.');
    }
    await attemptsEnded(database, tx, progress, signal);
    atLeast = await aboveAll(tx);
    if (isSame) codecKeys = await codecKeysFor(backup, tx, masterKeys);
    await dropTables(database, tx);
  }
  progress('Writing …');
  const sums = await load(database, tx, await openBackup(backup.path), signal);
  // Workflows go on, with what was encrypted since the backup; and processes encrypt under these keys for a moment yet.
  if (codecKeys !== null) await addCodecKeys(tx, codecKeys);
  await beginAnew(database, tx, { atLeast });
  const { open } = await tx.selectFrom('registration').select(({ fn }) => fn.countAll<number>().as('open')).where('state', '=', 'open').executeTakeFirstOrThrow();
  return { sums, open };
}

/**
 * Whether Usher has its tables in the store.
 *
 * @throws {BackupError} when something else has tables there with names of ours.
 * @throws {StoreNewerError}
 */
export async function holdsUsher(database: Database, tx: Queryable): Promise<boolean> {
  const applied = await appliedMigrations(database, tx);
  missingMigrations(applied);
  if (applied.length > 0) return true;
  const columns = await tableColumns(database, tx);
  const taken = TABLES.find((table) => columns.has(table));
  if (taken === undefined) return false;
  throw new BackupError(`There is a table ${taken} that is not Usher's: give Usher a database, or a schema, of its own. Nothing was changed.`);
}

/** From here on nobody else reads or writes, so that they wait, and nobody sees a store without tables. */
async function lockOutOthers(database: Database, tx: Queryable): Promise<void> {
  if (database.dialect === 'sqlite') return;
  const columns = await tableColumns(database, tx);
  const tables = TABLES.filter((table) => columns.has(table)).map((table) => sql.table(table));
  await sql`set local lock_timeout = ${sql.lit(LOCK_TIMEOUT_MS)}`.execute(tx);
  await sql`lock table ${sql.join(tables)} in access exclusive mode`.execute(tx);
  await sql`set local lock_timeout = 0`.execute(tx);
}

/** What a process of this installation seals under the keys in its memory can be opened after the restore, too. */
async function isSameInstallation(tx: Queryable, { installationKey }: CheckedBackup, masterKeys: readonly Buffer[]): Promise<boolean> {
  const row = await tx.selectFrom('data_key').select(['id', 'wrapped', 'master_key_id']).where('id', '=', INSTALLATION_KEY).executeTakeFirst();
  if (row === undefined || installationKey === null) return false;
  const [here, there] = [row, installationKey].map((key) => unwrapped(key, masterKeys));
  return here != null && there != null && here.equals(there);
}

/** The codec keys of the store, wrapped under the master key of the backup: that one may be the only one given from now on. */
async function codecKeysFor({ installationKey }: CheckedBackup, tx: Queryable, masterKeys: readonly Buffer[]): Promise<CodecKeyRows> {
  const { listed, dataKeys } = await readCodecKeys(tx);
  try {
    return { listed, dataKeys: dataKeys.map((row) => ({ ...row, ...rewrapDataKey(row, installationKey!.master_key_id, masterKeys) })) };
  } catch (error) {
    if (!(error instanceof SealError)) throw error;
    throw new BackupError('A codec key of the store is under another master key: while one is being replaced, give both of them (USHER_MASTER_KEY and USHER_MASTER_KEY_PREVIOUS). Nothing was changed.', { cause: error });
  }
}

/**
 * Waits until no attempt is alive. None begins or renews its lease while we hold the locks, and a worker that cannot renew
 * a lease kills the attempt before it runs out.
 */
async function attemptsEnded(database: Database, tx: Queryable, progress: RestoreOptions['progress'], signal: AbortSignal): Promise<void> {
  const { until } = await tx.selectFrom('attempt').select(({ fn }) => fn.max('leased_until').as('until')).where('ended_at', 'is', null).executeTakeFirstOrThrow();
  const waitMs = Math.min((until ?? 0) - (await storeNow(database, tx)), LONGEST_LEASE_MS);
  if (waitMs <= 0) return;
  progress(`Waiting for ${Math.ceil(waitMs / 1000)} s, until the attempts that are under way are given up …`);
  await sleep(waitMs, undefined, { signal });
}
