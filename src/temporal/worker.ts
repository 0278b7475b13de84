import { bundleWorkflowCode, DefaultLogger, type NativeConnection, Worker } from '@temporalio/worker';
import { createHash } from 'node:crypto';
import { mkdir, readFile, readdir, rename, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { ActionActivities, LedgerActivities } from '../../workflows/messages.ts';
import { ACTIONS_TASK_QUEUE, REGISTRATION_TASK_QUEUE } from '../../workflows/messages.ts';
import { dataConverter } from './data-converter.ts';

/** Running attempts get this long after a stop, then they are cut short and run again later. */
export const SHUTDOWN_GRACE_MS = 10_000;

/** Two workers in one process: what runs Actions can never take the slots of what writes the ledger. */
export interface Workers {
  /** Resolves when both have stopped; rejects when one failed. */
  run(): Promise<void>;
  shutdown(): void;
}

export async function createWorkers(options: {
  connection: NativeConnection;
  namespace: string;
  ledgerActivities: LedgerActivities;
  actionActivities: ActionActivities;
  /** Attempts at once: as many as the sandbox has slots. */
  slots: number;
  /** Folder for the compiled workflow. */
  cacheDir: string;
}): Promise<Workers> {
  const { connection, namespace } = options;
  const common = { connection, namespace, dataConverter: dataConverter(), shutdownGraceTime: SHUTDOWN_GRACE_MS };
  const registration = await Worker.create({
    ...common,
    taskQueue: REGISTRATION_TASK_QUEUE,
    workflowBundle: { code: await workflowBundle(options.cacheDir) },
    activities: options.ledgerActivities,
  });
  const actions = await Worker.create({
    ...common,
    taskQueue: ACTIONS_TASK_QUEUE,
    activities: options.actionActivities,
    maxConcurrentActivityTaskExecutions: options.slots,
    // A cancelled or lost attempt hears of it within this.
    defaultHeartbeatThrottleInterval: '1 second',
    maxHeartbeatThrottleInterval: '1 second',
  });
  return {
    async run() {
      await Promise.all([registration.run(), actions.run()]);
    },
    shutdown() {
      for (const worker of [actions, registration]) if (worker.getState() === 'RUNNING') worker.shutdown();
    },
  };
}

/** The compiled workflow, kept by a hash of its sources and the SDK: compiling takes seconds, a restart should not. */
async function workflowBundle(cacheDir: string): Promise<string> {
  const sources = fileURLToPath(new URL('../../workflows/', import.meta.url));
  const hash = createHash('sha256');
  for (const name of (await readdir(sources)).toSorted()) hash.update(name).update(await readFile(join(sources, name)));
  const sdk = createRequire(import.meta.url)('@temporalio/worker/package.json') as { version: string };
  hash.update(sdk.version);
  const path = join(cacheDir, `workflows-${hash.digest('hex').slice(0, 32)}.js`);
  const kept = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return null;
    throw error;
  });
  if (kept !== null) return kept;

  const { code } = await bundleWorkflowCode({ workflowsPath: join(sources, 'index.ts'), logger: new DefaultLogger('WARN') });
  await mkdir(cacheDir, { recursive: true });
  const half = `${path}.${process.pid}`;
  await writeFile(half, code);
  await rename(half, path);
  return code;
}
