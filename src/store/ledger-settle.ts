import { type ActionError, type ActionErrorType, type CacheChange, isFailedCall, type LogLine, type OutgoingCall } from '../domain/invocation.ts';
import { LIMITS } from '../domain/limits.ts';
import { afterFailure } from '../domain/policy.ts';
import type { SettledState, Settlement } from '../../workflows/messages.ts';
import { writeCache } from './cache.ts';
import type { Database, Queryable } from './database.ts';
import type { Keyring } from './keyring.ts';
import { failedActionItem, writeLog } from './logs.ts';
import { makeRoom } from './make-room.ts';
import { isOpen, lockRegistration, NOT_HELD, policyOf, postponeCheck, sealedAs, UnknownIdError } from './ledger-rows.ts';
import type { AttemptOutcome, Row } from './schema.ts';

/** How an attempt ended, with everything that it left behind. */
export interface AttemptEnd {
  attemptId: string;
  /** `lost` and `cancelled` (stopped by us) never count. */
  outcome: AttemptOutcome;
  endedAt: number;
  /** Of a failure. */
  error?: ActionError;
  /** What the receiver or the Action asked to wait; 0 when neither did. */
  retryAfterMs: number;
  logs: LogLine[];
  logsTruncated: boolean;
  calls: OutgoingCall[];
  cacheChanges: CacheChange[];
}

/** The content of `attempt.logs_sealed`. */
export interface AttemptLogs {
  lines: LogLine[];
  truncated: boolean;
}

export interface SettleLedger {
  /**
   * Records an attempt's end and moves its step, in one transaction. A failure counts and decides what follows by the
   * step's policy; one for good blocks the steps after it when they must wait for this one.
   *
   * Settling again changes nothing and answers what the step's record says now. An attempt that was ended as lost
   * meanwhile gets its real end; its success still counts while the step is open, its failure does not.
   *
   * @throws {UnknownIdError}
   */
  settleAttempt(end: AttemptEnd): Promise<SettledState>;
  /** The same for an end whose record could not be written at the time: without logs, calls and cache changes. */
  settleUnrecorded(settlement: Settlement): Promise<SettledState>;
  /** Adds output that an attempt's left-over work made after its verdict; beyond 256 KiB in all it is dropped and said so. */
  appendLateOutput(attemptId: string, lines: LogLine[]): Promise<void>;
}

type StepRow = Row<'step'>;
type AttemptRow = Row<'attempt'>;

/** The part of the ledger that ends attempts. */
export function createSettleLedger({ database, keyring }: { database: Database; keyring: Keyring }): SettleLedger {
  async function settleAttempt(end: AttemptEnd): Promise<SettledState> {
    const registrationId = await registrationOf(database.db, end.attemptId);
    const { settled, isAnybodyLetGo } = await database.transaction((tx) => settle(tx, registrationId, end));
    if (isAnybodyLetGo) database.signal('registration-due');
    return settled;
  }

  async function settle(tx: Queryable, registrationId: string, end: AttemptEnd): Promise<{ settled: SettledState; isAnybodyLetGo: boolean }> {
    const registration = await lockRegistration(database, tx, registrationId);
    const { row, steps, now } = registration;
    const attempt = await lockAttempt(tx, end.attemptId);
    const step = steps.find((each) => each.id === attempt.step_id);
    if (step === undefined) throw new UnknownIdError('step', attempt.step_id);
    if (!takesEnd(attempt, end)) return { settled: stateAfter(step, attempt, now), isAnybodyLetGo: false };

    const change = changeBy(step, attempt, end, now);
    const counts = change !== null && end.outcome === 'failed';
    await recordEnd(tx, row.key_id, attempt, end, { counts });
    await writeCache(tx, keyring, 'post-user-registration', end.cacheChanges, now);
    const settled = change === null ? step : { ...step, ...change };
    if (change !== null) await tx.updateTable('step').set(change).where('id', '=', step.id).execute();
    if (change?.state === 'failed' || change?.state === 'parked') await logFailure(tx, row, settled, end.error ?? null, now);
    const blocks = change?.state === 'failed' && policyOf(step).onFailure === 'wait';
    if (blocks) await blockAfter(tx, step);
    const after = steps.filter((each) => !blocks || each.position <= step.position).map((each) => (each.id === step.id ? settled : each));
    await postponeCheck(tx, { ...registration, steps: after });
    // Last: nothing is waited for once the Action's row is locked.
    const isAnybodyLetGo = await makeRoom(database, tx, step, { outcome: end.outcome, counts, retryable: end.error?.retryable ?? true, now });
    return { settled: stateAfter(settled, attempt, now), isAnybodyLetGo };
  }

  /** Once when an Action is parked and once when it has failed for good: what Auth0's users look for in the log. */
  async function logFailure(tx: Queryable, registration: Row<'registration'>, step: StepRow, error: ActionError | null, now: number): Promise<void> {
    const item = failedActionItem({
      triggerId: 'post-user-registration',
      executionId: registration.id,
      actionId: step.action_id,
      actionName: step.action_name,
      versionId: step.version_id,
      bindingId: step.binding_id,
      error,
    });
    await writeLog(tx, keyring, {
      type: 'actions_execution_failed',
      date: now,
      userId: registration.user_id,
      connectionId: registration.connection_id,
      clientId: registration.client_id,
      registrationId: registration.id,
      item: { connection: registration.connection_name, ...item, usher: { state: step.state } },
      keyId: registration.key_id,
    });
  }

  async function recordEnd(tx: Queryable, keyId: string, attempt: AttemptRow, end: AttemptEnd, { counts }: { counts: boolean }): Promise<void> {
    // Output of left-over work can be written before the verdict is.
    const late = await readLogs(tx, keyId, attempt);
    const logs: AttemptLogs = { lines: [...end.logs, ...late.lines], truncated: end.logsTruncated || late.truncated };
    await tx.updateTable('attempt')
      .set({
        ended_at: end.endedAt,
        outcome: end.outcome,
        counted: counts ? 1 : 0,
        error_type: end.error?.type ?? null,
        error_sealed: end.error === undefined ? null : await keyring.sealJson(keyId, sealedAs.error(attempt.id), end.error, tx),
        calls_sealed: await keyring.sealJson(keyId, sealedAs.calls(attempt.id), end.calls, tx),
        failed_calls: end.calls.filter(isFailedCall).length,
        logs_sealed: await keyring.sealJson(keyId, sealedAs.logs(attempt.id), logs, tx),
      })
      .where('id', '=', attempt.id)
      .execute();
  }

  async function readLogs(tx: Queryable, keyId: string, attempt: AttemptRow): Promise<AttemptLogs> {
    if (attempt.logs_sealed === null) return { lines: [], truncated: false };
    return await keyring.openJson<AttemptLogs>(keyId, sealedAs.logs(attempt.id), attempt.logs_sealed, tx);
  }

  return {
    settleAttempt,

    async settleUnrecorded({ attemptId, outcome, endedAt, errorType, retryable, retryAfterMs }) {
      const error: ActionError = {
        type: (errorType ?? 'ACTION_THREW') as ActionErrorType,
        name: 'Error',
        message: 'The store could not be reached when this attempt ended: its message, logs and calls were not kept.',
        retryable: retryable ?? true,
      };
      return await settleAttempt({
        attemptId,
        outcome,
        endedAt,
        ...(outcome === 'failed' ? { error } : {}),
        retryAfterMs: retryAfterMs ?? 0,
        logs: [],
        logsTruncated: false,
        calls: [],
        cacheChanges: [],
      });
    },

    async appendLateOutput(attemptId, lines) {
      await database.transaction(async (tx) => {
        const attempt = await lockAttempt(tx, attemptId);
        const { key_id: keyId } = await tx.selectFrom('registration')
          .select('key_id')
          .where('id', '=', attempt.registration_id)
          .executeTakeFirstOrThrow();
        const logs = await readLogs(tx, keyId, attempt);
        let bytes = logs.lines.reduce((sum, line) => sum + bytesOf(line), 0);
        for (const line of lines) {
          bytes += bytesOf(line);
          if (bytes > LIMITS.logBytes) {
            logs.truncated = true;
            break;
          }
          logs.lines.push(line);
        }
        await tx.updateTable('attempt')
          .set({ logs_sealed: await keyring.sealJson(keyId, sealedAs.logs(attemptId), logs, tx) })
          .where('id', '=', attemptId)
          .execute();
      });
    },
  };
}

