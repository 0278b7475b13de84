import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { BuildFailure } from './build-failure.ts';

const DAY_MS = 24 * 60 * 60 * 1000;

/**
 * npm's own settings on this machine (environment, user and global npmrc) as options of arborist, which reads none:
 * registries, cache, certificates, proxies, how often and how long it tries, and the age that a release must have.
 *
 * Credentials are not among them: npm does not print them. Registries that need a login do not work.
 *
 * @param dir folder in which npm is asked; it must hold no npmrc of strangers.
 * @param options.trusted authorities in PEM to trust beside those that npm is set to, which are in place of the usual ones.
 * @throws {BuildFailure} `install_failed` when there is no npm.
 */
export async function readNpmSettings(dir: string, { trusted }: { trusted: string[] }): Promise<Record<string, unknown>> {
  const settings = await askNpm(dir);
  const options: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(settings)) {
    if (/^@[^:]+:registry$/.test(name)) options[name] = value;
  }
  const take = (option: string, name: string) => {
    if (settings[name] !== null && settings[name] !== undefined) options[option] = settings[name];
  };
  take('registry', 'registry');
  take('replaceRegistryHost', 'replace-registry-host');
  take('strictSSL', 'strict-ssl');
  take('ca', 'ca');
  take('proxy', 'proxy');
  take('httpsProxy', 'https-proxy');
  take('noProxy', 'noproxy');
  take('fetchRetries', 'fetch-retries');
  take('fetchRetryFactor', 'fetch-retry-factor');
  take('fetchRetryMintimeout', 'fetch-retry-mintimeout');
  take('fetchRetryMaxtimeout', 'fetch-retry-maxtimeout');
  take('fetchTimeout', 'fetch-timeout');
  const { cafile, cache, before, 'min-release-age': minReleaseAgeDays } = settings;
  if (typeof cafile === 'string') options['ca'] = certificatesIn(await readFile(cafile, 'utf8'));
  if (options['ca'] !== undefined) options['ca'] = [options['ca'], trusted].flat();
  if (typeof cache === 'string') options['cache'] = join(cache, '_cacache');
  if (typeof before === 'string') options['before'] = new Date(before);
  else if (typeof minReleaseAgeDays === 'number') options['before'] = new Date(Date.now() - minReleaseAgeDays * DAY_MS);
  return options;
}

async function askNpm(dir: string): Promise<Record<string, unknown>> {
  try {
    const { stdout } = await promisify(execFile)('npm', ['config', 'list', '--json'], { cwd: dir });
    return JSON.parse(stdout);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new BuildFailure('install_failed', `npm's settings cannot be read (${reason}). Put npm on Usher's PATH, then change the Action to build it again.`);
  }
}

function certificatesIn(pem: string): string[] {
  return pem.match(/-----BEGIN CERTIFICATE-----[\s\S]+?-----END CERTIFICATE-----/g) ?? [];
}
