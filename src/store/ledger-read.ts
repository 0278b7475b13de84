import type { ActionError, CacheSnapshot, LogLine, OutgoingCall } from '../domain/invocation.ts';
import type { StepPolicy } from '../domain/policy.ts';
import type { TriggerId } from '../domain/triggers.ts';
import type { OpenStep } from '../../workflows/messages.ts';
import { readCache } from './cache.ts';
import { type Database, storeNow } from './database.ts';
import type { Keyring } from './keyring.ts';
import { idempotencyKeyOf, isOpen, labelOf, policyOf, readSteps, sealedAs } from './ledger-rows.ts';
import type { AttemptLogs } from './ledger-settle.ts';
import type { AttemptOutcome, HeldReason, RegistrationOutcome, RegistrationState, Row, StepState } from './schema.ts';

/** What is said of a registration wherever it is shown. Times in milliseconds since the epoch. */
export interface RegistrationFacts {
  id: string;
  source: string;
  userId: string;
  connectionId: string;
  connectionName: string;
  clientId: string | null;
  state: RegistrationState;
  outcome: RegistrationOutcome | null;
  createdAt: number;
  closedAt: number | null;
  /** Set while it waits to be handed to Temporal. */
  dueAt: number | null;
  /** Why Temporal refused it last. */
  dispatchError: string | null;
}

/** A registration with all that the ledger knows about it. */
export interface RegistrationRecord extends RegistrationFacts {
  /** In binding order. */
  steps: StepRecord[];
}

/** What is said of a step wherever it is shown. */
export interface StepFacts {
  id: string;
  actionId: string;
  actionName: string;
  bindingId: string;
  versionId: string;
  versionNumber: number;
  run: number;
  state: StepState;
  phase: 'quick' | 'long';
  /** When the next attempt is due; null when it is due now, under way, or never. */
  nextAt: number | null;
  /** Why it is not tried now, for a reason of ours. */
  heldReason: HeldReason | null;
  endedAt: number | null;
  /** How often it was run again on somebody's wish. */
  redrives: number;
  /** So many attempts have begun. */
  attemptsBegun: number;
}

export interface StepRecord extends StepFacts {
  policy: StepPolicy;
  /** The first and the last 20, in the order of their numbers; `readAttempts` has them all. */
  attempts: AttemptRecord[];
}

export interface AttemptRecord {
  id: string;
  number: number;
  run: number;
  phase: 'quick' | 'long';
  startedAt: number;
  endedAt: number | null;
  /** Null while it runs. `lost` also when its lease has run out without an end. */
  outcome: AttemptOutcome | null;
  /** A failure of the Action's own. */
  counted: boolean;
  idempotencyKey: string;
  error: ActionError | null;
  calls: OutgoingCall[];
  logs: LogLine[];
  /** There are more lines, or were. */
  logsTruncated: boolean;
}

type AttemptRow = Omit<Row<'attempt'>, 'worker_id' | 'error_type' | 'action_id' | 'failed_calls'>;

/** Of each step, when a registration is read as a whole. An attempt's logs can have 256 KiB, and a step 130 attempts. */
const SHOWN = { attempts: 20, logs: 3 };

export interface ReadLedger {
  /** The pending and the parked steps, in binding order. */
  loadOpenSteps(registrationId: string): Promise<OpenStep[]>;
  /** Whether attempts at the step are still wanted: false once somebody has cancelled or skipped it. */
  isStepOpen(stepId: string): Promise<boolean>;
  /**
   * A registration, opened, with the first and the last 20 attempts at each step, of which the last 3 have their logs. Null
   * when there is none of that id.
   */
  readRegistration(registrationId: string): Promise<RegistrationRecord | null>;
  /** Attempts at a step with all that was kept, the newest first: up to `limit` with a smaller number than `before`. */
  readAttempts(stepId: string, page: { before: number | null; limit: number }): Promise<AttemptRecord[]>;
  /** The values of `api.cache` that an Action of the trigger sees. */
  readCache(triggerId: TriggerId): Promise<CacheSnapshot>;
}

