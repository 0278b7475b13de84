/**
 * What Usher uses of a Temporal server that servers of this age have switched off: priorities, and fairness between
 * Actions. Names and values of its dynamic configuration; source: https://docs.temporal.io/develop/task-queue-priority-fairness
 */
export const SERVER_SETTINGS = { 'matching.useNewMatcher': true, 'matching.enableFairness': true } as const;
