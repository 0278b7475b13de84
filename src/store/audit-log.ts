import type { Queryable } from './database.ts';
import type { Keyring } from './keyring.ts';
import { writeLog } from './logs.ts';

/** What somebody has done over the API. */
export interface AuditEntry {
  /** Whose token it was. */
  clientId: string;
  /** Auth0's words where it has the operation too: `Update a user`. */
  description: string;
  /** What was asked for, and of what: ids, counts and options, no personal data. */
  details?: Record<string, unknown>;
}

/**
 * Writes Auth0's log entry of a change made over the API (type `sapi`), in the transaction that makes the change. It
 * stays when the user whom it is about is erased.
 */
export async function writeAudit(tx: Queryable, keyring: Keyring, { clientId, description, details = {} }: AuditEntry): Promise<void> {
  await writeLog(tx, keyring, { type: 'sapi', date: Date.now(), clientId, item: { description, details } });
}
