import { rm } from 'node:fs/promises';
import type { Command } from 'commander';
import { z } from 'zod';
import { hasArrived, move } from '../backup/move.ts';
import { countRows } from '../backup/page.ts';
import { dataPaths, readIfThere, replaceFile } from '../data-dir.ts';
import { newId } from '../domain/ids.ts';
import { StartError } from '../start-error.ts';
import { lockDataDir, type OpenedStore, type StoreContext, withStore } from './store-context.ts';
import { CommandError } from './terminal.ts';

/** What stands in the data directory of a store that has moved. */
const NOTE = z.object({ id: z.string(), to: z.string() });

/** Adds `usher move-to-postgres`. */
export function addMoveToPostgres(parent: Command, context: StoreContext): void {
  parent
    .command('move-to-postgres')
    .description('Moves the embedded store of the data directory to the empty database that DATABASE_URL names, open registrations included. Usher must be stopped.')
    .action(async () => {
      const { databaseUrl, terminal } = context;
      if (databaseUrl === null) throw new CommandError('DATABASE_URL is not set: give the PostgreSQL database to move to.');
      const paths = dataPaths(context.dataDir);
      const noted = await readNote(paths.moved);
      const lock = await lockDataDir(paths);
      try {
        await withStore({ ...context, databaseUrl }, { make: false }, async (target) => {
          if (noted !== null && (await hasArrived(target.database, noted.id))) return terminal.say(`${paths.store} has moved to ${noted.to} already: start Usher with DATABASE_URL.`);
          // What a move that was broken off has left.
          await rm(paths.moved, { force: true });
          const moved = await withStore({ ...context, databaseUrl: null }, { make: false }, (source) => moveNoted(source, target, context.signal));
          terminal.say(`Moved ${moved} rows to ${target.name}, and compared them there.`);
          terminal.say(`Start Usher with DATABASE_URL from now on. ${paths.store} is as it was; a start on it is refused, because of ${paths.moved}.`);
        });
      } finally {
        lock.release();
      }
    });
}

/** The note is there before the move is: whoever dies in between leaves no two stores that both go on. */
async function moveNoted(source: OpenedStore, target: OpenedStore, signal: AbortSignal): Promise<number> {
  const { paths } = source;
  const note = { id: newId(), to: target.name };
  await replaceFile(paths.moved, JSON.stringify(note), 0o644);
  try {
    return countRows(await move(source.database, target.database, { moveId: note.id, signal }));
  } catch (error) {
    const arrived = await hasArrived(target.database, note.id).catch(() => null);
    // When PostgreSQL does not say, it may have taken everything: the note stays until somebody asks it again.
    if (arrived === false) await rm(paths.moved, { force: true });
    if (arrived !== null) throw error;
    throw new StartError(
      `${target.name} cannot be asked whether the move has arrived (${(error as Error).message}): run the same command again once it answers. Until then, no Usher starts on the old store.`,
      { cause: error },
    );
  }
}

async function readNote(path: string): Promise<z.infer<typeof NOTE> | null> {
  const text = await readIfThere(path);
  if (text === null) return null;
  try {
    return NOTE.parse(JSON.parse(text));
  } catch (error) {
    throw new CommandError(`${path} is damaged: see whether the database has the users; delete the note when it has none.`, { cause: error });
  }
}
