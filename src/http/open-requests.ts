import type { RequestHandler } from 'express';

/** About as long as a sign-up takes. */
const DEFAULT_TURN_MS = 20;

/** The requests that wait for their answer in this process. */
export interface OpenRequests {
  /** Mounted before what is counted. */
  count: RequestHandler;
  /**
   * For work on the same thread that nobody waits for: resolves when all requests under way are answered. When there is
   * always one, the work has a turn after `turnMs`, for as long.
   */
  answered(): Promise<void>;
}

/** @param options.turnMs see `answered`. @default 20 */
export function createOpenRequests({ turnMs = DEFAULT_TURN_MS }: { turnMs?: number } = {}): OpenRequests {
  let open = 0;
  let turnUntil = -Infinity;
  const waiting = new Set<() => void>();
  return {
    count(_req, res, next) {
      open++;
      res.once('close', () => {
        open--;
        if (open === 0) for (const goOn of waiting) goOn();
      });
      next();
    },
    async answered() {
      if (open === 0 || performance.now() < turnUntil) return;
      await new Promise<void>((resolve) => {
        const timer = setTimeout(() => {
          turnUntil = performance.now() + turnMs;
          goOn();
        }, turnMs);
        function goOn(): void {
          clearTimeout(timer);
          waiting.delete(goOn);
          resolve();
        }
        waiting.add(goOn);
      });
    },
  };
}
