import { randomBytes } from 'node:crypto';
import { type DataPaths, makeFile, readIfThere } from '../data-dir.ts';
import { asStartError, StartError } from '../start-error.ts';
import type { ClientStore } from '../store/clients.ts';

/** Of `USHER_CLIENT_SECRET` too. */
const MIN_SECRET_CHARS = 32;

/**
 * Sees to the first client: with the id and secret given, or, on the first start, ones that are made and kept in the
 * data directory. The secret stands in its file before the store takes it, so that a crash in between loses nothing.
 *
 * @returns the client's id.
 * @throws {StartError} when the file is damaged or cannot be read or written.
 */
export async function ensureFirstClient(options: {
  clients: Pick<ClientStore, 'ensureFirst' | 'hasFirst'>;
  paths: DataPaths;
  clientId: string | null;
  clientSecret: string | null;
}): Promise<string> {
  const { clients, paths, clientId } = options;
  const clientSecret = options.clientSecret ?? (await readKeptSecret(paths.clientSecret, async () => !(await clients.hasFirst())));
  return await clients.ensureFirst({ clientId, clientSecret });
}

/** @returns null when there is no file and none is wanted: an earlier start was given the secret. */
async function readKeptSecret(path: string, isWanted: () => Promise<boolean>): Promise<string | null> {
  let kept: string | null;
  try {
    kept = await readIfThere(path);
    if (kept === null && (await isWanted())) kept = await makeFile(path, randomBytes(48).toString('base64url'), 0o600);
  } catch (error) {
    throw asStartError(error, `The client secret ${path}`);
  }
  const secret = kept?.trim() ?? null;
  if (secret !== null && secret.length < MIN_SECRET_CHARS) {
    throw new StartError(`The client secret in ${path} is damaged: put the right one back, or give one as USHER_CLIENT_SECRET, with its USHER_CLIENT_ID.`);
  }
  return secret;
}
