import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { type NativeConnection, TransportError } from '@temporalio/worker';
import { createActionActivities, createLedgerActivities } from '../../activities/index.ts';
import { createLeaseKeeper } from '../../activities/lease-keeper.ts';
import { createSandboxShares } from '../../activities/sandbox-shares.ts';
import { createVersionCache } from '../builds/version-cache.ts';
import { createShownUserId } from '../domain/shown-user-id.ts';
import { VERSION } from '../domain/version.ts';
import { shareOfOneAction, workerTasks } from '../domain/worker-slots.ts';
import { openInstallation, takeLock } from '../installation.ts';
import { createWatchAttempt, createWatchLost } from '../observe/attempts.ts';
import { watchCloses } from '../observe/closes.ts';
import { watchSandboxes } from '../observe/sandboxes.ts';
import type { ListeningMessage } from '../role-process.ts';
import { createCodecKeys } from '../store/codec-keys.ts';
import { createLedger } from '../store/ledger.ts';
import { connectWorker } from '../temporal/native-connection.ts';
import { installTelemetry } from '../temporal/telemetry.ts';
import { createWorkers, type Workers } from '../temporal/worker.ts';
import { startObservation } from './observation.ts';
import { createReadiness } from './readiness.ts';
import { watchRestores } from './restore-watch.ts';
import { ownAddresses, type RoleOptions, type RunningRole, startSandboxes, temporalEndpoint } from './role.ts';

/** Of a task that was taken for a sandbox that is still at work; far below what Temporal gives an attempt on top of its timeout. */
const MAX_WAIT_MS = 30_000;
const RECONNECT_MS = 1_000;

/** The role `worker`: runs workflows and Action attempts. Waits for Temporal as long as it takes. */
export async function runWorker(options: RoleOptions): Promise<RunningRole> {
  const { config, logger, onReady, onFailed } = options;
  // What a power cut takes from it is done again, under the same idempotency keys; sign-ups do not wait for its syncs.
  const { paths, database, keyring, close } = await openInstallation(config, { isEachSynced: false });
  const lock = await takeLock(paths.roleLock('worker'), true);
  const restores = await watchRestores({ database, logger, onRestored: onFailed });
  const telemetry = await installTelemetry(logger);
  const { metrics, tracing, serve: serveOps, close: endObservation } = await startObservation('worker', database, options);
  const workerId = `${hostname()}-${process.pid}-${randomUUID().slice(0, 8)}`;
  const ledger = createLedger({ database, keyring });
  const shownUserId = createShownUserId(keyring);
  const watchLost = createWatchLost({ metrics, logger, shownUserId });
  // On the embedded store the lock proves that whoever left attempts without an end is dead, and its sandboxes with it;
  // on PostgreSQL other workers live, and the leases tell.
  if (database.dialect === 'sqlite') watchLost(await ledger.endLostAttempts({ exceptWorkerId: workerId }));

  const sandbox = await startSandboxes({ slots: config.workerSandboxes, givesWay: true, maxWaitMs: MAX_WAIT_MS, watch: watchSandboxes(metrics, 'actions') }, options);
  const leases = createLeaseKeeper({ ledger, logger });
  leases.start();

  const endpoint = temporalEndpoint(config);
  const payloadKeys = createCodecKeys({ database, keyring });
  const stopping = new AbortController();
  let workers: Workers | undefined;

  /** @throws {TransportError} when Temporal cannot be reached, or has no such namespace. */
  async function openWorkers(): Promise<{ connection: NativeConnection; opened: Workers }> {
    const connection = await connectWorker(endpoint);
    const opened = await createWorkers({
      connection,
      namespace: endpoint.namespace,
      payloadKeys,
      ledgerActivities: createLedgerActivities(watchCloses(ledger, { database, metrics, tracing })),
      actionActivities: createActionActivities({ ledger, sandbox, leases, shares: createSandboxShares(shareOfOneAction(config.workerSandboxes)), watchAttempt: createWatchAttempt({ metrics, tracing, logger, shownUserId }), watchLost, workerId, logger, versions: createVersionCache({ database, keyring, dataDir: config.dataDir }) }),
      tasks: workerTasks(config.workerSandboxes),
      cacheDir: paths.cache,
      deployment: config.temporalDeployment === null ? null : { name: config.temporalDeployment, version: VERSION },
    });
    return { connection, opened };
  }

  async function serve(): Promise<void> {
    let waitsFor = '';
    while (!stopping.signal.aborted) {
      try {
        const { connection, opened } = await openWorkers();
        workers = opened;
        const running = workers.run();
        if (stopping.signal.aborted) workers.shutdown();
        else onReady({ isolation: sandbox.describeIsolation().join('\n') });
        await running;
        await connection.close();
      } catch (error) {
        if (!(error instanceof TransportError)) throw error;
        // Once for each reason: where nobody starts a server beside it, this line is all that a person sees.
        if (error.message !== waitsFor) logger.warn({ address: endpoint.address, reason: error.message }, 'the worker waits for Temporal');
        waitsFor = error.message;
        await sleep(RECONNECT_MS, undefined, { signal: stopping.signal }).catch(() => undefined);
      }
    }
  }

  const trouble = async (): Promise<string | null> => (workers === undefined ? 'not reached yet' : await workers.trouble());
  await serveOps({
    readiness: createReadiness({
      database,
      missing: async () => {
        const why = await trouble();
        return why === null ? {} : { temporal: why };
      },
    }),
    sandboxes: () => sandbox.pids().length,
    isTemporalReachable: async () => (await trouble()) === null,
    more: telemetry.metrics,
  });
  const serving = serve();
  serving.catch(onFailed);

  return {
    onMessage(message) {
      sandbox.setOwnAddresses(ownAddresses(config, (message as ListeningMessage).port));
    },
    async stop() {
      stopping.abort();
      workers?.shutdown();
      await serving.catch(() => undefined);
      leases.stop();
      await restores.stop();
      await sandbox.close({ graceMs: 0 });
      await endObservation();
      await close();
      lock.release();
    },
  };
}
