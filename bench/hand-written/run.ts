import { Client, Connection } from '@temporalio/client';
import { fork } from 'node:child_process';
import { once } from 'node:events';
import pLimit from 'p-limit';
import { fileURLToPath } from 'node:url';
import { TASK_QUEUE, type WorkerMessage } from './contract.ts';
import type { handWritten } from './workflow.ts';

/** As many as Usher's dispatcher hands over at once. */
const STARTS_AT_ONCE = 50;
const START_PATIENCE_MS = 60_000;

/** A worker of the hand-written workflow, and runs of it. */
export interface HandWritten {
  /** Runs the workflow so many times. @returns seconds from the first start to the last record. */
  run(count: number): Promise<number>;
  stop(): Promise<void>;
}

export async function startHandWritten(address: string): Promise<HandWritten> {
  const worker = fork(fileURLToPath(new URL('worker.ts', import.meta.url)), [address]);
  let onRecord: () => void = () => undefined;
  const failed = new Promise<never>((_, reject) => {
    worker.once('exit', (code) => reject(new Error(`The worker of the hand-written workflow has ended with code ${code}.`)));
  });
  failed.catch(() => undefined);
  await Promise.race([once(worker, 'message', { signal: AbortSignal.timeout(START_PATIENCE_MS) }), failed]);
  worker.on('message', (message: WorkerMessage) => {
    if (message === 'recorded') onRecord();
  });
  const connection = await Connection.connect({ address });
  const client = new Client({ connection });
  const limit = pLimit(STARTS_AT_ONCE);
  let runs = 0;

  return {
    async run(count) {
      const run = ++runs;
      let recorded = 0;
      const allRecorded = new Promise<void>((resolve) => {
        onRecord = () => {
          if (++recorded === count) resolve();
        };
      });
      const startedAt = performance.now();
      const started = Array.from({ length: count }, (_, i) =>
        limit(() => client.workflow.start<typeof handWritten>('handWritten', { taskQueue: TASK_QUEUE, workflowId: `hand-written/${run}/${i}`, args: [`${i}`] })));
      await Promise.race([Promise.all([...started, allRecorded]), failed]);
      return (performance.now() - startedAt) / 1000;
    },
    async stop() {
      await connection.close();
      if (worker.exitCode !== null) return;
      const gone = once(worker, 'exit');
      worker.disconnect();
      await gone;
    },
  };
}
