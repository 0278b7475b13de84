/** Attempts at once in one worker: Actions wait for receivers most of the time, so more than there are cores. */
export const WORKER_SANDBOXES = 16;
/** As many of them as one Action may have at a time, so that a slow receiver leaves room for the others. */
export const SHARE_OF_ONE_ACTION = WORKER_SANDBOXES / 2;
/**
 * Attempts that a worker takes from Temporal at once. More than it can run: those whose Action has its share already are
 * sent away at once, and must not stand before those that can run.
 */
export const WORKER_TASKS = WORKER_SANDBOXES + SHARE_OF_ONE_ACTION;
