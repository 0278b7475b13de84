import type { Database } from '../../src/store/database.ts';
import { openPostgres } from '../../src/store/postgres.ts';
import { openSqlite } from '../../src/store/sqlite.ts';

/** Opens a store by its file or URL. */
export function openStore(place: string): Database {
  return place.startsWith('postgres') ? openPostgres(place) : openSqlite(place);
}
