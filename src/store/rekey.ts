import { managementError } from '../domain/api-error.ts';
import { writeAudit } from './audit-log.ts';
import type { Database } from './database.ts';
import type { Keyring } from './keyring.ts';
import { isOnItsWay, lockRekey, readRekey, type RekeyProgress, type RekeyState, writeRekey } from './rekey-state.ts';

/** Data keys looked at in one transaction: sign-ups must not wait for a million of them. */
const BATCH = 200;
/** By then every process has learnt of the new master key, and what it wrapped under the one before is found. */
const SETTLE_MS = 60_000;

/** Replaces the master key while everything runs: every data key is wrapped under the new one, in small batches. */
export interface Rekey {
  /**
   * Makes the given master key the store's. Every process must have been given both by then. Harmless to repeat.
   *
   * @param clientId whose wish it is.
   * @throws {ApiError} 409 when it is the store's already, and nothing is under way.
   */
  begin(clientId: string): Promise<RekeyProgress>;
  /** One batch. @returns whether there may be more at once. */
  step(): Promise<boolean>;
  /** Null when the master key was never replaced. */
  progress(): Promise<RekeyProgress | null>;
}

export function createRekey({ database, keyring, settleMs = SETTLE_MS }: {
  database: Database;
  keyring: Keyring;
  settleMs?: number;
}): Rekey {
  return {
    async begin(clientId) {
      return await database.transaction(async (tx) => {
        if (await keyring.replaceMasterKey(tx)) {
          const state: RekeyState = { masterKeyId: keyring.masterKeyId, rewrapped: 0, startedAt: Date.now(), endedAt: null, cursor: '', found: 0 };
          await writeRekey(tx, state);
          await writeAudit(tx, keyring, { clientId, description: 'Replace the master key', details: { master_key_id: state.masterKeyId } });
          return progressOf(state);
        }
        const state = await readRekey(tx);
        if (state !== null && state.endedAt === null) return progressOf(state);
        throw managementError(409, 'The master key is the one that Usher was started with already: give a new one as USHER_MASTER_KEY and the one before as USHER_MASTER_KEY_PREVIOUS to every process first.', 'nothing_to_rekey');
      });
    },

    async step() {
      // A process that was not given the new master key leaves the work to the others.
      if (!isOnItsWay(await readRekey(database.db), keyring.masterKeyId)) return false;
      return await database.transaction(async (tx) => {
        // Of several processes that do this, one at a time.
        const state = await lockRekey(tx);
        if (!isOnItsWay(state, keyring.masterKeyId)) return false;
        const rows = await tx.selectFrom('data_key').selectAll().where('id', '>', state.cursor).orderBy('id').limit(BATCH).execute();
        const behind = rows.filter((row) => row.master_key_id !== state.masterKeyId);
        for (const row of behind) {
          const { wrapped, master_key_id } = keyring.rewrap(row);
          await tx.updateTable('data_key').set({ wrapped, master_key_id }).where('id', '=', row.id).execute();
        }
        const found = state.found + behind.length;
        const next = { ...state, rewrapped: state.rewrapped + behind.length, found, cursor: rows.at(-1)?.id ?? state.cursor };
        if (rows.length === BATCH) {
          await writeRekey(tx, next);
          return true;
        }
        const isOver = found === 0 && Date.now() - state.startedAt >= settleMs;
        await writeRekey(tx, { ...next, cursor: '', found: 0, endedAt: isOver ? Date.now() : null });
        return found > 0;
      });
    },

    async progress() {
      const state = await readRekey(database.db);
      return state === null ? null : progressOf(state);
    },
  };
}

function progressOf({ masterKeyId, rewrapped, startedAt, endedAt }: RekeyState): RekeyProgress {
  return { masterKeyId, rewrapped, startedAt, endedAt };
}
