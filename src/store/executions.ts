import type { ActionError, LogLine, OutgoingCall } from '../domain/invocation.ts';
import type { Queryable } from './database.ts';
import { INSTALLATION_KEY, type Keyring } from './keyring.ts';
import type { Row } from './schema.ts';

/** What became of one Action in an execution of pre-user-registration. */
export interface ActionResult {
  actionId: string;
  actionName: string;
  bindingId: string;
  versionId: string;
  versionNumber: number;
  startedAt: number;
  endedAt: number;
  outcome: 'succeeded' | 'denied' | 'failed' | 'not-run';
  error?: ActionError;
  /** Why we could not run it. */
  reason?: string;
  logs: LogLine[];
  logsTruncated: boolean;
  calls: OutgoingCall[];
}

/** An execution of pre-user-registration, as it is kept with the registration or, on a deny, without one. */
export interface PreExecution {
  id: string;
  /** `partial`: at least one Action did not do its work. */
  status: 'final' | 'partial';
  results: ActionResult[];
  createdAt: number;
  updatedAt: number;
}

export interface StoredExecution extends PreExecution {
  /** Null when the sign-up was denied. */
  registrationId: string | null;
}

/** Keeps an execution: with the registration that it led to, or on a deny without one. */
export async function writeExecution(
  db: Queryable,
  keyring: Keyring,
  execution: PreExecution,
  registration: { id: string; keyId: string } | null,
): Promise<void> {
  const keyId = registration?.keyId ?? INSTALLATION_KEY;
  await db
    .insertInto('execution')
    .values({
      id: execution.id,
      trigger_id: 'pre-user-registration',
      registration_id: registration?.id ?? null,
      status: execution.status,
      results_sealed: await keyring.sealJson(keyId, executionContext(execution.id), execution.results, db),
      key_id: keyId,
      created_at: execution.createdAt,
      updated_at: execution.updatedAt,
    })
    .execute();
}

/** Reads an execution of pre-user-registration; null when there is none of that id. */
export async function readPreExecution(db: Queryable, keyring: Keyring, id: string): Promise<StoredExecution | null> {
  const row: Row<'execution'> | undefined = await db.selectFrom('execution').selectAll().where('id', '=', id).executeTakeFirst();
  if (row === undefined) return null;
  return {
    id: row.id,
    registrationId: row.registration_id,
    status: row.status === 'final' ? 'final' : 'partial',
    results: await keyring.openJson<ActionResult[]>(row.key_id, executionContext(row.id), row.results_sealed, db),
    createdAt: row.created_at,
    updatedAt: row.updated_at,
  };
}

/** Names what `results_sealed` holds, for sealing and opening. */
export function executionContext(id: string): string {
  return `execution/${id}/results`;
}
