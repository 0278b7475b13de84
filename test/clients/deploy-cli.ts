import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { bearer, CLIENT_ID, CLIENT_SECRET, send } from '../http/test-app.ts';
import type { HttpsUsher } from './https-usher.ts';

const CLI = new URL('../../node_modules/auth0-deploy-cli/lib/index.js', import.meta.url).pathname;

/** What of a tenant is here; the Deploy CLI would ask for the rest of Auth0, too. */
export const INCLUDED = ['actions', 'actionModules', 'triggers', 'clients', 'clientGrants', 'resourceServers', 'connections', 'databases', 'roles'];

export interface CliOptions {
  included?: string[];
  allowDelete?: boolean;
  keywords?: Record<string, string>;
}

/** Runs Auth0's Deploy CLI, unmodified, as a program of its own. @throws with all that it said when it fails. */
export async function deployCli(usher: HttpsUsher, command: 'import' | 'export', folder: string, options: CliOptions = {}): Promise<string> {
  const args = command === 'import' ? ['--input_file', folder] : ['--format', 'directory', '--output_folder', folder];
  const child = spawn(process.execPath, [CLI, command, ...args], {
    env: {
      AUTH0_DOMAIN: usher.domain,
      AUTH0_CLIENT_ID: CLIENT_ID,
      AUTH0_CLIENT_SECRET: CLIENT_SECRET,
      AUTH0_INCLUDED_ONLY: JSON.stringify(options.included ?? INCLUDED),
      AUTH0_ALLOW_DELETE: String(options.allowDelete ?? false),
      AUTH0_KEYWORD_REPLACE_MAPPINGS: JSON.stringify({ DOMAIN: usher.domain, ...options.keywords }),
      NODE_EXTRA_CA_CERTS: usher.caFile,
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let said = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (text: Buffer) => void (said += text.toString()));
  const [code] = (await once(child, 'close')) as [number | null];
  if (code !== 0 || /error/.test(said)) throw new Error(`The Deploy CLI ended with ${code} and said:\n${said}`);
  return said;
}

/** A tenant's files by their path: JSON as its value, anything else as text. */
export async function readTenant(folder: string): Promise<Record<string, unknown>> {
  const names = (await readdir(folder, { recursive: true, withFileTypes: true })).filter((entry) => entry.isFile());
  const files = names.map(async (entry): Promise<[string, unknown]> => {
    const path = join(entry.parentPath, entry.name);
    const text = await readFile(path, 'utf8');
    return [path.slice(folder.length + 1), path.endsWith('.json') ? JSON.parse(text) : text];
  });
  return Object.fromEntries((await Promise.all(files)).toSorted(([a], [b]) => (a < b ? -1 : 1)));
}

/** Everything that the CLI deploys, as the API has it. */
export async function readEverything({ app }: HttpsUsher): Promise<Record<string, unknown>> {
  const headers = await bearer(app);
  const get = async (path: string) => (await send(`${app.url}/api/v2/${path}`, { headers })).body;
  const everything: Record<string, unknown> = {};
  for (const resource of ['actions/actions', 'actions/modules', 'clients', 'client-grants', 'resource-servers', 'connections', 'roles']) {
    everything[resource] = await get(`${resource}?per_page=100`);
  }
  for (const trigger of ['pre-user-registration', 'post-user-registration', 'post-login']) {
    everything[trigger] = (await get(`actions/triggers/${trigger}/bindings`)).bindings;
  }
  return everything;
}
