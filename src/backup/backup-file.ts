import { randomBytes } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { access, open, rename, rm, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { pipeline, Readable } from 'node:stream';
import { pipeline as pipe } from 'node:stream/promises';
import { createGunzip, createGzip } from 'node:zlib';
import { z } from 'zod';
import { missingMigrations, StoreNewerError } from '../store/migrate.ts';
import { BackupError } from './backup-error.ts';
import { createSums, differingTable, type Page, type Snapshot, type Sums } from './page.ts';
import { TABLES } from './tables.ts';

const FORMAT_VERSION = 1;
/** What is sealed hardly gets smaller, however long one tries. */
const GZIP_LEVEL = 3;
const NEWLINE = 0x0a;

const HEADER = z.object({
  format: z.literal('usher-backup'),
  version: z.int(),
  created_at: z.iso.datetime(),
  dialect: z.enum(['sqlite', 'postgres']),
  migrations: z.array(z.string()).min(1),
});

/** The first line of a backup. The last one has the sums of its tables; each one between them is a page. */
export type BackupHeader = z.infer<typeof HEADER>;

/** A backup that is being read. */
export interface OpenedBackup extends Snapshot {
  header: BackupHeader;
}

/**
 * Writes a backup, which only its owner may read. It stands there whole, and on the disk, or not at all.
 *
 * @throws {BackupError} when the file is there already, or cannot be written.
 */
export async function writeBackup(path: string, { migrations, pages }: Snapshot, { dialect, signal }: { dialect: BackupHeader['dialect']; signal: AbortSignal }): Promise<{ sums: Sums; bytes: number }> {
  const half = `${path}.${randomBytes(4).toString('hex')}.part`;
  const sums = createSums();
  async function* lines(): AsyncGenerator<string> {
    const header: BackupHeader = { format: 'usher-backup', version: FORMAT_VERSION, created_at: new Date().toISOString(), dialect, migrations };
    yield `${JSON.stringify(header)}\n`;
    for await (const page of pages) {
      sums.add(page);
      yield `${JSON.stringify(page)}\n`;
    }
    yield `${JSON.stringify({ sums: sums.sums() })}\n`;
  }
  try {
    await refuseExisting(path);
    await pipe(Readable.from(lines()), createGzip({ level: GZIP_LEVEL }), createWriteStream(half, { flags: 'wx', mode: 0o600, flush: true }), { signal });
    const { size } = await stat(half);
    await refuseExisting(path);
    await rename(half, path);
    await syncFolder(dirname(path));
    return { sums: sums.sums(), bytes: size };
  } catch (error) {
    throw signal.aborted ? error : asBackupError(path, error);
  } finally {
    await rm(half, { force: true });
  }
}

async function refuseExisting(path: string): Promise<void> {
  const exists = await access(path).then(() => true, () => false);
  if (exists) throw new BackupError(`${path} is there already, and a backup overwrites nothing: choose another name.`);
}

/** A new name lasts only once its folder is written. */
async function syncFolder(path: string): Promise<void> {
  await using folder = await open(path, 'r');
  await folder.sync();
}

const WRITE_ADVICE: Record<string, string> = {
  ENOSPC: 'its disk is full: free some space, or choose another one. Nothing is left of it',
  EDQUOT: 'its disk is full: free some space, or choose another one. Nothing is left of it',
  ENOENT: 'its folder is not there: make it first',
  ENOTDIR: 'its folder is not there: make it first',
  EACCES: 'this user may not write there: give the rights to it, or choose another folder',
  EPERM: 'this user may not write there: give the rights to it, or choose another folder',
  EROFS: 'this user may not write there: give the rights to it, or choose another folder',
  EIO: 'its disk fails: look at its health, or choose another one',
};

function asBackupError(path: string, error: unknown): unknown {
  const { code = '', syscall } = error as NodeJS.ErrnoException;
  const advice = WRITE_ADVICE[code];
  // An error of the store's has no system call of ours.
  return advice === undefined || syscall === undefined ? error : new BackupError(`The backup ${path} cannot be written: ${advice} (${code}).`, { cause: error });
}

/**
 * Opens a backup. Its pages are given as they are read; after the last one it is sure that nothing is missing or altered.
 *
 * @throws {BackupError} here or between pages, when it is not a backup, is damaged or cut, or cannot be read.
 * @throws {BackupError} when a newer Usher has made it.
 */
export async function openBackup(path: string): Promise<OpenedBackup> {
  const lines = readLines(path);
  const first = await lines.next();
  const header = HEADER.safeParse(first.done === true ? null : parse(first.value));
  if (!header.success) throw damaged(path, 'its first line is not that of a backup');
  const { version, migrations } = header.data;
  if (version > FORMAT_VERSION) throw new BackupError(`${path} was made by a newer Usher (format ${version}): restore it with that one.`);
  try {
    missingMigrations(migrations);
  } catch (error) {
    if (!(error instanceof StoreNewerError)) throw error;
    throw new BackupError(`${path} was made by a newer Usher, whose tables this one does not know: restore it with that one.`, { cause: error });
  }
  return { header: header.data, migrations, pages: readPages(path, lines) };
}

async function* readPages(path: string, lines: AsyncGenerator<string>): AsyncGenerator<Page> {
  const sums = createSums();
  let end: Sums | undefined;
  for await (const line of lines) {
    if (end !== undefined) throw damaged(path, 'something follows its end');
    const read = parse(line) as Partial<Page & { sums: Sums | null }> | null;
    if (typeof read?.sums === 'object' && read.sums !== null) {
      end = read.sums;
    } else if (isPage(read)) {
      sums.add(read);
      yield read;
    } else {
      throw damaged(path, 'it holds a line that is not of a backup');
    }
  }
  if (end === undefined) throw damaged(path, 'its end is missing');
  const table = differingTable(end, sums.sums());
  if (table !== null) throw damaged(path, `the rows of ${table} are not those that were written`);
}

/** What the cells hold is for the store to refuse, and for the sums to tell. */
function isPage(read: Partial<Page> | null): read is Page {
  return read !== null && TABLES.some((table) => table === read.table) && Array.isArray(read.columns) && Array.isArray(read.rows) && read.rows.every(Array.isArray);
}

/** Not by `node:readline`, which takes some characters of a text for the end of a line. */
async function* readLines(path: string): AsyncGenerator<string> {
  const text = createGunzip();
  pipeline(createReadStream(path), text, () => undefined);
  let parts: Buffer[] = [];
  try {
    for await (const chunk of text as AsyncIterable<Buffer>) {
      let start = 0;
      for (let end = chunk.indexOf(NEWLINE); end !== -1; end = chunk.indexOf(NEWLINE, start)) {
        parts.push(chunk.subarray(start, end));
        yield Buffer.concat(parts).toString();
        parts = [];
        start = end + 1;
      }
      if (start < chunk.length) parts.push(chunk.subarray(start));
    }
  } catch (error) {
    const { code = '' } = error as NodeJS.ErrnoException;
    if (code === 'Z_BUF_ERROR') throw damaged(path, 'it is cut short', error);
    if (code.startsWith('Z_')) throw damaged(path, (error as Error).message, error);
    if (code === 'ENOENT') throw new BackupError(`There is no file ${path}.`, { cause: error });
    if (['EACCES', 'EPERM', 'EISDIR', 'ENOTDIR', 'EIO'].includes(code)) throw new BackupError(`The backup ${path} cannot be read (${code}): see that it is a file that this user may read.`, { cause: error });
    throw error;
  }
  if (parts.length > 0) throw damaged(path, 'it is cut short');
}

function parse(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    return null;
  }
}

function damaged(path: string, how: string, cause?: unknown): BackupError {
  return new BackupError(`${path} is not a backup of Usher, or is damaged (${how}): take another one. Nothing was changed.`, { cause });
}
