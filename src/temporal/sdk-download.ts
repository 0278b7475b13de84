import { readdir, stat } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { runToEnd } from './fetch-child.ts';

/** What the SDK can download: the command line with the development server, or the time-skipping test server. */
export type SdkProgram = 'dev-server' | 'time-skipping';

/** Each SDK release downloads the servers that it was tested with. */
export const SDK_VERSION = (createRequire(import.meta.url)('@temporalio/worker/package.json') as { version: string }).version;

const LOOK_EVERY_MS = 1000;

/**
 * Lets the SDK download a program into an empty folder.
 *
 * The SDK's core can only download and start in one, and waits without a limit on a network that swallows packets; so
 * it does it in a process of its own, which is ended when the download stands still.
 *
 * @returns the program's path.
 * @throws with the core's own reason, or that the download stood still.
 */
export async function downloadWithSdk(
  program: SdkProgram,
  folder: string,
  options: {
    env: NodeJS.ProcessEnv;
    signal?: AbortSignal | undefined;
    /** A download that has not grown for this long is given up. @default 20000 */
    stalledMs?: number;
  },
): Promise<string> {
  const { stalledMs = 20_000 } = options;
  const stalled = new AbortController();
  let bytes = -1;
  let grownAt = performance.now();
  const watch = setInterval(() => void look().catch((error: unknown) => stalled.abort(error)), LOOK_EVERY_MS);

  async function look(): Promise<void> {
    const now = await sizeOf(folder);
    if (now !== bytes) [bytes, grownAt] = [now, performance.now()];
    else if (performance.now() - grownAt > stalledMs) {
      stalled.abort(new Error(`the download stood still for ${stalledMs / 1000} s`));
    }
  }

  try {
    await runToEnd({
      command: process.execPath,
      args: [fileURLToPath(new URL('./sdk-download-child.ts', import.meta.url)), program, folder],
      env: options.env,
      cwd: folder,
      signal: AbortSignal.any([stalled.signal, ...(options.signal === undefined ? [] : [options.signal])]),
    });
  } finally {
    clearInterval(watch);
  }
  const [name] = await readdir(folder);
  if (name === undefined) throw new Error('the SDK reported success, but there is no file');
  return join(folder, name);
}

async function sizeOf(folder: string): Promise<number> {
  let bytes = 0;
  for (const name of await readdir(folder)) bytes += (await stat(join(folder, name)).catch(() => ({ size: 0 }))).size;
  return bytes;
}
