import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { type ProgressOutput, withProgress } from '../../src/progress.ts';
import { runToEnd } from '../../src/temporal/fetch-child.ts';

/** Builds with `go install`, and runs against PostgreSQL 15 and newer. */
export const SERVER_VERSION = '1.29.1';
const PACKAGES = ['server', 'tools/sql'].map((name) => `go.temporal.io/server/cmd/${name}@v${SERVER_VERSION}`);

/** The programs of a Temporal cluster. */
export interface TemporalPrograms {
  server: string;
  /** Makes and upgrades its tables. */
  sqlTool: string;
}

/**
 * Temporal's own server, built once with Go and kept in `cacheDir`.
 *
 * @throws when there is no Go, or it cannot build it.
 */
export async function buildTemporalPrograms({ cacheDir, env, output }: { cacheDir: string; env: NodeJS.ProcessEnv; output: ProgressOutput }): Promise<TemporalPrograms> {
  const folder = join(cacheDir, `temporal-server-${SERVER_VERSION}`);
  if (!existsSync(folder)) {
    await mkdir(cacheDir, { recursive: true });
    const half = await mkdtemp(join(cacheDir, '.temporal-server-'));
    try {
      await withProgress({ what: `Building the Temporal server ${SERVER_VERSION} with Go, once`, usually: '3 to 6 min on two processors', output }, async (detail) => {
        let compiled = 0;
        await runToEnd({
          command: 'go',
          args: ['install', '-v', ...PACKAGES],
          env: { ...env, GOBIN: half },
          cwd: half,
          onErrorLine: (line) => detail(line.startsWith('go: ') ? 'downloading modules' : `${++compiled} packages compiled`),
        });
      });
      // Of two that build it at once, the second keeps what the first has made.
      await rename(half, folder).catch((error: NodeJS.ErrnoException) => {
        if (error.code !== 'ENOTEMPTY' && error.code !== 'EEXIST') throw error;
      });
    } finally {
      await rm(half, { recursive: true, force: true });
    }
  }
  return { server: join(folder, 'server'), sqlTool: join(folder, 'sql') };
}
