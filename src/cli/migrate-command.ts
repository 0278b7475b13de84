import type { Command } from 'commander';
import { appliedMigrations, migrate, missingMigrations } from '../store/migrate.ts';
import { lockDataDir, type StoreContext, withStore } from './store-context.ts';

/** Adds `usher migrate`. @param end gets the exit code: 1 when `--dry-run` finds something to do. */
export function addMigrate(parent: Command, context: StoreContext, end: (code: number) => void): void {
  const { terminal } = context;
  parent
    .command('migrate')
    .description('Brings the store to the tables of this version, as a start does it, too. On PostgreSQL also while an Usher of the version before runs.')
    .option('--dry-run', 'only say what would be done; the exit code is 1 when that is something', false)
    .action(async ({ dryRun }: { dryRun: boolean }) => {
      await withStore(context, { make: false }, async ({ database, paths, name }) => {
        const applied = await appliedMigrations(database);
        const missing = missingMigrations(applied);
        const from = applied.at(-1) ?? 'no tables';
        if (missing.length === 0) return terminal.say(`${name} has the tables of this version already (${from}).`);
        if (dryRun) {
          terminal.say(`${name} has ${from}. To be done: ${missing.join(', ')}.`);
          return end(1);
        }
        // Two versions of Usher do not share a data directory.
        const lock = database.dialect === 'sqlite' ? await lockDataDir(paths) : null;
        try {
          const made = await migrate(database);
          terminal.say(made.length === 0 ? `${name} was brought to the tables of this version by another process just now.` : `${name} went from ${from} to ${made.at(-1)}.`);
        } finally {
          lock?.release();
        }
      });
    });
}
