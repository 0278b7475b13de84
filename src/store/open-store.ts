import type { Database } from './database.ts';
import { openPostgres } from './postgres.ts';
import { openSqlite } from './sqlite.ts';

/** Where a store lies: PostgreSQL when it is told of one, else the embedded file. */
export interface StorePlace {
  databaseUrl: string | null;
  /** Path of the embedded store. */
  file: string;
}

/** Opens the store of an installation; PostgreSQL is connected to on the first query. */
export function openStore({ databaseUrl, file }: StorePlace): Database {
  return databaseUrl === null ? openSqlite(file) : openPostgres(databaseUrl);
}

/** The store as people are told of it; never with a password. */
export function nameOfStore({ databaseUrl, file }: StorePlace): string {
  if (databaseUrl === null) return `The store ${file}`;
  const { host, pathname } = new URL(databaseUrl);
  return `The PostgreSQL store ${pathname.slice(1)} at ${host || 'the local socket'}`;
}
