import type { Ledger } from '../src/store/ledger.ts';
import type { Logger } from '../src/logger.ts';

/** How long an attempt is ours without a word from us. */
export const LEASE_MS = 30_000;
const RENEW_EVERY_S = 8;
/** An attempt whose lease could not be renewed is killed this long before another worker may take the step. */
const KILL_BEFORE_END_MS = 5_000;

/** Keeps the leases of this worker's running attempts, and kills those it cannot keep. */
export interface LeaseKeeper {
  /**
   * The signal fires when the attempt's lease can no longer be relied on. Call `release` when the attempt is over.
   *
   * @param claimedAt `performance.now()` from before the claim.
   */
  keep(attemptId: string, claimedAt: number): { signal: AbortSignal; release(): void };
  start(): void;
  stop(): void;
}

interface Kept {
  controller: AbortController;
  /** By this process's monotonic clock, counted from before the write that set the lease: never later than the truth. */
  endsAt: number;
}

/** @param deps.workerId the name under which this worker claims. */
export function createLeaseKeeper(deps: { ledger: Pick<Ledger, 'renewLeases'>; workerId: string; logger: Logger }): LeaseKeeper {
  const kept = new Map<string, Kept>();
  let timer: NodeJS.Timeout | undefined;
  let renewing = false;

  function lose(attemptId: string, reason: string): void {
    kept.get(attemptId)?.controller.abort(new Error(reason));
    kept.delete(attemptId);
    deps.logger.warn({ attempt_id: attemptId, reason }, 'attempt killed: its lease could not be kept');
  }

  async function renew(): Promise<void> {
    if (renewing || kept.size === 0) return;
    renewing = true;
    const asked = performance.now();
    const ids = [...kept.keys()];
    try {
      const held = await deps.ledger.renewLeases({ workerId: deps.workerId, leaseMs: LEASE_MS });
      for (const id of ids) {
        const entry = kept.get(id);
        if (entry === undefined) continue;
        if (held.has(id)) entry.endsAt = asked + LEASE_MS;
        else lose(id, 'the ledger has given the step to another attempt');
      }
    } catch (error) {
      deps.logger.warn({ err: error }, 'leases of running attempts could not be renewed; trying again');
    } finally {
      renewing = false;
    }
  }

  function check(): void {
    const now = performance.now();
    for (const [id, entry] of kept) {
      if (now >= entry.endsAt - KILL_BEFORE_END_MS) lose(id, 'the store could not be reached to renew the lease');
    }
  }

  let ticks = 0;
  return {
    keep(attemptId, claimedAt) {
      const controller = new AbortController();
      kept.set(attemptId, { controller, endsAt: claimedAt + LEASE_MS });
      return { signal: controller.signal, release: () => void kept.delete(attemptId) };
    },
    start() {
      timer = setInterval(() => {
        check();
        if (++ticks % RENEW_EVERY_S === 0) void renew();
      }, 1000);
    },
    stop() {
      clearInterval(timer);
    },
  };
}
