import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import { createActionActivities, createLedgerActivities } from '../../activities/index.ts';
import { createLeaseKeeper } from '../../activities/lease-keeper.ts';
import { createVersionCache } from '../builds/version-cache.ts';
import { openInstallation, takeLock } from '../installation.ts';
import { createSandboxPool } from '../sandbox/pool.ts';
import { createLedger } from '../store/ledger.ts';
import { connectWorker } from '../temporal/native-connection.ts';
import { installTelemetry } from '../temporal/telemetry.ts';
import { createWorkers, type Workers } from '../temporal/worker.ts';
import { type RoleOptions, type RunningRole, temporalEndpoint } from './role.ts';

/** Attempts at once: Actions wait for receivers most of the time, so more than there are cores. */
const SLOTS = 8;
const RECONNECT_MS = 1_000;

/** The role `worker`: runs workflows and Action attempts. Waits for Temporal as long as it takes. */
export async function runWorker({ config, logger, loopbackOpen, onReady }: RoleOptions): Promise<RunningRole> {
  const { paths, database, keyring, close } = await openInstallation(config);
  const lock = await takeLock(paths.roleLock('worker'), true);
  installTelemetry(logger);
  const workerId = `${hostname()}-${process.pid}-${randomUUID().slice(0, 8)}`;
  const ledger = createLedger({ database, keyring });
  // The lock proves that whoever left attempts without an end is dead, and its sandboxes with it.
  const lost = await ledger.endLostAttempts({ exceptWorkerId: workerId });
  if (lost > 0) logger.warn({ attempts: lost }, 'attempts of a worker that died are ended; their steps run again');

  const sandbox = await createSandboxPool({ slots: SLOTS, egress: { allow: config.egressAllow, loopbackOpen }, logger });
  const leases = createLeaseKeeper({ ledger, workerId, logger });
  leases.start();

  const endpoint = temporalEndpoint(config);
  const stopping = new AbortController();
  let workers: Workers | undefined;

  async function serve(): Promise<void> {
    while (!stopping.signal.aborted) {
      const connection = await connectWorker(endpoint).catch((error: unknown) => {
        logger.debug({ err: error }, 'the worker waits for Temporal');
        return null;
      });
      if (connection === null) {
        await new Promise((resolve) => setTimeout(resolve, RECONNECT_MS));
        continue;
      }
      try {
        workers = await createWorkers({
          connection,
          namespace: endpoint.namespace,
          ledgerActivities: createLedgerActivities(ledger),
          actionActivities: createActionActivities({ ledger, sandbox, leases, workerId, logger, versions: createVersionCache({ database, keyring, dataDir: config.dataDir }) }),
          slots: SLOTS,
          cacheDir: paths.cache,
        });
        if (stopping.signal.aborted) workers.shutdown();
        onReady({ isolation: sandbox.describeIsolation().join('\n') });
        await workers.run();
      } finally {
        await connection.close();
      }
    }
  }

  const serving = serve();
  // A worker that fails ends the process: whoever started it starts a clean one.
  serving.catch((error: unknown) => {
    logger.fatal({ err: error }, 'the worker failed');
    process.exitCode = 1;
    process.kill(process.pid, 'SIGTERM');
  });

  return {
    onMessage: () => undefined,
    async stop() {
      stopping.abort();
      workers?.shutdown();
      await serving.catch(() => undefined);
      leases.stop();
      await sandbox.close({ graceMs: 0 });
      await close();
      lock.release();
    },
  };
}
