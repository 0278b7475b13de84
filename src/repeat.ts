/**
 * Does something every so often, never twice at the same time: a round that takes longer is waited for.
 *
 * @param round must not throw. The first one begins after `everyMs`.
 * @returns what ends it, after the round under way.
 */
export function repeat(round: () => Promise<void>, everyMs: number): { stop(): Promise<void> } {
  let running: Promise<void> | null = null;
  const timer = setInterval(() => {
    running ??= round().finally(() => {
      running = null;
    });
  }, everyMs);
  return {
    async stop() {
      clearInterval(timer);
      await running;
    },
  };
}
