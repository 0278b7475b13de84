import { type ChildProcess, spawn } from 'node:child_process';
import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll } from 'vitest';

export const USHER = fileURLToPath(new URL('../../src/cli/usher.ts', import.meta.url));

/** What a run of the command line has left. */
export interface Ran {
  code: number | null;
  out: string;
  err: string;
}

/** A folder to work in, with a cache and an npm of its own, and the command line in it. */
export interface Desk {
  dir: string;
  env: Record<string, string>;
  /** Writes files; an object becomes JSON. */
  write(files: Record<string, string | object>): Promise<void>;
  usher(...args: string[]): Promise<Ran>;
  /** Starts the command line and leaves it running. */
  start(...args: string[]): Running;
}

export interface Running {
  child: ChildProcess;
  out(): string;
  ended: Promise<Ran>;
}

/** @param registry URL of the npm registry; nothing answers at the default one. */
export async function makeDesk(registry = 'http://127.0.0.1:1'): Promise<Desk> {
  const dir = await mkdtemp(join(tmpdir(), 'usher-cli-'));
  // Sandboxes run as nobody when the tests run as root.
  await chmod(dir, 0o711);
  afterAll(() => rm(dir, { recursive: true, force: true }));
  const env = {
    PATH: process.env['PATH'] ?? '',
    HOME: dir,
    XDG_CACHE_HOME: join(dir, 'cache'),
    npm_config_cache: join(dir, 'npm'),
    npm_config_registry: registry,
    // Npm would try one that is not there again for more than a minute.
    npm_config_fetch_retries: '0',
  };
  const start = (...args: string[]) => startProgram(process.execPath, [USHER, ...args], { cwd: dir, env });
  return {
    dir,
    env,
    async write(files) {
      for (const [path, content] of Object.entries(files)) {
        await mkdir(dirname(join(dir, path)), { recursive: true });
        await writeFile(join(dir, path), typeof content === 'string' ? content : JSON.stringify(content, null, 2));
      }
    },
    usher: (...args) => start(...args).ended,
    start,
  };
}

export function startProgram(file: string, args: string[], options: { cwd: string; env: Record<string, string> }): Running {
  const child = spawn(file, args, { ...options, stdio: ['ignore', 'pipe', 'pipe'] });
  let out = '';
  let err = '';
  child.stdout.on('data', (chunk) => (out += String(chunk)));
  child.stderr.on('data', (chunk) => (err += String(chunk)));
  const ended = new Promise<Ran>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code) => resolve({ code, out, err }));
  });
  return { child, out: () => out, ended };
}

/** `actions/<name>.json` and its code, as the deploy CLI writes them. */
export function exported(name: string, code: string, definition: object = {}): Record<string, string | object> {
  return {
    [`actions/${name}.json`]: {
      name,
      code: `./actions/${name}/code.js`,
      runtime: 'node22',
      status: 'built',
      dependencies: [],
      secrets: [],
      supported_triggers: [{ id: 'post-user-registration', version: 'v2' }],
      deployed: true,
      ...definition,
    },
    [`actions/${name}/code.js`]: code,
  };
}

/** `action-modules/<name>.json` and its code, as the deploy CLI writes them. */
export function exportedModule(name: string, code: string, definition: object = {}): Record<string, string | object> {
  return {
    [`action-modules/${name}.json`]: {
      name,
      code: `./action-modules/${name}/code.js`,
      dependencies: [],
      secrets: [],
      actions_using_module_total: 1,
      all_changes_published: true,
      latest_version_number: 1,
      ...definition,
    },
    [`action-modules/${name}/code.js`]: code,
  };
}
