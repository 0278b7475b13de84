/** A start that cannot go on, in one sentence that says what happened and what to do. */
export class StartError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'StartError';
  }
}

/**
 * The error of a file or an embedded database as a sentence for people.
 *
 * @param error one of the file system or of SQLite; any other comes back unchanged, as it is for developers.
 * @param what names it at the beginning of a sentence: `The store /var/lib/usher/usher.db`.
 */
export function asStartError(error: unknown, what: string): unknown {
  if (!(error instanceof Error) || error instanceof StartError) return error;
  const { code = '', errcode } = error as NodeJS.ErrnoException & { errcode?: number };
  // The low byte of an extended result code is the primary one.
  const problem = errcode === undefined ? code : `SQLITE_${errcode & 0xff}`;
  const advice = ADVICE.find(({ problems }) => problems.includes(problem));
  if (advice === undefined) return error;
  return new StartError(`${what} ${advice.say(errcode === undefined ? code : error.message)}`, { cause: error });
}

/** SQLite's primary result codes: https://sqlite.org/rescode.html */
const ADVICE: { problems: string[]; say(reason: string): string }[] = [
  {
    problems: ['ENOSPC', 'EDQUOT', 'SQLITE_13'],
    say: (reason) => `cannot be written, because its disk is full (${reason}): free some space and start again; nothing was changed.`,
  },
  {
    problems: ['EACCES', 'EPERM', 'EROFS', 'SQLITE_3', 'SQLITE_8', 'SQLITE_14'],
    say: (reason) => `cannot be read and written by this user (${reason}): give the rights to it, or set USHER_DATA_DIR to another folder.`,
  },
  {
    problems: ['ENOTDIR', 'EEXIST', 'ELOOP', 'ENAMETOOLONG', 'EISDIR'],
    say: (reason) => `cannot stand there (${reason}): set USHER_DATA_DIR to a folder.`,
  },
  {
    problems: ['SQLITE_11', 'SQLITE_26'],
    say: (reason) => `is damaged (${reason}): restore the data directory from a backup, or set USHER_DATA_DIR to another folder; nothing was changed.`,
  },
  {
    problems: ['SQLITE_5', 'SQLITE_6'],
    say: (reason) => `is kept busy by another program (${reason}): end that one and start again; nothing was changed.`,
  },
  {
    problems: ['EIO', 'SQLITE_10'],
    say: (reason) => `cannot be read or written (${reason}): look at the disk's space and health and start again; nothing was changed.`,
  },
];
