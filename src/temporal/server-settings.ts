/**
 * What Usher sets on a Temporal server. Priorities, and fairness between Actions, are switched off in servers of this age;
 * source: https://docs.temporal.io/develop/task-queue-priority-fairness
 *
 * And a server looks only 20 times a second for what is to be done next in each of its history shards. Ours has one, a small
 * one four: from three registrations a second on, each of their six steps would wait for its turn there.
 */
export const SERVER_SETTINGS = {
  'matching.useNewMatcher': true,
  'matching.enableFairness': true,
  'history.transferProcessorMaxPollRPS': 100,
} as const;
