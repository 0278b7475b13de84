import { createShownUserId } from '../domain/shown-user-id.ts';
import type { Route } from '../http/endpoint.ts';
import { operationsRoutes } from '../http/usher/operations-routes.ts';
import { type BulkRunner, createBulkRunner } from '../jobs/bulk-runner.ts';
import { createBulkWork } from '../jobs/bulk-work.ts';
import type { Logger } from '../logger.ts';
import { createBackfill } from '../registration/backfill.ts';
import { createBulkOperationStore } from '../store/bulk-operations.ts';
import { createBulkSubjects } from '../store/bulk-subjects.ts';
import type { Database } from '../store/database.ts';
import type { Keyring } from '../store/keyring.ts';
import { createLedgerCommands } from '../store/ledger-commands.ts';
import { createOutbox } from '../store/outbox.ts';

/**
 * Bulk operations: their endpoints, and what works on them.
 *
 * @param deps.background for the work itself: one commit has what was done and the place where the operation stands, so
 *   that whatever a power cut takes back is done again.
 * @param deps.wakeDispatcher must not throw. @param deps.answersFirst see `createBulkRunner`.
 */
export function createBulk(deps: { database: Database; background: Database; keyring: Keyring; logger: Logger; wakeDispatcher(): void; answersFirst(): Promise<void> }): { bulkRunner: BulkRunner; bulkRoutes: Route[] } {
  const { database, keyring } = deps;
  const bulkRunner = createRunner({ ...deps, database: deps.background });
  const operations = createBulkOperationStore({ database, keyring });
  const subjects = createBulkSubjects({ database });
  return { bulkRunner, bulkRoutes: operationsRoutes({ database, operations, subjects, wakeBulk: bulkRunner.wake }) };
}

function createRunner({ database, keyring, logger, wakeDispatcher, answersFirst }: { database: Database; keyring: Keyring; logger: Logger; wakeDispatcher(): void; answersFirst(): Promise<void> }): BulkRunner {
  const backfill = createBackfill({ database, keyring, outbox: createOutbox({ database }) });
  return createBulkRunner({
    database,
    operations: createBulkOperationStore({ database, keyring }),
    subjects: createBulkSubjects({ database }),
    work: createBulkWork({ commands: createLedgerCommands({ database }), backfill }),
    onCommitted: wakeDispatcher,
    answersFirst,
    logger,
    shownUserId: createShownUserId(keyring),
  });
}
