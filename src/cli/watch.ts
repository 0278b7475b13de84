import { createHash } from 'node:crypto';
import { watch } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { TestNotRunError } from '../sandbox/test-run.ts';
import { ActionFileError } from './action-files.ts';
import { type Terminal, CommandError } from './terminal.ts';

/** An editor that has written a file in pieces is done when two looks this far apart show the same. */
const BETWEEN_LOOKS_MS = 50;

/**
 * Runs at once and again whenever one of the files has changed, until `signal` is aborted. A change ends a run that is
 * under way.
 *
 * @param options.load reads the files and says which they are.
 * @throws what the first `load` throws; later, what a change can mend is told, and the change awaited.
 */
export async function runOnChanges<T extends { files: string[] }>(options: {
  load(): Promise<T>;
  run(loaded: T, signal: AbortSignal): Promise<void>;
  terminal: Terminal;
  signal: AbortSignal;
}): Promise<void> {
  const { load, run, terminal, signal } = options;
  let { files } = await load();
  while (!signal.aborted) {
    // Taken before the files are read, so that no change is missed.
    const change = watchFor(files, await contentsOf(files));
    try {
      const loaded = await load();
      ({ files } = loaded);
      await run(loaded, AbortSignal.any([signal, change.signal]));
    } catch (error) {
      if (error instanceof CommandError || error instanceof ActionFileError || error instanceof TestNotRunError) terminal.progress(error.message);
      else if (!signal.aborted && !change.signal.aborted) throw error;
    }
    terminal.progress('Waiting for a change; Ctrl-C ends.');
    await aborted(AbortSignal.any([signal, change.signal]));
    change.close();
  }
}

/** Its signal is aborted when the files hold something else than `before`. */
function watchFor(files: string[], before: string): { signal: AbortSignal; close(): void } {
  const changed = new AbortController();
  const closing = new AbortController();
  let looking = false;
  let lookAgain = false;

  async function look(): Promise<void> {
    lookAgain = true;
    if (looking) return;
    looking = true;
    while (lookAgain && !closing.signal.aborted) {
      lookAgain = false;
      const now = await contentsOf(files);
      await setTimeout(BETWEEN_LOOKS_MS);
      if (now !== (await contentsOf(files))) lookAgain = true;
      else if (now !== before) changed.abort();
    }
    looking = false;
  }

  // Folders, because editors put a new file in the place of the old one.
  const folders = [...new Set(files.map((file) => dirname(file)))];
  const watchers = folders.map((folder) => watch(folder, { persistent: true }, () => void look()));
  void look();
  return {
    signal: changed.signal,
    close() {
      closing.abort();
      for (const watcher of watchers) watcher.close();
    },
  };
}

async function contentsOf(files: string[]): Promise<string> {
  const hash = createHash('sha256');
  for (const file of files) {
    const content = await readFile(file).catch((error: NodeJS.ErrnoException) => error.code ?? 'unreadable');
    hash.update(JSON.stringify([file, content.length])).update(content);
  }
  return hash.digest('hex');
}

async function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
}
