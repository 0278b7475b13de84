import { Gauge } from 'prom-client';
import type { Logger } from '../logger.ts';
import type { Database } from '../store/database.ts';
import { type Backlog, readBacklog } from './backlog.ts';
import type { Metrics } from './metrics.ts';

/** However often and by how many it is scraped. */
const KEEP_MS = 5_000;
/** A scrape does not wait longer for a store that is silent: its other figures are wanted all the more then. */
const PATIENCE_MS = 3_000;

/**
 * Adds what the store alone knows: read at a scrape, for all processes together, so that each of them says the same.
 * While the store cannot be read, these series are left out.
 */
export function watchBacklog({ metrics, database, logger }: { metrics: Metrics; database: Database; logger: Logger }): void {
  let readAt = -Infinity;
  let backlog: Promise<Backlog | null> = Promise.resolve(null);

  async function read(): Promise<Backlog | null> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new Error(`the store did not answer within ${PATIENCE_MS / 1000} s`)), PATIENCE_MS);
    });
    try {
      return await Promise.race([readBacklog(database), late]);
    } catch (error) {
      logger.warn({ err: error }, 'what waits in the store could not be counted for the metrics');
      return null;
    } finally {
      clearTimeout(timer);
    }
  }

  function current(): Promise<Backlog | null> {
    if (performance.now() - readAt > KEEP_MS) {
      readAt = performance.now();
      backlog = read();
    }
    return backlog;
  }

  function gauge<L extends string>(name: string, help: string, labelNames: L[], series: (backlog: Backlog) => { labels: Record<L, string>; value: number }[]): void {
    // oxlint-disable-next-line no-new -- it is in the registry from now on
    new Gauge<L>({
      name,
      help,
      labelNames,
      registers: [metrics.registry],
      async collect() {
        const found = await current();
        this.reset();
        if (found === null) {
          // A reset has set 0, which would be a lie.
          if (labelNames.length === 0) this.remove();
          return;
        }
        // Added up, because several names can share the label `other`.
        for (const { labels, value } of series(found)) this.inc(labels, value);
      },
    });
  }

  const one = (value: number) => [{ labels: {}, value }];
  gauge('usher_outbox_registrations', 'Registrations that wait to be handed to Temporal, counted up to 100000.', [], ({ outbox }) => one(outbox.waiting));
  gauge('usher_outbox_refused_registrations', 'Of them, those that Temporal has refused and that are tried again.', [], ({ outbox }) => one(outbox.refused));
  gauge('usher_outbox_oldest_age_seconds', 'Since when the longest waiting of them is due; 0 when none waits.', [], ({ outbox }) => one(outbox.oldestAgeSeconds));
  gauge('usher_steps_held', 'Steps not tried now for a reason of ours, counted up to 100000.', ['action', 'reason'], ({ held }) =>
    held.map(({ action, reason, steps }) => ({ labels: { action: metrics.postAction(action), reason }, value: steps })));
  gauge('usher_steps_parked', 'Steps whose quick retries failed and that wait for their long ones, counted up to 100000.', ['action'], ({ parked }) =>
    parked.map(({ action, steps }) => ({ labels: { action: metrics.postAction(action) }, value: steps })));
  gauge('usher_messages', 'Mails and text messages that wait to be sent (due) or were given up (failed), counted up to 100000.', ['channel', 'state'], ({ messages }) =>
    messages.map(({ channel, state, messages: value }) => ({ labels: { channel, state }, value })));
}
