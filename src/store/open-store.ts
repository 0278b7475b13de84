import type { Database } from './database.ts';
import { migrate } from './migrate.ts';
import { openPostgres } from './postgres.ts';
import { openSqlite } from './sqlite.ts';

/** Where a store lies: PostgreSQL when it is told of one, else the embedded file. */
export interface StorePlace {
  databaseUrl: string | null;
  /** Path of the embedded store. */
  file: string;
}

/**
 * Opens the store of an installation; PostgreSQL is connected to on the first query.
 *
 * @param options.patient statements may take as long as they need. For migrations, and for what reads or writes everything.
 * @param options.isEachSynced of the embedded store; see `openSqlite`.
 */
export function openStore({ databaseUrl, file }: StorePlace, { patient = false, isEachSynced = true }: { patient?: boolean; isEachSynced?: boolean } = {}): Database {
  return databaseUrl === null ? openSqlite(file, { isEachSynced }) : openPostgres(databaseUrl, { patient });
}

/**
 * Brings the opened store to the tables of this program; see `migrate`. On a large PostgreSQL store, and while another
 * process is at it, this can take longer than any statement of a running Usher may.
 */
export async function migrateStore(place: StorePlace, opened: Database): Promise<void> {
  const patient = place.databaseUrl === null ? opened : openStore(place, { patient: true });
  try {
    await migrate(patient);
  } finally {
    if (patient !== opened) await patient.close();
  }
}

/** The store as people are told of it; never with a password. */
export function nameOfStore({ databaseUrl, file }: StorePlace): string {
  if (databaseUrl === null) return `The store ${file}`;
  const { host, pathname } = new URL(databaseUrl);
  return `The PostgreSQL store ${pathname.slice(1)} at ${host || 'the local socket'}`;
}
