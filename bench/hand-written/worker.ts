import { DefaultLogger, NativeConnection, Runtime, Worker } from '@temporalio/worker';
import { fileURLToPath } from 'node:url';
import { type Activities, TASK_QUEUE, type WorkerMessage } from './contract.ts';

/*
 * The worker of the hand-written workflow: a process of its own, as Usher's is, with the SDK's defaults throughout.
 * Started by `run.ts` with the server's address; ends when that lets go of it.
 */

const nothing = (): Promise<void> => Promise.resolve();
const tell = (message: WorkerMessage): void => void process.send?.(message);

/** They do nothing, so that what is left is Temporal. */
const activities: Activities = {
  load: nothing,
  act: nothing,
  record: async () => tell('recorded'),
};

Runtime.install({ logger: new DefaultLogger('WARN') });
const connection = await NativeConnection.connect({ address: process.argv[2]! });
const worker = await Worker.create({
  connection,
  taskQueue: TASK_QUEUE,
  workflowsPath: fileURLToPath(new URL('workflow.ts', import.meta.url)),
  activities,
});
// Ctrl-C reaches it as well, and the SDK then stops it by itself.
process.once('disconnect', () => worker.getState() === 'RUNNING' && worker.shutdown());
const running = worker.run();
tell('ready');
await running;
await connection.close();
