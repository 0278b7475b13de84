import { mkdir } from 'node:fs/promises';
import { homedir, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { postgresMissing, startPostgres } from './postgres.ts';
import { startTemporalCluster, type TemporalCluster } from './temporal-cluster.ts';
import { buildTemporalPrograms } from './temporal-programs.ts';

/** Brings up PostgreSQL and a Temporal cluster on this machine, without containers, until Ctrl-C. */
const { values } = parseArgs({
  options: {
    data: { type: 'string', default: join(tmpdir(), 'usher-cluster') },
    'postgres-port': { type: 'string', default: '5433' },
    'temporal-port': { type: 'string', default: '7243' },
    namespace: { type: 'string', default: 'default' },
  },
});

const missing = postgresMissing();
if (missing !== null) throw new Error(`PostgreSQL cannot be had here: ${missing}.`);
const folder = values.data;
await mkdir(folder, { recursive: true, mode: 0o711 });
const postgres = await startPostgres({ folder: join(folder, 'postgres'), port: Number(values['postgres-port']) });
let cluster: TemporalCluster | undefined;

async function stop(): Promise<void> {
  await cluster?.stop();
  await postgres.stop();
}

try {
  const cacheDir = join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'usher');
  const programs = await buildTemporalPrograms({ cacheDir, env: process.env, output: process.stderr });
  cluster = await startTemporalCluster({ programs, postgresPort: postgres.port, folder: join(folder, 'temporal'), port: Number(values['temporal-port']), namespace: values.namespace });
  const databaseUrl = await postgres.ensureDatabase('usher');
  process.stdout.write(`
PostgreSQL and the four services of a Temporal cluster run; their data are in ${folder}. Ctrl-C ends them.

In another terminal:
  export DATABASE_URL=${databaseUrl}
  export TEMPORAL_ADDRESS=${cluster.address}
  export TEMPORAL_NAMESPACE=${cluster.namespace}
  npm start
`);
} catch (error) {
  await stop();
  throw error;
}
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => void stop().then(() => process.exit(0)));
