import { dirname, resolve } from 'node:path';
import type { Command } from 'commander';
import { createMask } from '../domain/mask-secrets.ts';
import { findAction } from './action-files.ts';
import { readEvent, readSecrets } from './input-files.ts';
import { readModules } from './module-files.ts';
import { runAction, type RunInput } from './run-action.ts';
import { runAsJson, sayRun } from './run-report.ts';
import type { CommandContext } from './terminal.ts';
import { runOnChanges } from './watch.ts';

/** Shorter values are not masked in what is printed. */
const MIN_SECRET_CHARS = 4;

interface Options {
  event?: string;
  secrets?: string;
  trigger?: string;
  watch: boolean;
  reinstall: boolean;
  json: boolean;
}

/** Adds `usher action run`. @param end gets the exit code: 1 when the Action failed. */
export function addActionRun(parent: Command, context: CommandContext, end: (code: number) => void): void {
  parent
    .command('run')
    .description('Runs an Action once, in the sandbox that a server runs it in, with its real packages. What it sends to others is sent.')
    .argument('<file>', "the Action: actions/<name>/code.js, actions/<name>.json or the folder of a deploy CLI's export, or any file with its code")
    .option('--event <file>', "the event, as JSON (default: Auth0's sample)")
    .option('--secrets <file>', 'the secrets: a JSON object, or lines NAME=value')
    .option('--trigger <id>', 'pre-user-registration or post-user-registration (default: as the code says)')
    .option('--watch', 'run again when one of the files changes, until Ctrl-C', false)
    .option('--reinstall', 'install the packages again, so that "latest" is the latest', false)
    .option('--json', 'print JSON, one line a run', false)
    .action(async (file: string, options: Options) => {
      const load = () => readInput(resolve(context.workingDir, file), options, context.workingDir);
      if (!options.watch) return end(await runAndPrint(await load(), options, context));
      const run = async (input: LoadedInput, signal: AbortSignal) => {
        await runAndPrint(input, options, { ...context, signal });
        options.reinstall = false;
      };
      await runOnChanges({ ...context, load, run });
    });
}

interface LoadedInput extends RunInput {
  /** A change of one of these is worth another run. */
  files: string[];
}

async function readInput(path: string, options: Options, workingDir: string): Promise<LoadedInput> {
  const at = (option: string | undefined) => (option === undefined ? null : resolve(workingDir, option));
  const [eventFile, secretsFile] = [at(options.event), at(options.secrets)];
  const action = await findAction(path);
  const modules = await readModules(action);
  const definitionFile = action.definitionFile ?? `${dirname(action.codeFile)}.json`;
  return {
    action,
    modules,
    event: eventFile === null ? null : await readEvent(eventFile),
    secrets: secretsFile === null ? {} : await readSecrets(secretsFile),
    trigger: options.trigger ?? null,
    reinstall: options.reinstall,
    files: [action.codeFile, definitionFile, ...modules.flatMap((each) => [each.codeFile, each.definitionFile]), eventFile, secretsFile].filter((each) => each !== null),
  };
}

/** @returns the exit code. */
async function runAndPrint(input: RunInput, { json }: Options, context: CommandContext): Promise<number> {
  const result = await runAction(input, context);
  const { terminal, workingDir } = context;
  const mask = createMask(input.secrets, MIN_SECRET_CHARS);
  if (json) terminal.say(runAsJson(input.action, result, { mask, workingDir }));
  else sayRun(input.action, result, { terminal, mask, workingDir });
  return result.error === null ? 0 : 1;
}
