#!/usr/bin/env -S sh -c 'exec "$(dirname "$(readlink -f "$0")")/../../node_modules/.bin/node" "$0" "$@"'
// The shell finds Node 26 in node_modules, whichever Node the machine has and from wherever this is called.
import { Command, CommanderError } from 'commander';
import { BackupError } from '../backup/backup-error.ts';
import { ConfigError, loadConfig } from '../config.ts';
import { TestNotRunError } from '../sandbox/test-run.ts';
import { StartError } from '../start-error.ts';
import { readBundle, trustAlso } from '../tls/trust.ts';
import { addActionRun } from './action-run-command.ts';
import { ActionFileError } from './action-files.ts';
import { addBackup, addRestore } from './backup-command.ts';
import { addCheck } from './check-command.ts';
import { addMigrate } from './migrate-command.ts';
import { addMoveToPostgres } from './move-command.ts';
import type { StoreContext } from './store-context.ts';
import { type CommandContext, createTerminal, CommandError } from './terminal.ts';

/** Wrong use, or a machine that does not let it work: nothing is said about the Actions. */
const NOT_DONE = 2;

/** The command line for whoever writes Actions, and for who looks after a store. The only place in this folder that handles signals and exit codes. */
async function main(): Promise<number> {
  const ending = new AbortController();
  // The second one ends at once, as if nobody listened.
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => ending.abort(signal));
  // Whoever reads the output may go first: `usher check export | head`.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => process.exit(error.code === 'EPIPE' ? 0 : 1));

  let code = 0;
  try {
    const { cacheDir, egressAllow, extraCaCerts, dataDir, databaseUrl, masterKey, previousMasterKey } = loadConfig(process.env, process.cwd());
    const common = { terminal: createTerminal(), workingDir: process.cwd(), signal: ending.signal };
    const trusted = extraCaCerts === null ? [] : await readBundle(extraCaCerts);
    trustAlso(trusted);
    const context: CommandContext = { ...common, cacheDir, egressAllow, trusted };
    const store: StoreContext = { ...common, dataDir, databaseUrl, masterKey, previousMasterKey };
    const usher = new Command('usher').description('Runs and checks Auth0 Actions on your machine, without a server, and looks after the store of one.').exitOverride();
    const end = (status: number) => void (code = status);
    addActionRun(usher.command('action').description('What concerns one Action'), context, end);
    addCheck(usher, context, end);
    addBackup(usher, store);
    addRestore(usher, store);
    addMoveToPostgres(usher, store);
    addMigrate(usher, store, end);
    await usher.parseAsync();
    return code;
  } catch (error) {
    if (ending.signal.aborted) return ending.signal.reason === 'SIGINT' ? 130 : 143;
    // It has said itself what is wrong.
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : NOT_DONE;
    const isForPeople = [CommandError, BackupError, ActionFileError, TestNotRunError, ConfigError, StartError].some((kind) => error instanceof kind);
    process.stderr.write(`${isForPeople ? (error as Error).message : ((error as Error).stack ?? String(error))}\n`);
    return NOT_DONE;
  }
}

process.exitCode = await main();
