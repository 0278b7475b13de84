import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { ActionFileError, type ActionFiles, kindOf, parseJson, readAction } from '../action-files.ts';
import { type ModuleFiles, readModules } from '../module-files.ts';
import { CommandError } from '../terminal.ts';

/** An export of the deploy CLI in its directory format. */
export interface ExportFolder {
  actions: ExportedAction[];
  /** Names of the Actions bound to each trigger, in order. */
  bindings: Record<string, string[]>;
}

/** One `actions/*.json`; either the Action, or why it cannot be read. */
export interface ExportedAction {
  definitionFile: string;
  action: ActionFiles | null;
  /** Those of its modules that are in the export. */
  modules: ModuleFiles[];
  problem: string | null;
}

const TRIGGERS_FILE = z.record(z.string(), z.array(z.object({ action_name: z.string() })));

/**
 * Reads `actions/`, what they use of `action-modules/`, and `triggers/triggers.json`.
 *
 * @throws {CommandError} when it is no such export, saying how to make one.
 */
export async function readExport(path: string): Promise<ExportFolder> {
  const kind = await kindOf(path);
  if (kind === 'nothing') throw new CommandError(`There is no folder ${path}.`);
  const yaml = kind === 'file' ? path : await yamlIn(path);
  if ((await kindOf(join(path, 'actions'))) !== 'folder') {
    if (/\.ya?ml$/.test(yaml ?? '')) {
      throw new CommandError(`${yaml} is a YAML export. Only the directory format is read: export again by a0deploy export --format=directory --output_folder=export`);
    }
    throw new CommandError(`${path} has no folder "actions". Name the folder that a0deploy export --format=directory has written.`);
  }
  const names = (await readdir(join(path, 'actions'))).filter((name) => name.endsWith('.json')).toSorted();
  if (names.length === 0) throw new CommandError(`${join(path, 'actions')} holds no Action: each one has a JSON file there.`);
  return {
    actions: await Promise.all(names.map((name) => tryToRead(join(path, 'actions', name)))),
    bindings: await readBindings(join(path, 'triggers', 'triggers.json')),
  };
}

async function yamlIn(folder: string): Promise<string | undefined> {
  const name = (await readdir(folder)).find((each) => /\.ya?ml$/.test(each));
  return name === undefined ? undefined : join(folder, name);
}

async function tryToRead(definitionFile: string): Promise<ExportedAction> {
  try {
    const action = await readAction(definitionFile);
    return { definitionFile, action, modules: await readModules(action), problem: null };
  } catch (error) {
    if (!(error instanceof ActionFileError)) throw error;
    return { definitionFile, action: null, modules: [], problem: error.message };
  }
}

/** No file: nothing is bound. */
async function readBindings(file: string): Promise<ExportFolder['bindings']> {
  if ((await kindOf(file)) !== 'file') return {};
  const checked = TRIGGERS_FILE.safeParse(parseJson(await readFile(file, 'utf8'), file));
  if (!checked.success) throw new CommandError(`${file} is not as the deploy CLI writes it: it names for each trigger a list of {"action_name": …}.`);
  return Object.fromEntries(Object.entries(checked.data).map(([trigger, bound]) => [trigger, bound.map(({ action_name: name }) => name)]));
}
