import { setImmediate as turn, setTimeout as sleep } from 'node:timers/promises';
import type { BulkTask } from '../domain/bulk-operation.ts';
import type { Logger } from '../logger.ts';
import type { BulkItem, BulkOperation, BulkOperationStore } from '../store/bulk-operations.ts';
import { OperationLostError } from '../store/bulk-operations.ts';
import type { BulkSubjects } from '../store/bulk-subjects.ts';
import { type Database, isStoreUnavailable, type Queryable } from '../store/database.ts';
import { createPace } from './pace.ts';

/** Whoever works on an operation renews its lease with each registration; after this somebody else takes it up. */
const LEASE_MS = 10_000;
/** How long an operation waits that another process was given, or has left. */
const DEFAULT_POLL_MS = 1_000;
/** Operations that one process works on at the same time; more of them wait. */
const AT_ONCE = 4;
const MAX_REASON_CHARS = 500;

/** What became of one registration. */
export type BulkOutcome = Pick<BulkItem, 'registrationId' | 'result' | 'reason'>;

/** It was, when the operation looked for those who come next. */
const NOT_MEANT: BulkOutcome = { registrationId: null, result: 'unchanged', reason: 'It does not match any more.' };

/** Does to one registration (or user) what the operation asks for, within the caller's transaction. What it throws is a failure of this one alone. */
export type BulkWork = (tx: Queryable, task: BulkTask, subjectId: string) => Promise<BulkOutcome>;

/** Works on bulk operations in the background. Any number of processes can. */
export interface BulkRunner {
  start(): void;
  /** There is something new to do. */
  wake(): void;
  /** Ends after the registration under way; the operations go on elsewhere, or here after a new start. */
  stop(): Promise<void>;
}

export function createBulkRunner(deps: {
  database: Database;
  operations: Pick<BulkOperationStore, 'claim' | 'advance' | 'finish' | 'release'>;
  subjects: Pick<BulkSubjects, 'next' | 'lockIfMeant'>;
  work: BulkWork;
  /** After registrations were made due; must not throw. */
  onCommitted(): void;
  /** Waited for before each registration: those who wait for an answer of this process come first. Must not reject. */
  answersFirst(): Promise<void>;
  logger: Logger;
  /** A user id as it may stand in the log. */
  shownUserId(userId: string): string;
  /** @default 1 s */
  pollMs?: number;
}): BulkRunner {
  const { database, operations, subjects, work, logger, pollMs = DEFAULT_POLL_MS } = deps;
  const stopping = new AbortController();
  const underWay = new Set<Promise<void>>();
  let woken = Promise.withResolvers<void>();
  let running = Promise.resolve();

  /** One transaction: what is asked for, the note of what became of it, and the place where the operation stands. */
  async function workOnOne(operation: BulkOperation, subjectId: string): Promise<void> {
    const record = (tx: Queryable, outcome: BulkOutcome) =>
      operations.advance(tx, operation, { cursor: subjectId, item: { subjectId, ...outcome }, leaseMs: LEASE_MS });
    try {
      await database.transaction(async (tx) => {
        await record(tx, (await subjects.lockIfMeant(tx, operation, subjectId)) ? await work(tx, operation.task, subjectId) : NOT_MEANT);
      });
    } catch (error) {
      if (error instanceof OperationLostError || isStoreUnavailable(error)) throw error;
      logger.error({ err: error, operation_id: operation.id, subject_id: deps.shownUserId(subjectId) }, 'a bulk operation could not do what it was asked for with this one; it goes on with the next');
      const reason = (error instanceof Error ? error.message : String(error)).slice(0, MAX_REASON_CHARS);
      await database.transaction((tx) => record(tx, { registrationId: null, result: 'failed', reason }));
    }
    operation.cursor = subjectId;
    deps.onCommitted();
  }

  async function workOn(operation: BulkOperation): Promise<void> {
    const pace = createPace(operation.rate);
    for (;;) {
      await turn();
      const part = await subjects.next(operation);
      if (part === null) return await operations.finish(operation);
      for (const id of part.ids) {
        await pace();
        await deps.answersFirst();
        if (stopping.signal.aborted) return await operations.release(operation);
        await workOnOne(operation, id);
      }
      if (operation.cursor === part.end) continue;
      await database.transaction((tx) => operations.advance(tx, operation, { cursor: part.end, leaseMs: LEASE_MS }));
      operation.cursor = part.end;
    }
  }

  function begin(operation: BulkOperation): void {
    const about = { operation_id: operation.id, kind: operation.task.kind };
    logger.info({ ...about, done: operation.done }, 'working on a bulk operation');
    const ended = workOn(operation)
      .catch((error: unknown) => {
        if (error instanceof OperationLostError) logger.info(about, error.message);
        else logger.error({ ...about, err: error }, 'a bulk operation was interrupted; it goes on when its lease has run out');
      })
      .finally(() => {
        underWay.delete(ended);
        woken.resolve();
      });
    underWay.add(ended);
  }

  async function loop(): Promise<void> {
    while (!stopping.signal.aborted) {
      woken = Promise.withResolvers<void>();
      try {
        for (let next; underWay.size < AT_ONCE && (next = await operations.claim(LEASE_MS)) !== null; ) begin(next);
      } catch (error) {
        logger.error({ err: error }, 'the bulk operations cannot be read; trying again');
      }
      await Promise.race([woken.promise, sleep(pollMs, undefined, { ref: false })]);
    }
    await Promise.all(underWay);
  }

  return {
    start() {
      running = loop();
    },
    wake() {
      woken.resolve();
    },
    async stop() {
      stopping.abort();
      woken.resolve();
      await running;
    },
  };
}
