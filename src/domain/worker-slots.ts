/** Attempts at once in one worker, unless it is told otherwise: Actions wait for receivers most of the time, so more than there are cores. */
export const DEFAULT_WORKER_SANDBOXES = 16;

/** As many of a worker's sandboxes as one Action may have at a time, so that a slow receiver leaves room for the others. */
export function shareOfOneAction(sandboxes: number): number {
  return Math.floor(sandboxes / 2);
}

/**
 * Attempts that a worker takes from Temporal at once. More than it can run: those whose Action has its share already are
 * sent away at once, and must not stand before those that can run.
 */
export function workerTasks(sandboxes: number): number {
  return sandboxes + shareOfOneAction(sandboxes);
}
