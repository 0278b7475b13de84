import type { Queryable } from './database.ts';
import { readSetting, writeSetting } from './settings.ts';

const SETTING = 'rekey';

/** How far the data keys are wrapped under the new master key. Times in milliseconds. */
export interface RekeyProgress {
  masterKeyId: string;
  /** Data keys wrapped anew so far. */
  rewrapped: number;
  startedAt: number;
  /** When nothing was left under the master key before: from then on that one is not needed. */
  endedAt: number | null;
}

export interface RekeyState extends RekeyProgress {
  /** Id of the last data key that was looked at, and how many in this pass were under the key before. */
  cursor: string;
  found: number;
}

/** Null when the master key was never replaced. */
export async function readRekey(queryable: Queryable): Promise<RekeyState | null> {
  const text = await readSetting(queryable, SETTING);
  return text === undefined ? null : (JSON.parse(text) as RekeyState);
}

/** Reads it for the caller's transaction alone: whoever else wants to change it waits. */
export async function lockRekey(tx: Queryable): Promise<RekeyState | null> {
  await tx.selectFrom('setting').select('name').where('name', '=', SETTING).forUpdate().execute();
  return await readRekey(tx);
}

export async function writeRekey(tx: Queryable, state: RekeyState): Promise<void> {
  await writeSetting(tx, SETTING, JSON.stringify(state));
}

/** Whether the store is on its way to this master key: the one before is needed until that has ended. */
export function isOnItsWay(state: RekeyState | null, masterKeyId: string): state is RekeyState {
  return state !== null && state.endedAt === null && state.masterKeyId === masterKeyId;
}