async function registrationOf(db: Queryable, attemptId: string): Promise<string> {
  const row = await db.selectFrom('attempt').select('registration_id').where('id', '=', attemptId).executeTakeFirst();
  if (row === undefined) throw new UnknownIdError('attempt', attemptId);
  return row.registration_id;
}

/** Late output is written under this lock alone, without the registration's. */
async function lockAttempt(tx: Queryable, id: string): Promise<AttemptRow> {
  const row = await tx.selectFrom('attempt').selectAll().where('id', '=', id).forUpdate().executeTakeFirst();
  if (row === undefined) throw new UnknownIdError('attempt', id);
  return row;
}

/** An attempt ends once; only one that was ended as lost can still get its real end. */
function takesEnd(attempt: AttemptRow, end: AttemptEnd): boolean {
  if (attempt.outcome === null) return true;
  return attempt.outcome === 'lost' && (end.outcome === 'succeeded' || end.outcome === 'failed');
}

/** What an attempt's end changes in its step; null when it changes nothing. */
function changeBy(step: StepRow, attempt: AttemptRow, end: AttemptEnd, now: number): Partial<StepRow> | null {
  if (!isOpen(step.state) || attempt.run !== step.run) return null;
  if (end.outcome === 'succeeded') return { state: 'succeeded', next_at: null, ended_at: now, ...NOT_HELD };
  // For one that was ended as lost, another attempt may have begun: only that one may count.
  if (end.outcome !== 'failed' || attempt.outcome === 'lost') return null;
  const counted = step.counted + 1;
  const next = afterFailure(policyOf(step), {
    phase: step.phase,
    counted,
    elapsedMs: now - (step.phase_started_at ?? now),
    retryable: end.error?.retryable ?? true,
    retryAfterMs: end.retryAfterMs,
  });
  if (next.next === 'fail') return { state: 'failed', counted, next_at: null, ended_at: now };
  if (next.next === 'retry') return { counted, next_at: now + next.delayMs };
  return { state: 'parked', phase: 'long', counted: 0, phase_started_at: null, next_at: now + next.delayMs };
}

/** The steps after one that failed for good wait for a redrive of it. */
async function blockAfter(tx: Queryable, failed: StepRow): Promise<void> {
  await tx.updateTable('step')
    .set({ state: 'blocked', next_at: null, ...NOT_HELD })
    .where('registration_id', '=', failed.registration_id)
    .where('position', '>', failed.position)
    .where('state', 'in', ['pending', 'parked'])
    .execute();
}

/** What the step's record says to the one who ran `attempt`. */
function stateAfter(step: StepRow, attempt: AttemptRow, now: number): SettledState {
  if (!isOpen(step.state)) return { state: step.state };
  const delayMs = Math.max(0, (step.next_at ?? 0) - now);
  return { state: step.phase === 'long' && attempt.phase === 'quick' ? 'parked' : 'retry', delayMs };
}

/** With its line break, so that empty lines count too. */
function bytesOf(line: LogLine): number {
  return Buffer.byteLength(line.text) + 1;
}