/** The part of the ledger that only reads. */
export function createReadLedger({ database, keyring }: { database: Database; keyring: Keyring }): ReadLedger {
  const { db } = database;

  async function toAttempt(keyId: string, row: AttemptRow, now: number): Promise<AttemptRecord> {
    const open = async <T>(context: string, sealed: string | null, absent: T): Promise<T> =>
      sealed === null ? absent : await keyring.openJson<T>(keyId, context, sealed);
    const logs = await open<AttemptLogs>(sealedAs.logs(row.id), row.logs_sealed, { lines: [], truncated: false });
    return {
      id: row.id,
      number: row.number,
      run: row.run,
      phase: row.phase,
      startedAt: row.started_at,
      endedAt: row.ended_at,
      outcome: row.outcome ?? (row.leased_until <= now ? 'lost' : null),
      counted: row.counted === 1,
      idempotencyKey: idempotencyKeyOf(row.registration_id, row.step_id, row.run),
      error: await open<ActionError | null>(sealedAs.error(row.id), row.error_sealed, null),
      calls: await open<OutgoingCall[]>(sealedAs.calls(row.id), row.calls_sealed, []),
      logs: logs.lines,
      logsTruncated: logs.truncated,
    };
  }

  return {
    async loadOpenSteps(registrationId) {
      const steps = await db.selectFrom('step')
        .selectAll()
        .select(database.now.as('now'))
        .where('registration_id', '=', registrationId)
        .where('state', 'in', ['pending', 'parked'])
        .orderBy('position')
        .execute();
      return steps.map((step): OpenStep => {
        const policy = policyOf(step);
        return {
          stepId: step.id,
          label: labelOf(step),
          actionId: step.action_id,
          phase: step.phase,
          delayMs: Math.max(0, (step.next_at ?? 0) - step.now),
          onFailure: policy.onFailure,
          timeoutMs: policy.timeoutMs,
          ...(step.wish > 0 ? { wish: step.wish } : {}),
          ...(step.redrives > 0 ? { redriven: true } : {}),
        };
      });
    },

    async isStepOpen(stepId) {
      const step = await db.selectFrom('step').select('state').where('id', '=', stepId).executeTakeFirst();
      return step !== undefined && isOpen(step.state);
    },

    async readRegistration(registrationId) {
      const row = await db.selectFrom('registration').selectAll().where('id', '=', registrationId).executeTakeFirst();
      if (row === undefined) return null;
      const steps = await readSteps(db, registrationId);
      const attempts = await db.selectFrom('attempt')
        .innerJoin('step', 'step.id', 'attempt.step_id')
        .select([
          'attempt.id', 'attempt.step_id', 'attempt.registration_id', 'attempt.run', 'attempt.number', 'attempt.phase', 'attempt.started_at', 'attempt.leased_until',
          'attempt.ended_at', 'attempt.outcome', 'attempt.counted', 'attempt.error_sealed', 'attempt.calls_sealed',
        ])
        .select((eb) => eb.case().when('attempt.number', '>', eb('step.last_attempt', '-', SHOWN.logs)).then(eb.ref('attempt.logs_sealed')).end().as('logs_sealed'))
        .where('step.registration_id', '=', registrationId)
        .where((eb) => eb.or([eb('attempt.number', '>', eb('step.last_attempt', '-', SHOWN.attempts)), eb('attempt.number', '=', 1)]))
        .orderBy('attempt.number')
        .execute();
      const now = await storeNow(database);
      return {
        id: row.id,
        source: row.source,
        userId: row.user_id,
        connectionId: row.connection_id,
        connectionName: row.connection_name,
        clientId: row.client_id,
        state: row.state,
        outcome: row.outcome,
        createdAt: row.created_at,
        closedAt: row.closed_at,
        dueAt: row.due_at,
        dispatchError: row.dispatch_error,
        steps: await Promise.all(steps.map(async (step): Promise<StepRecord> => {
          const own = attempts.filter((attempt) => attempt.step_id === step.id);
          return {
            id: step.id,
            actionId: step.action_id,
            actionName: step.action_name,
            bindingId: step.binding_id,
            versionId: step.version_id,
            versionNumber: step.version_number,
            policy: policyOf(step),
            run: step.run,
            state: step.state,
            phase: step.phase,
            nextAt: step.next_at,
            heldReason: step.held_reason,
            endedAt: step.ended_at,
            redrives: step.redrives,
            attemptsBegun: step.last_attempt,
            attempts: await Promise.all(own.map(async (attempt) => {
              const record = await toAttempt(row.key_id, attempt, now);
              return attempt.number > step.last_attempt - SHOWN.logs ? record : { ...record, logsTruncated: true };
            })),
          };
        })),
      };
    },

    async readAttempts(stepId, { before, limit }) {
      const rows = await db.selectFrom('attempt')
        .innerJoin('registration', 'registration.id', 'attempt.registration_id')
        .selectAll('attempt')
        .select('registration.key_id')
        .where('attempt.step_id', '=', stepId)
        .$if(before !== null, (query) => query.where('attempt.number', '<', before!))
        .orderBy('attempt.number', 'desc')
        .limit(limit)
        .execute();
      const now = await storeNow(database);
      return await Promise.all(rows.map((row) => toAttempt(row.key_id, row, now)));
    },

    async readCache(triggerId) {
      return await readCache(db, keyring, triggerId, Date.now());
    },
  };
}
