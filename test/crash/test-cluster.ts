import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startTemporalCluster, type TemporalCluster } from '../../examples/cluster/temporal-cluster.ts';
import { buildTemporalPrograms } from '../../examples/cluster/temporal-programs.ts';
import { testCacheDir } from '../helpers/dev-server.ts';

/** Starts a Temporal of four services on a PostgreSQL of the test's own; its `stop` removes what it has written. */
export async function startTestCluster(postgresPort: number): Promise<TemporalCluster> {
  const programs = await buildTemporalPrograms({ cacheDir: testCacheDir(), env: process.env, output: process.stderr });
  const folder = await mkdtemp(join(tmpdir(), 'usher-cluster-'));
  // Apart from those of the development servers, with a range for each process.
  const port = 10_000 + ((process.pid * 20) % 10_000);
  const cluster = await startTemporalCluster({ programs, postgresPort, folder, port, namespace: 'default' });
  return {
    ...cluster,
    async stop() {
      await cluster.stop();
      await rm(folder, { recursive: true, force: true });
    },
  };
}
