import { readFile } from 'node:fs/promises';
import { parseEnv } from 'node:util';
import { parseJson } from './action-files.ts';
import { CommandError } from './terminal.ts';

/**
 * Reads the secrets of a run: a JSON object of texts, or lines `NAME=value` as in a `.env` file.
 *
 * @throws {CommandError} when the file cannot be read or is neither; never with a value in the message.
 */
export async function readSecrets(file: string): Promise<Record<string, string>> {
  const text = await read(file, '--secrets');
  if (!text.trimStart().startsWith('{')) {
    const secrets = parseEnv(text) as Record<string, string>;
    // Whatever is no such line is passed over by the parser. A file of comments is a beginning.
    if (Object.keys(secrets).length > 0 || !/^\s*[^#\s]/m.test(text)) return secrets;
    throw new CommandError(`--secrets: ${file} holds no secret: it is neither a JSON object of texts nor lines NAME=value, as UTF-8.`);
  }
  let json: object;
  try {
    json = JSON.parse(text) as object;
  } catch {
    // The parser's message quotes the text.
    throw new CommandError(`--secrets: ${file} begins like JSON, but is not JSON.`);
  }
  const wrong = Object.entries(json).find(([, value]) => typeof value !== 'string');
  if (wrong !== undefined) throw new CommandError(`--secrets: "${wrong[0]}" in ${file} is not a text: each secret is one.`);
  return json as Record<string, string>;
}

/**
 * Reads the event of a run.
 *
 * @throws {CommandError} when the file cannot be read or is not a JSON object, {ActionFileError} when it is not JSON.
 */
export async function readEvent(file: string): Promise<Record<string, unknown>> {
  const event = parseJson(await read(file, '--event'), file);
  if (typeof event !== 'object' || event === null || Array.isArray(event)) throw new CommandError(`--event: ${file} is not a JSON object.`);
  return event as Record<string, unknown>;
}

async function read(file: string, option: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    throw new CommandError(`${option}: ${file} ${code === 'ENOENT' ? 'is missing.' : `cannot be read (${code ?? message}).`}`, { cause: error });
  }
}
