/** What the workflow, its worker and the bench share. */

export const TASK_QUEUE = 'hand-written';

/** What the worker tells the bench: that it polls, and each run of the last activity. */
export type WorkerMessage = 'ready' | 'recorded';

export interface Activities {
  load(id: string): Promise<void>;
  act(id: string): Promise<void>;
  record(id: string): Promise<void>;
}
