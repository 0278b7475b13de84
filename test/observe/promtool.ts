import { join } from 'node:path';
import { withProgress } from '../../src/progress.ts';
import { runToEnd } from '../../src/temporal/fetch-child.ts';
import { cacheProgram } from '../../src/temporal/program-cache.ts';
import { testCacheDir } from '../helpers/dev-server.ts';
import { isExecutable, onPath } from '../helpers/on-path.ts';

/** The newest that this project's Go can build; without service discovery, of which rules know nothing, in half the time. */
const PROMTOOL = 'github.com/prometheus/prometheus/cmd/promtool@v0.316.0';
const TAGS = 'remove_all_sd';

/**
 * Prometheus's `promtool`: the one on the PATH, what was built before, or a `go install`, which takes 3 to 5 minutes on
 * two processors, once.
 *
 * @param signal ends the build.
 * @throws with the reason when there is none and it cannot be built.
 */
export async function promtoolProgram(signal: AbortSignal): Promise<string> {
  const built = join(testCacheDir(), `promtool-${PROMTOOL.split('@')[1]}`, 'promtool');
  const program = await onPath('promtool');
  if (program !== undefined) return program;
  if (await isExecutable(built)) return built;
  await withProgress({ what: 'Building promtool with Go, once', usually: '3 to 5 min on two processors', output: process.stderr }, () =>
    cacheProgram(built, async (folder) => {
      await runToEnd({ command: 'go', args: ['install', '-tags', TAGS, PROMTOOL], env: { ...process.env, GOBIN: folder }, cwd: folder, signal });
      return join(folder, 'promtool');
    }),
  );
  return built;
}
