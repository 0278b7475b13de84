import type { Channel, Message } from '../domain/message.ts';
import type { Logger } from '../logger.ts';
import type { ClaimedMessage, MessageStore } from '../store/messages.ts';
import { type Transport, TransportError } from './transport.ts';

const BATCH = 10;
/** Longer than a batch can take with every timeout run out; a sender that dies leaves its messages to the others then. */
const CLAIM_LEASE_MS = 2 * 60_000;
/** What a crash between commit and wake-up left is found after this. */
const POLL_MS = 1_000;
/** After a failure, doubling. */
const FIRST_PAUSE_MS = 5_000;
const MAX_PAUSE_MS = 60 * 60_000;
/** What a server has not taken this long after a stop is sent after the next start. Shorter than a role's time to end. */
const STOP_GRACE_MS = 3_000;

/** Sends the messages of one channel. Runs in any number at once. */
export interface Sender {
  start(): Promise<void>;
  /** A message was committed in this process. */
  wake(): void;
  /** Ends after what is being sent, or soon after. */
  stop(): Promise<void>;
}

/**
 * @param deps.transport null: messages are kept to be shown, as in development.
 * @param deps.alone no other process sends: what is claimed at the start was claimed by one that died.
 */
export function createSender<C extends Channel>(deps: {
  channel: C;
  transport: Transport<Extract<Message, { channel: C }>> | null;
  messages: MessageStore;
  alone: boolean;
  logger: Logger;
}): Sender {
  const { channel, messages, logger } = deps;
  const transport: Transport | null = deps.transport;
  const stopping = new AbortController();
  let woken = false;
  let endRest: (() => void) | undefined;
  let running: Promise<void> = Promise.resolve();

  function rest(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      endRest = () => {
        clearTimeout(timer);
        resolve();
      };
      if (stopping.signal.aborted || woken) endRest();
    });
  }

  async function send({ id, message, failures }: ClaimedMessage, { to }: { to: string }, by: Transport): Promise<void> {
    if (message.usefulUntil <= Date.now()) return await fail(id, failures, 'it would come too late');
    try {
      await by.send({ ...message, to }, id);
    } catch (error) {
      // Another error may hold the message.
      const reason = error instanceof TransportError ? error.message : `an unexpected ${(error as Error).name}`;
      if (error instanceof TransportError && error.permanent) return await fail(id, failures + 1, reason);
      const delayMs = Math.min(FIRST_PAUSE_MS * 2 ** failures, MAX_PAUSE_MS);
      logger.warn({ message_id: id, channel, reason, failures: failures + 1, next_in_ms: delayMs }, 'a message could not be sent; it is tried again');
      return await messages.backOff({ id, delayMs, error: reason });
    }
    await messages.remove([id]);
  }

  async function fail(id: string, failures: number, reason: string): Promise<void> {
    logger.error({ message_id: id, channel, reason, failures }, 'a message could not be sent and is not tried any more');
    await messages.fail(id, reason);
  }

  /** One batch. @returns whether there may be more at once. */
  async function work(): Promise<boolean> {
    woken = false;
    const claimed = await messages.claimDue({ channel, limit: BATCH, leaseMs: CLAIM_LEASE_MS });
    const addressed = claimed.filter(({ message }) => message.to !== null);
    await messages.remove(claimed.filter(({ message }) => message.to === null).map(({ id }) => id));
    if (transport === null) await messages.keep(addressed.map(({ id }) => id));
    else await Promise.all(addressed.map((each) => send(each, { to: each.message.to ?? '' }, transport)));
    return claimed.length === BATCH;
  }

  async function loop(): Promise<void> {
    while (!stopping.signal.aborted) {
      let more = false;
      try {
        more = await work();
      } catch (error) {
        logger.error({ err: error, channel }, 'the outbox of messages could not be read or written; trying again');
        woken = false;
      }
      if (!more) await rest(POLL_MS);
    }
  }

  return {
    async start() {
      if (deps.alone) await messages.releaseClaims();
      running = loop();
    },
    wake() {
      woken = true;
      endRest?.();
    },
    async stop() {
      stopping.abort();
      endRest?.();
      const grace = Promise.withResolvers<void>();
      const timer = setTimeout(grace.resolve, STOP_GRACE_MS);
      await Promise.race([running, grace.promise]);
      clearTimeout(timer);
      transport?.close();
    },
  };
}
