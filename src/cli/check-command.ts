import { resolve } from 'node:path';
import type { Command } from 'commander';
import { checkExport } from './check/check-export.ts';
import { createPackagesChecker } from './check/check-packages.ts';
import { sayCheck } from './check/check-report.ts';
import { readExport } from './check/export-folder.ts';
import type { CommandContext } from './terminal.ts';

/** Adds `usher check`. @param end gets the exit code: 1 when an Action of the registration triggers will not run. */
export function addCheck(parent: Command, context: CommandContext, end: (code: number) => void): void {
  parent
    .command('check')
    .description("Says which Actions of a deploy CLI's export run here, which do not and why, and what in their code is a risk. Runs none of them.")
    .argument('<folder>', 'what a0deploy export --format=directory has written')
    .option('--json', 'print JSON', false)
    .action(async (folder: string, { json }: { json: boolean }) => {
      const found = await readExport(resolve(context.workingDir, folder));
      const checked = await checkExport(found, createPackagesChecker(context));
      if (json) context.terminal.say(JSON.stringify(checked));
      else sayCheck(checked, context);
      end(checked.ok ? 0 : 1);
    });
}
