import { bundleWorkflowCode, DefaultLogger, type NativeConnection, Worker } from '@temporalio/worker';
import { createHash } from 'node:crypto';
import { mkdir, readFile, readdir, rename, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { ActionActivities, LedgerActivities } from '../../workflows/messages.ts';
import { ACTIONS_TASK_QUEUE, REGISTRATION_TASK_QUEUE } from '../../workflows/messages.ts';
import { dataConverter, FAILURE_CONVERTER_PATH } from './data-converter.ts';
import type { PayloadKeys } from './payload-codec.ts';

/** Running attempts get this long after a stop, then they are cut short and run again later. */
export const SHUTDOWN_GRACE_MS = 10_000;

/** Two workers in one process: what runs Actions can never take the slots of what writes the ledger. */
export interface Workers {
  /** Resolves when both have stopped; rejects when one failed. */
  run(): Promise<void>;
  shutdown(): void;
  /** Null while both of them ask Temporal for work; else what keeps them from it. Never rejects, and ends within 2 s. */
  trouble(): Promise<string | null>;
}

const ASK_TIMEOUT_MS = 2_000;

export async function createWorkers(options: {
  connection: NativeConnection;
  namespace: string;
  payloadKeys: PayloadKeys;
  ledgerActivities: LedgerActivities;
  actionActivities: ActionActivities;
  /** Attempts taken at once. */
  tasks: number;
  /** Folder for the compiled workflow. */
  cacheDir: string;
  /** The worker deployment that this is a version of, with its version; null: workers of all versions get all workflows. */
  deployment: { name: string; version: string } | null;
}): Promise<Workers> {
  const { connection, namespace, deployment } = options;
  const common = { connection, namespace, dataConverter: dataConverter(options.payloadKeys), shutdownGraceTime: SHUTDOWN_GRACE_MS };
  const registration = await Worker.create({
    ...common,
    taskQueue: REGISTRATION_TASK_QUEUE,
    workflowBundle: { code: await workflowBundle(options.cacheDir) },
    activities: options.ledgerActivities,
    // Our workflow goes from one version to the next with `patched`, so that no version must be kept for days.
    ...(deployment === null ? {} : { workerDeploymentOptions: { version: { deploymentName: deployment.name, buildId: deployment.version }, useWorkerVersioning: true, defaultVersioningBehavior: 'AUTO_UPGRADE' } }),
  });
  const actions = await Worker.create({
    ...common,
    taskQueue: ACTIONS_TASK_QUEUE,
    activities: options.actionActivities,
    maxConcurrentActivityTaskExecutions: options.tasks,
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
    async trouble() {
      const stopped = [registration, actions].find((worker) => worker.getState() !== 'RUNNING');
      if (stopped !== undefined) return `the worker is ${stopped.getState().toLowerCase()}`;
      try {
        // Polls go on by themselves when the server is back, and do not say while it is away.
        await connection.withDeadline(Date.now() + ASK_TIMEOUT_MS, () => connection.workflowService.getSystemInfo({}));
        return null;
      } catch (error) {
        return `unreachable: ${error instanceof Error ? error.message : String(error)}`;
      }
    },
  };
}

/** The compiled workflow, kept by a hash of its sources and the SDK: compiling takes seconds, a restart should not. */
async function workflowBundle(cacheDir: string): Promise<string> {
  const sources = fileURLToPath(new URL('../../workflows/', import.meta.url));
  const hash = createHash('sha256');
  for (const name of (await readdir(sources)).toSorted()) hash.update(name).update(await readFile(join(sources, name)));
  hash.update(await readFile(FAILURE_CONVERTER_PATH));
  const sdk = createRequire(import.meta.url)('@temporalio/worker/package.json') as { version: string };
  hash.update(sdk.version);
  const path = join(cacheDir, `workflows-${hash.digest('hex').slice(0, 32)}.js`);
  const kept = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return null;
    throw error;
  });
  if (kept !== null) return kept;

  const { code } = await bundleWorkflowCode({ workflowsPath: join(sources, 'index.ts'), failureConverterPath: FAILURE_CONVERTER_PATH, logger: new DefaultLogger('WARN') });
  await mkdir(cacheDir, { recursive: true });
  const half = `${path}.${process.pid}`;
  await writeFile(half, code);
  await rename(half, path);
  return code;
}
