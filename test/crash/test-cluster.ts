import { spawnSync } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { postgresMissing } from '../../examples/cluster/postgres.ts';
import { startTemporalCluster, type TemporalCluster } from '../../examples/cluster/temporal-cluster.ts';
import { buildTemporalPrograms, type TemporalPrograms } from '../../examples/cluster/temporal-programs.ts';
import { testCacheDir } from '../helpers/dev-server.ts';

/** Why there can be no cluster of one's own on this machine; null when there can. */
export function clusterMissing(): string | null {
  return postgresMissing() ?? (spawnSync('go', ['version']).error === undefined ? null : 'Go, which builds the Temporal server, is not on the PATH');
}

/** Builds Temporal's server before the first test, which takes longer on a fresh machine than any hook may. */
export async function setup(): Promise<void> {
  if (clusterMissing() === null) await buildPrograms();
}

/** Starts a Temporal of four services on a PostgreSQL of the test's own; its `stop` removes what it has written. */
export async function startTestCluster(postgresPort: number): Promise<TemporalCluster> {
  const programs = await buildPrograms();
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

async function buildPrograms(): Promise<TemporalPrograms> {
  return await buildTemporalPrograms({ cacheDir: testCacheDir(), env: process.env, output: process.stderr });
}
