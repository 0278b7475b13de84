import { pino } from 'pino';
import type { BulkTask } from '../../src/domain/bulk-operation.ts';
import { createShownUserId } from '../../src/domain/shown-user-id.ts';
import { type BulkRunner, createBulkRunner } from '../../src/jobs/bulk-runner.ts';
import { createBulkWork } from '../../src/jobs/bulk-work.ts';
import { createBackfill } from '../../src/registration/backfill.ts';
import { type BulkItem, type BulkOperation, type BulkOperationStore, createBulkOperationStore } from '../../src/store/bulk-operations.ts';
import { type BulkSubjects, createBulkSubjects } from '../../src/store/bulk-subjects.ts';
import type { ExecutionFilter } from '../../src/store/execution-filter.ts';
import { createLedgerCommands } from '../../src/store/ledger-commands.ts';
import { signUpOf, type TestStore } from '../helpers/stores.ts';

export interface Bulk {
  operations: BulkOperationStore;
  subjects: BulkSubjects;
  /** A runner of its own, as another process would have it. @param changes - parts of the store that it sees otherwise. */
  runner(changes?: { operations?: Partial<BulkOperationStore>; database?: Partial<TestStore['database']>; log?: (line: string) => void }): BulkRunner;
  /** Makes an operation as the API does. */
  start(task: BulkTask, filter?: ExecutionFilter, rate?: number): Promise<BulkOperation>;
  /** Works on all that is running, to its end. */
  finish(id: string): Promise<BulkOperation>;
  items(id: string): Promise<BulkItem[]>;
}

export function bulkOf(usher: TestStore): Bulk {
  const { database } = usher;
  const operations = createBulkOperationStore(usher);
  const subjects = createBulkSubjects(usher);
  const work = createBulkWork({ commands: createLedgerCommands(usher), backfill: createBackfill(usher) });
  const runner: Bulk['runner'] = (changes = {}) =>
    createBulkRunner({
      database: { ...database, ...changes.database },
      operations: { ...operations, ...changes.operations },
      subjects,
      work,
      onCommitted: () => undefined,
      answersFirst: () => Promise.resolve(),
      shownUserId: createShownUserId(usher.keyring),
      logger: pino({ level: 'trace' }, { write: (line: string) => changes.log?.(line) }),
      pollMs: 20,
    });
  return {
    operations,
    subjects,
    runner,
    async start(task, filter = {}, rate = 1000) {
      const createdAt = Date.now();
      const { total } = await subjects.count({ task, filter, createdAt });
      return await operations.create({ task, filter, rate, total, createdBy: 'client1', createdAt });
    },
    async finish(id) {
      const own = runner();
      own.start();
      try {
        return await untilOperation(operations, id, ({ state }) => state === 'done');
      } finally {
        await own.stop();
      }
    },
    items: (id) => operations.listItems(id, { limit: 10_000 }),
  };
}

/** Looks at an operation until it is as wanted. */
export async function untilOperation(operations: BulkOperationStore, id: string, isReached: (operation: BulkOperation) => boolean): Promise<BulkOperation> {
  const giveUpAt = performance.now() + 30_000;
  for (;;) {
    const operation = await operations.find(id);
    if (isReached(operation)) return operation;
    if (performance.now() > giveUpAt) throw new Error(`still ${JSON.stringify(operation)}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

let people = 0;

/** So many sign-ups, whose ids come in the order of the sign-ups. */
export async function signUps({ register }: TestStore, count: number): Promise<string[]> {
  const ids: string[] = [];
  for (let i = 0; i < count; i++) ids.push((await register(signUpOf(`person${people++}@example.com`))).registrationId);
  return ids;
}

/** Sign-ups whose Actions have all failed for good. */
export async function failedSignUps(usher: TestStore, count: number): Promise<string[]> {
  const ids = await signUps(usher, count);
  const { db } = usher.database;
  await db.updateTable('step').set({ state: 'failed', phase: 'long', counted: 125, phase_started_at: 1, ended_at: 1 }).where('registration_id', 'in', ids).execute();
  await db.updateTable('registration').set({ state: 'closed', outcome: 'failed', closed_at: 1, due_at: null }).where('id', 'in', ids).execute();
  return ids;
}

/** How often the steps of each registration were redriven. */
export async function redrives({ database: { db } }: TestStore): Promise<number[]> {
  return (await db.selectFrom('step').select('redrives').orderBy('registration_id').execute()).map((step) => step.redrives);
}

/** The Action that is bound alone, or first. */
export async function boundActionId({ database: { db } }: TestStore): Promise<string> {
  return (await db.selectFrom('binding').select('action_id').orderBy('position').executeTakeFirstOrThrow()).action_id;
}
