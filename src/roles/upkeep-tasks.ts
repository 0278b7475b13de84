import type { Retention } from '../domain/retention.ts';
import type { Logger } from '../logger.ts';
import type { CodecKeys } from '../store/codec-keys.ts';
import type { Database } from '../store/database.ts';
import { createErasureStore, ERASURE_SETTLE_MS } from '../store/erasure.ts';
import { removeExpired } from '../store/expired.ts';
import { createHistoryRemovals } from '../store/history-removals.ts';
import type { Keyring } from '../store/keyring.ts';
import { createRekey } from '../store/rekey.ts';
import { createRetentionSweep } from '../store/retention.ts';
import { isTemporalUnreachable } from '../temporal/connection.ts';
import type { Histories } from '../temporal/histories.ts';
import type { UpkeepTask } from './upkeep.ts';

const HISTORIES = 20;
/** Temporal is asked for its retention no more often than this. */
const CODEC_KEYS_EVERY_MS = 60 * 60_000;

/** What the api keeps in order: what has ended, what is too old, who is to be erased, keys that are replaced. */
export function upkeepTasks({ database, keyring, codecKeys, retention, histories, logger, erasureSettleMs = ERASURE_SETTLE_MS }: {
  database: Database;
  keyring: Keyring;
  codecKeys: CodecKeys;
  retention: Retention;
  histories: Histories;
  logger: Logger;
  erasureSettleMs?: number;
}): UpkeepTask[] {
  const erasures = createErasureStore({ database, keyring, settleMs: erasureSettleMs });
  const removals = createHistoryRemovals(database);
  const rekey = createRekey({ database, keyring });
  const sweep = createRetentionSweep({ database, retention });
  let lookedAtCodecKeys = -Infinity;
  let afterHistory = '';

  async function removeHistories(): Promise<boolean> {
    const due = await removals.list(afterHistory, HISTORIES);
    for (const { registrationId, createdAt } of due) {
      try {
        const isGone = await histories.remove(registrationId);
        // A workflow that was begun while its registration was erased is seen by then.
        if (isGone && Date.now() - createdAt >= erasureSettleMs) await removals.done(registrationId);
      } catch (error) {
        if (isTemporalUnreachable(error)) throw error;
        // Those behind it are not to wait for it; its turn comes again.
        logger.error({ err: error, registration_id: registrationId }, 'the history of an erased registration could not be deleted; trying again');
      }
    }
    afterHistory = due.length < HISTORIES ? '' : due.at(-1)!.registrationId;
    return afterHistory !== '';
  }

  async function removeCodecKeys(): Promise<boolean> {
    if (performance.now() - lookedAtCodecKeys < CODEC_KEYS_EVERY_MS) return false;
    await codecKeys.removeUnneeded({ retentionMs: await histories.retentionMs() });
    lookedAtCodecKeys = performance.now();
    return false;
  }

  /** Temporal is away now and then; what waits for it is taken up in a later round. */
  function whenReached(step: () => Promise<boolean>): () => Promise<boolean> {
    return async () => {
      try {
        return await step();
      } catch (error) {
        if (!isTemporalUnreachable(error)) throw error;
        logger.debug({ err: error }, 'the upkeep waits for Temporal');
        return false;
      }
    };
  }

  return [
    { name: 'the removal of codes, tickets and counts that have ended', step: () => removeExpired(database).then(() => false) },
    { name: 'the erasure of users', step: () => erasures.step() },
    { name: 'the deletion of histories', step: whenReached(removeHistories) },
    { name: 'the change of the master key', step: () => rekey.step() },
    { name: 'the removal of old codec keys', step: whenReached(removeCodecKeys) },
    { name: 'the removal of what is older than it is kept', step: () => sweep.step() },
  ];
}
