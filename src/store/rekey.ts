import { managementError } from '../domain/api-error.ts';
import { writeAudit } from './audit-log.ts';
import type { Database, Queryable } from './database.ts';
import type { Keyring } from './keyring.ts';
import { readSetting, writeSetting } from './settings.ts';

const SETTING = 'rekey';
/** Data keys looked at in one transaction: sign-ups must not wait for a million of them. */
const BATCH = 200;
/** By then every process has learnt of the new master key, and what it wrapped under the one before is found. */
const SETTLE_MS = 60_000;

/** How far the data keys are wrapped under the new master key. Times in milliseconds. */
export interface RekeyProgress {
  masterKeyId: string;
  /** Data keys wrapped anew so far. */
  rewrapped: number;
  startedAt: number;
  /** When nothing was left under the master key before: from then on that one is not needed. */
  endedAt: number | null;
}

interface State extends RekeyProgress {
  /** Id of the last data key that was looked at, and how many in this pass were under the key before. */
  cursor: string;
  found: number;
}

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
          const state: State = { masterKeyId: keyring.masterKeyId, rewrapped: 0, startedAt: Date.now(), endedAt: null, cursor: '', found: 0 };
          await writeState(tx, state);
          await writeAudit(tx, keyring, { clientId, description: 'Replace the master key', details: { master_key_id: state.masterKeyId } });
          return progressOf(state);
        }
        const state = await readState(tx);
        if (state !== null && state.endedAt === null) return progressOf(state);
        throw managementError(409, 'The master key is the one that Usher was started with already: give a new one as USHER_MASTER_KEY and the one before as USHER_MASTER_KEY_PREVIOUS to every process first.', 'nothing_to_rekey');
      });
    },

    async step() {
      if (!isOurs(await readState(database.db))) return false;
      return await database.transaction(async (tx) => {
        // Of several processes that do this, one at a time.
        await tx.selectFrom('setting').select('name').where('name', '=', SETTING).forUpdate().execute();
        const state = await readState(tx);
        if (!isOurs(state)) return false;
        const rows = await tx.selectFrom('data_key').selectAll().where('id', '>', state.cursor).orderBy('id').limit(BATCH).execute();
        const behind = rows.filter((row) => row.master_key_id !== state.masterKeyId);
        for (const row of behind) {
          const { wrapped, master_key_id } = keyring.rewrap(row);
          await tx.updateTable('data_key').set({ wrapped, master_key_id }).where('id', '=', row.id).execute();
        }
        const found = state.found + behind.length;
        const next = { ...state, rewrapped: state.rewrapped + behind.length, found, cursor: rows.at(-1)?.id ?? state.cursor };
        if (rows.length === BATCH) {
          await writeState(tx, next);
          return true;
        }
        const isOver = found === 0 && Date.now() - state.startedAt >= settleMs;
        await writeState(tx, { ...next, cursor: '', found: 0, endedAt: isOver ? Date.now() : null });
        return found > 0;
      });
    },

    async progress() {
      const state = await readState(database.db);
      return state === null ? null : progressOf(state);
    },
  };

  /** A process that was not given the new master key leaves the work to the others. */
  function isOurs(state: State | null): state is State {
    return state !== null && state.endedAt === null && state.masterKeyId === keyring.masterKeyId;
  }
}

async function readState(queryable: Queryable): Promise<State | null> {
  const text = await readSetting(queryable, SETTING);
  return text === undefined ? null : (JSON.parse(text) as State);
}

async function writeState(tx: Queryable, state: State): Promise<void> {
  await writeSetting(tx, SETTING, JSON.stringify(state));
}

function progressOf({ masterKeyId, rewrapped, startedAt, endedAt }: State): RekeyProgress {
  return { masterKeyId, rewrapped, startedAt, endedAt };
}
