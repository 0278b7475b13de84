import { randomBytes } from 'node:crypto';
import { type DataPaths, readIfThere, writeSecretFile } from '../data-dir.ts';
import type { ClientStore } from '../store/clients.ts';

/**
 * Sees to the first client: with the id and secret given, or, on the first start, ones that are made and kept in the
 * data directory. The secret stands in its file before the store takes it, so that a crash in between loses nothing.
 *
 * @returns the client's id.
 */
export async function ensureFirstClient(options: {
  clients: Pick<ClientStore, 'ensureFirst' | 'hasFirst'>;
  paths: DataPaths;
  clientId: string | null;
  clientSecret: string | null;
}): Promise<string> {
  const { clients, paths, clientId } = options;
  let clientSecret = options.clientSecret ?? (await readIfThere(paths.clientSecret))?.trim() ?? null;
  if (clientSecret === null && !(await clients.hasFirst())) {
    clientSecret = randomBytes(48).toString('base64url');
    await writeSecretFile(paths.clientSecret, clientSecret);
  }
  return await clients.ensureFirst({ clientId, clientSecret });
}
