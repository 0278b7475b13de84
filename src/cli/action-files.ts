import { readFile, stat } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { z } from 'zod';
import { CommandError } from './terminal.ts';

/** A value that may be put in place by the deploy CLI only (`"@@KEY@@"`). */
const orKeyword = <T extends z.ZodType>(schema: z.ZodArray<T>) =>
  z.union([schema, z.string().transform((): z.output<T>[] => []), z.null().transform((): z.output<T>[] => [])]).default([]);

/** What Actions and modules have in common. */
export const WITH_CODE = z.object({
  name: z.string().min(1),
  /** Path of the code, from the export's folder. */
  code: z.string().default(''),
  dependencies: orKeyword(z.array(z.object({ name: z.string(), version: z.string().default('latest'), registry_url: z.string().nullish() }))),
  secrets: orKeyword(z.array(z.object({ name: z.string(), value: z.unknown().optional() }))),
});

const DEFINITION = WITH_CODE.extend({
  runtime: z.string().default('node22'),
  deployed: z.boolean().default(true),
  supported_triggers: orKeyword(z.array(z.object({ id: z.string(), version: z.string().optional() }))),
  modules: orKeyword(z.array(z.object({ module_name: z.string(), module_version_number: z.unknown().optional() }))),
});

/** `actions/<name>.json` of an export in the deploy CLI's directory format (contract §4.9). */
export type ActionDefinition = z.output<typeof DEFINITION>;

/** A keyword that the deploy CLI would replace. */
export interface Keyword {
  text: string;
  file: string;
  line: number;
}

/** An Action as it lies on disk. */
export interface ActionFiles {
  name: string;
  code: string;
  codeFile: string;
  /** Null for a file of code alone. */
  definition: ActionDefinition | null;
  definitionFile: string | null;
  keywords: Keyword[];
}

/** A file of an export cannot be read or is not what it should be. */
export class ActionFileError extends Error {
  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'ActionFileError';
  }
}

/**
 * Finds an Action by its code (`actions/<name>/code.js`), its definition (`actions/<name>.json`) or its folder
 * (`actions/<name>`). A file of code without a definition beside its folder is an Action too.
 *
 * @throws {CommandError} when there is none, {ActionFileError} when one of its files is not as it should be.
 */
export async function findAction(path: string): Promise<ActionFiles> {
  const found = await kindOf(path);
  if (found === 'nothing') throw new CommandError(`There is no file ${path}.`);
  if (found === 'file' && path.endsWith('.json')) return await readAction(path);

  const folder = found === 'folder' ? path : dirname(path);
  const definitionFile = `${folder}.json`;
  if ((await kindOf(definitionFile)) === 'file') {
    const action = await readAction(definitionFile);
    if (found === 'folder' || action.codeFile === path) return action;
  }
  const codeFile = found === 'folder' ? join(folder, 'code.js') : path;
  if ((await kindOf(codeFile)) !== 'file') {
    throw new CommandError(`${path} is not the folder of one Action: name its code.js, its JSON file, or the folder that holds its code.js.`);
  }
  const code = await readText(codeFile);
  const name = basename(codeFile) === 'code.js' ? basename(dirname(codeFile)) : basename(codeFile, '.js');
  return { name, code, codeFile, definition: null, definitionFile: null, keywords: keywordsIn(code, codeFile) };
}

/**
 * Reads an Action by its definition.
 *
 * @throws {ActionFileError} when a file cannot be read or is not as it should be.
 */
export async function readAction(definitionFile: string): Promise<ActionFiles> {
  return await readWithCode(DEFINITION, definitionFile, 'an Action');
}

/**
 * Reads what has a definition and code of its own.
 *
 * @throws {ActionFileError} when a file cannot be read or is not as it should be.
 */
export async function readWithCode<T extends z.output<typeof WITH_CODE>>(schema: z.ZodType<T>, definitionFile: string, what: string) {
  const text = await readText(definitionFile);
  const definition = checkDefinition(schema, parseJson(text, definitionFile), { file: definitionFile, what });
  const codeFile = resolve(dirname(definitionFile), '..', definition.code.replaceAll('\\', '/'));
  if (definition.code === '') throw new ActionFileError(`${definitionFile} names no file with code.`);
  const code = await readText(codeFile);
  const keywords = [...keywordsIn(text, definitionFile), ...keywordsIn(code, codeFile)];
  return { name: definition.name, code, codeFile, definition, definitionFile, keywords };
}

/** @throws {ActionFileError} saying where it is not JSON, and that a keyword may be the reason. */
export function parseJson(text: string, file: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    const [keyword] = keywordsIn(text, file);
    const advice = keyword === undefined ? '' : ` It holds the keyword ${keyword.text}, which is left as it is here: put a value in its place.`;
    // The rest of the parser's message quotes the text, which may hold a secret.
    const place = /line \d+ column \d+/.exec((error as Error).message)?.[0];
    throw new ActionFileError(`${file} is not JSON${place === undefined ? '' : ` (${place})`}.${advice}`);
  }
}

function checkDefinition<T>(schema: z.ZodType<T>, json: unknown, { file, what }: { file: string; what: string }): T {
  const checked = schema.safeParse(json);
  if (checked.success) return checked.data;
  const [issue] = checked.error.issues;
  const place = issue?.path.join('.') ?? '';
  throw new ActionFileError(`${file} is not the definition of ${what} (${place === '' ? '' : `${place}: `}${issue?.message}).`);
}

async function readText(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    throw new ActionFileError(code === 'ENOENT' ? `${file} is missing.` : `${file} cannot be read (${code ?? message}).`, { cause: error });
  }
}

/** What lies at the path. */
export async function kindOf(path: string): Promise<'file' | 'folder' | 'nothing'> {
  try {
    return (await stat(path)).isDirectory() ? 'folder' : 'file';
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR') return 'nothing';
    throw error;
  }
}

function keywordsIn(text: string, file: string): Keyword[] {
  return text.split('\n').flatMap((content, index) =>
    [...content.matchAll(/##\w+##|@@\w+@@/g)].map(([keyword]) => ({ text: keyword, file, line: index + 1 })));
}
