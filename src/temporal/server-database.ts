import { mkdtemp, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { nextFreePort } from './free-port.ts';
import { programVersion } from './program-cache.ts';
import { startServerProcess } from './server-process.ts';

/** File name of the development server's database in its folder. */
export const DATABASE = 'temporal.db';
/** Names the program that last served with the database; absent while none has. */
const SERVED_BY = 'temporal.db.served-by';
const COMPANIONS = ['', '-wal', '-shm', '-journal'];

// Source: https://www.sqlite.org/rescode.html
const SQLITE_CORRUPT = 11;
const SQLITE_NOTADB = 26;
const TRIAL_PORT = 20_000;

/** A database that the program cannot go on with, and where it was put. */
export interface DataLoss {
  reason: string;
  movedTo: string;
}

/** Notes that this program serves with the database, so that later starts need not compare the tables. */
export async function noteServedBy(folder: string, program: string): Promise<void> {
  await writeFile(join(folder, SERVED_BY), await programVersion(program));
}

/**
 * Looks whether the program can go on with the database in the folder, and sets it aside when it cannot: it is
 * damaged, or its tables are not the ones that this program makes (another version's, or made only by half). Nothing
 * else may have it open.
 *
 * The server itself is no judge: with another version's tables it starts, and fails later, request by request.
 *
 * @param suspect the program has failed to start with it again and again; set aside also when a new database is all
 *   that it needs.
 * @throws when the database cannot be looked at for another reason, or the program starts with no database at all.
 */
export async function setAsideIfUnusable(folder: string, program: string, suspect: boolean): Promise<DataLoss | null> {
  const database = join(folder, DATABASE);
  if (!(await exists(database))) return null;
  const reason = damage(database) ?? (await otherTables(folder, program, suspect));
  if (reason === null) return null;

  const name = `temporal-set-aside-${new Date().toISOString().replaceAll(':', '-')}.db`;
  for (const companion of COMPANIONS) {
    if (await exists(database + companion)) await rename(database + companion, join(folder, name + companion));
  }
  await rm(join(folder, SERVED_BY), { force: true });
  return { reason, movedTo: join(folder, name) };
}

function damage(database: string): string | null {
  try {
    using db = new DatabaseSync(database);
    const found = db.prepare('PRAGMA quick_check(1)').get()?.['quick_check'];
    return found === 'ok' ? null : `it is damaged: ${String(found)}`;
  } catch (error) {
    const { errcode, message } = error as Error & { errcode?: number };
    if (errcode === SQLITE_CORRUPT || errcode === SQLITE_NOTADB) return `it is damaged: ${message}`;
    throw error;
  }
}

async function otherTables(folder: string, program: string, suspect: boolean): Promise<string | null> {
  const servedBy = await readFile(join(folder, SERVED_BY), 'utf8').catch(() => null);
  if (!suspect && servedBy === (await programVersion(program))) return null;
  if (tablesOf(join(folder, DATABASE)) !== (await tablesMadeBy(program, folder))) {
    return `its tables are not those of this program; last served by: ${servedBy ?? 'none, it was made only by half'}`;
  }
  return suspect ? 'the server does not start with it, but does with a new one' : null;
}

/** The tables that the program makes in a new database, found by letting it make one beside the real one. */
async function tablesMadeBy(program: string, folder: string): Promise<string> {
  const trial = await mkdtemp(join(folder, 'trial-'));
  try {
    const port = await nextFreePort(TRIAL_PORT + (process.pid % 10_000));
    const server = startServerProcess({ program, folder: trial, database: DATABASE, namespace: 'default', port, uiPort: null, onLine() {} });
    const serves = await server.serves();
    await server.stop();
    if (!serves) throw new Error(`${program} does not start, not even with a new database: ${await server.ended}`);
    return tablesOf(join(trial, DATABASE));
  } finally {
    await rm(trial, { recursive: true, force: true });
  }
}

function tablesOf(database: string): string {
  using db = new DatabaseSync(database);
  return JSON.stringify(db.prepare('SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY type, name').all());
}

async function exists(path: string): Promise<boolean> {
  return await stat(path).then(() => true, () => false);
}
