import pLimit from 'p-limit';
import type { Logger } from '../logger.ts';
import type { DueRegistration, Outbox } from '../store/outbox.ts';
import type { RegistrationStarter } from '../temporal/registration-starter.ts';

/** A dispatcher that dies leaves its rows to the others after this. */
const CLAIM_LEASE_MS = 15_000;
const BATCH = 50;
/** Hand-overs at once: the work of each is short, and sign-ups come in between. */
const AT_ONCE = 8;
/** What a crash between commit and wake-up left is found after this. */
const POLL_MS = 1_000;
/** After something was handed over: on the embedded store nobody tells of what another process makes due, and one thing leads to another. */
const FIRST_POLL_MS = 100;
/** Temporal is asked this often also when nothing is due, so that its silence, or another one in its place, is noticed. */
const LOOK_EVERY_MS = 5_000;
const FIRST_PAUSE_MS = 500;
const MAX_PAUSE_MS = 10_000;
/** A start that Temporal refuses for its own sake is tried again after this, doubling. */
const FIRST_BACK_OFF_MS = 5_000;
const MAX_BACK_OFF_MS = 10 * 60_000;
/** Silence after a hand-over that the sweep asks about. */
const CHECK_AFTER_MS = 2 * 60_000;

/** Hands due registrations to Temporal: claim by lease, `signalWithStart`, mark. Runs in any number at once. */
export interface Dispatcher {
  start(): void;
  /** A registration has become due in this process. */
  wake(): void;
  /** Ends after the hand-overs under way. */
  stop(): Promise<void>;
  /** `starting` until Temporal has been reached once. */
  temporal(): { state: 'ok' } | { state: 'starting' | 'unreachable'; reason: string };
}

export function createDispatcher(deps: {
  outbox: Outbox;
  starter: RegistrationStarter;
  /** Asks Temporal who it is, now and then; `afterSilence`: it has not answered before. Rejects when it is unreachable. */
  look(options: { afterSilence: boolean }): Promise<void>;
  /** Waited for before each hand-over: those who wait for an answer of this process come first. Must not reject. */
  answersFirst(): Promise<void>;
  logger: Logger;
}): Dispatcher {
  const { outbox, starter, logger } = deps;
  const stopping = new AbortController();
  const inTurn = pLimit(AT_ONCE);
  let reachedOnce = false;
  let unreachable: string | null = 'not asked yet';
  let lookedAt = -Infinity;
  let pauseMs = FIRST_PAUSE_MS;
  let pollMs = POLL_MS;
  let woken = false;
  let endRest: (() => void) | undefined;
  let running: Promise<void> = Promise.resolve();

  /** Resolves after `ms`, at a stop, or (between batches) at a wake-up, also one that came just before. */
  function rest(ms: number, options: { wakeable: boolean }): Promise<void> {
    if (stopping.signal.aborted || (options.wakeable && woken)) return Promise.resolve();
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      endRest = () => {
        if (!stopping.signal.aborted && !options.wakeable) return;
        clearTimeout(timer);
        resolve();
      };
    });
  }

  async function handOver(due: DueRegistration): Promise<'taken' | 'refused' | 'unanswered'> {
    await deps.answersFirst();
    try {
      await starter.start(due);
    } catch (error) {
      if (starter.isUnreachable(error)) {
        unreachable = error instanceof Error ? error.message : String(error);
        return 'unanswered';
      }
      const delayMs = Math.min(FIRST_BACK_OFF_MS * 2 ** due.dispatchFailures, MAX_BACK_OFF_MS);
      logger.error({ err: error, registration_id: due.registrationId, next_in_ms: delayMs }, 'Temporal refused a registration; it is tried again');
      await outbox.backOff({ registrationId: due.registrationId, dueSeq: due.dueSeq, delayMs, error: error instanceof Error ? error.message : String(error) });
      return 'refused';
    }
    return 'taken';
  }

  /** One batch. @returns whether there may be more at once. */
  async function dispatch(): Promise<boolean> {
    woken = false;
    const claimed = await outbox.claimDue({ limit: BATCH, leaseMs: CLAIM_LEASE_MS });
    pollMs = claimed.length > 0 ? FIRST_POLL_MS : Math.min(pollMs * 2, POLL_MS);
    const answers = await inTurn.map(claimed, handOver);
    // In one commit: on the embedded store a sign-up would wait for fifty.
    await outbox.markHandedOver(claimed.filter((_, index) => answers[index] === 'taken'), { checkAfterMs: CHECK_AFTER_MS });
    const left = claimed.filter((_, index) => answers[index] === 'unanswered');
    if (left.length > 0) await outbox.releaseClaims(left.map((due) => due.registrationId));
    return left.length === 0 && claimed.length === BATCH;
  }

  async function look(): Promise<void> {
    await deps.look({ afterSilence: unreachable !== null });
    lookedAt = performance.now();
    if (unreachable === null) return;
    logger.info('Temporal is reached; registrations are handed over');
    unreachable = null;
    reachedOnce = true;
    pauseMs = FIRST_PAUSE_MS;
  }

  async function loop(): Promise<void> {
    while (!stopping.signal.aborted) {
      try {
        if (unreachable !== null || performance.now() - lookedAt > LOOK_EVERY_MS) await look();
        const more = await dispatch();
        if (!more && unreachable === null) await rest(pollMs, { wakeable: true });
      } catch (error) {
        if (starter.isUnreachable(error)) unreachable = error instanceof Error ? error.message : String(error);
        else logger.error({ err: error }, 'the dispatcher could not read or write the outbox; trying again');
        if (unreachable === null) await rest(POLL_MS, { wakeable: false });
      }
      if (unreachable !== null) {
        logger.debug({ reason: unreachable, next_in_ms: pauseMs }, 'Temporal cannot be reached; registrations wait in the outbox');
        await rest(pauseMs, { wakeable: false });
        pauseMs = Math.min(pauseMs * 2, MAX_PAUSE_MS);
      }
    }
  }

  return {
    start() {
      running = loop();
    },
    wake() {
      woken = true;
      endRest?.();
    },
    async stop() {
      stopping.abort();
      endRest?.();
      await running;
    },
    temporal() {
      if (unreachable === null) return { state: 'ok' };
      return { state: reachedOnce ? 'unreachable' : 'starting', reason: unreachable };
    },
  };
}
