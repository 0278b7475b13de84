import type { Ledger } from '../src/store/ledger.ts';
import type { Logger } from '../src/logger.ts';

/** How long an attempt is ours without a word from us. */
export const LEASE_MS = 30_000;
const RENEW_EVERY_S = 8;
/** An attempt whose lease could not be renewed is killed this long before another worker may take the step. */
const KILL_BEFORE_END_MS = 5_000;

/** Keeps the leases of this worker's running attempts, and kills those it cannot keep. */
export interface LeaseKeeper {
  /** Now, to be taken before a claim. Attempts whose leases are over by then are killed first: the claim may give their step away. */
  beforeClaim(): ClaimTime;
  /** The signal fires when the attempt's lease can no longer be relied on. Call `release` once its end is recorded. */
  keep(attemptId: string, claimedAt: ClaimTime): { signal: AbortSignal; release(): void };
  start(): void;
  stop(): void;
}

/** By two clocks: the one stands still while the machine sleeps, the other can be set back. */
export interface ClaimTime {
  monotonicMs: number;
  wallMs: number;
}

interface Kept {
  controller: AbortController;
  /** From before the write that set the lease: it never ends earlier than we count from here. */
  leasedAt: ClaimTime;
}

export function createLeaseKeeper(deps: { ledger: Pick<Ledger, 'renewLeases'>; logger: Logger }): LeaseKeeper {
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
    const asked = readClocks();
    const attemptIds = [...kept.keys()];
    try {
      const held = await deps.ledger.renewLeases({ attemptIds, leaseMs: LEASE_MS });
      for (const id of attemptIds) {
        const entry = kept.get(id);
        if (entry === undefined) continue;
        if (held.has(id)) entry.leasedAt = asked;
        else lose(id, 'the ledger has given the step to another attempt');
      }
    } catch (error) {
      deps.logger.warn({ err: error }, 'leases of running attempts could not be renewed; trying again');
    } finally {
      renewing = false;
    }
  }

  function check(): void {
    const now = readClocks();
    for (const [id, { leasedAt }] of kept) {
      const passedMs = Math.max(now.monotonicMs - leasedAt.monotonicMs, now.wallMs - leasedAt.wallMs);
      if (passedMs >= LEASE_MS - KILL_BEFORE_END_MS) lose(id, 'its lease was not renewed in time');
    }
  }

  let ticks = 0;
  return {
    beforeClaim() {
      check();
      return readClocks();
    },
    keep(attemptId, claimedAt) {
      const controller = new AbortController();
      kept.set(attemptId, { controller, leasedAt: claimedAt });
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

function readClocks(): ClaimTime {
  return { monotonicMs: performance.now(), wallMs: Date.now() };
}
