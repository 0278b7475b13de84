import { setTimeout as sleep } from 'node:timers/promises';
import { Client, type ClientConfig } from 'pg';

/** PostgreSQL's channel; which of ours it is stands in the payload. */
const CHANNEL = 'usher';
/** A connection that only listens would not notice that it has gone silent. */
const CHECK_EVERY_MS = 5000;
const TIMEOUT_MS = 5000;
const FIRST_PAUSE_MS = 200;
const MAX_PAUSE_MS = 5000;

/** `LISTEN` and `NOTIFY`, for `Database.signal` and `Database.onSignal`. */
export interface PostgresSignals {
  signal(channel: string): void;
  onSignal(channel: string, listener: () => void): () => void;
  close(): Promise<void>;
}

/**
 * Listens on a connection of its own, made for the first listener. When it was lost and is there again, every listener is
 * called once.
 *
 * @param options.notify runs `NOTIFY` outside any transaction: it takes a lock that all commits with one share.
 */
export function createPostgresSignals({ config, notify }: { config: ClientConfig; notify(channel: string, payload: string): Promise<unknown> }): PostgresSignals {
  const listeners = new Map<string, Set<() => void>>();
  const unsent = new Set<string>();
  const closing = new AbortController();
  let sending: Promise<void> | null = null;
  let listening: Promise<void> | null = null;
  let endListening: (() => void) | undefined;

  async function send(): Promise<void> {
    for (const channel of unsent) {
      unsent.delete(channel);
      // Whoever misses it finds the work at its next look.
      await notify(CHANNEL, channel).catch(() => undefined);
    }
    sending = null;
  }

  function call(channels: Iterable<string>): void {
    for (const channel of channels) for (const listener of listeners.get(channel) ?? []) listener();
  }

  /** Until the connection is lost, or nobody wants it any more. */
  async function listen(onListening: () => void): Promise<void> {
    const client = new Client({ ...config, connectionTimeoutMillis: TIMEOUT_MS, query_timeout: TIMEOUT_MS });
    const lost = Promise.withResolvers<void>();
    // It can be lost before, or after, anybody waits for that.
    lost.promise.catch(() => undefined);
    client.on('error', lost.reject);
    client.on('end', lost.resolve);
    client.on('notification', ({ payload = '' }) => call([payload]));
    endListening = lost.resolve;
    let check: NodeJS.Timeout | undefined;
    try {
      await client.connect();
      await client.query(`listen ${CHANNEL}`);
      if (closing.signal.aborted) return;
      onListening();
      check = setInterval(() => void client.query(`listen ${CHANNEL}`).catch(lost.reject), CHECK_EVERY_MS);
      await lost.promise;
    } finally {
      clearInterval(check);
      // Not waited for: a silent connection would not say goodbye.
      void client.end().catch(() => undefined);
    }
  }

  async function keepListening(): Promise<void> {
    let pauseMs = FIRST_PAUSE_MS;
    while (!closing.signal.aborted) {
      await listen(() => {
        pauseMs = FIRST_PAUSE_MS;
        call(listeners.keys());
        // Nothing is lost with it, and what else needs the store says what is wrong.
      }).catch(() => undefined);
      await sleep(pauseMs, undefined, { signal: closing.signal }).catch(() => undefined);
      pauseMs = Math.min(pauseMs * 2, MAX_PAUSE_MS);
    }
  }

  return {
    signal(channel) {
      unsent.add(channel);
      sending ??= send();
    },

    onSignal(channel, listener) {
      listeners.set(channel, (listeners.get(channel) ?? new Set()).add(listener));
      listening ??= keepListening();
      return () => listeners.get(channel)?.delete(listener);
    },

    async close() {
      closing.abort();
      endListening?.();
      await Promise.all([sending, listening]);
    },
  };
}
