import { setPriority } from 'node:os';
import { resolve } from 'node:path';
import type { Command } from 'commander';
import { writeBackup } from '../backup/backup-file.ts';
import { countRows, type Sums } from '../backup/page.ts';
import { checkBackup, restore } from '../backup/restore.ts';
import { readSnapshot } from '../backup/snapshot.ts';
import { dataPaths, prepareDataDir, readMasterKey } from '../data-dir.ts';
import { isUsherRunning, type StoreContext, withStore } from './store-context.ts';
import { shownPath } from './terminal.ts';

/** As a nice value: sign-ups go first on a busy machine. */
const BACKGROUND = 10;

/** Adds `usher backup`. */
export function addBackup(parent: Command, context: StoreContext): void {
  const { terminal, workingDir, signal } = context;
  parent
    .command('backup')
    .description('Writes everything in the store, as it is at one moment, to a file. Usher may run meanwhile. The master key is not in it.')
    .argument('<file>', 'the file to make, such as usher.backup.gz')
    .action(async (file: string) => {
      const path = resolve(workingDir, file);
      const startedAt = performance.now();
      setPriority(BACKGROUND);
      const { sums, bytes } = await withStore(context, { make: false }, ({ database }) =>
        readSnapshot(database, (snapshot) => writeBackup(path, snapshot, { dialect: database.dialect, signal })));
      const seconds = ((performance.now() - startedAt) / 1000).toFixed(1);
      terminal.say(`Backed up ${described(sums)} to ${shownPath(path, workingDir)} (${(bytes / 1e6).toFixed(1)} MB) in ${seconds} s.`);
      const key = context.masterKey === null ? shownPath(dataPaths(context.dataDir).masterKey, workingDir) : 'USHER_MASTER_KEY';
      terminal.say(`The master key (${key}) is not in it: keep it safe elsewhere, because nothing sealed can be read without it.`);
    });
}

/** Adds `usher restore`. */
export function addRestore(parent: Command, context: StoreContext): void {
  const { terminal, workingDir, signal, masterKey: given, previousMasterKey: previous } = context;
  parent
    .command('restore')
    .description('Puts a backup into the store, also while Usher runs on it. What is open in the backup goes on; what was done since runs again, with the same idempotency keys.')
    .argument('<file>', 'what usher backup has written')
    .option('--replace', 'put it in the place of everything in the store, which is lost', false)
    .action(async (file: string, { replace }: { replace: boolean }) => {
      const path = resolve(workingDir, file);
      const paths = dataPaths(context.dataDir);
      // No key is made here: the backup has one already.
      const masterKey = await readMasterKey(paths, { given, store: `The backup ${path}`, isStoreMade: () => Promise.resolve(true) });
      const masterKeys = previous === null ? [masterKey] : [masterKey, previous];
      terminal.progress(`Checking ${shownPath(path, workingDir)} …`);
      const backup = await checkBackup(path, masterKeys, signal);
      await prepareDataDir(context.dataDir);
      await withStore(context, { make: true }, async (store) => {
        const { sums, open } = await restore(store.database, backup, {
          masterKeys,
          replace,
          isRunning: (tx) => isUsherRunning(store, tx),
          signal,
          progress: (line) => terminal.progress(line),
        });
        terminal.say(`Restored ${described(sums)} of ${backup.header.created_at}. Registrations that go on: ${open}.`);
      });
    });
}

function described(sums: Sums): string {
  return `${countRows(sums)} rows of ${Object.keys(sums).length} tables`;
}
