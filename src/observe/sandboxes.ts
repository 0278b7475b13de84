import type { SandboxWatch } from '../sandbox/pool.ts';
import type { Metrics } from './metrics.ts';

/** Counts what a pool of sandboxes does. @param pool names it in the label: `pre-registration`, `test` or `actions`. */
export function watchSandboxes(metrics: Metrics, pool: string): SandboxWatch {
  for (const result of ['started', 'failed'] as const) metrics.sandboxStarts.inc({ pool, result }, 0);
  for (const result of ['go', 'timed-out'] as const) metrics.sandboxWaitSeconds.zero({ pool, result });
  return {
    started: (result) => metrics.sandboxStarts.inc({ pool, result }),
    waited: (seconds, result) => metrics.sandboxWaitSeconds.observe({ pool, result }, seconds),
  };
}
