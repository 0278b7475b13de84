import { once } from 'node:events';
import { createBuilder } from '../builds/builder.ts';
import { createApp } from '../http/app.ts';
import { createOpenRequests } from '../http/open-requests.ts';
import { messagesPath } from '../http/pages/messages-routes.ts';
import { openInstallation, takeLock } from '../installation.ts';
import { createSenders } from '../messages/senders.ts';
import { createDispatcher } from '../registration/dispatcher.ts';
import { createReleaseLoop } from '../registration/releases.ts';
import { createSweep } from '../registration/sweep.ts';
import { watchCloses } from '../observe/closes.ts';
import { watchStarter } from '../observe/hand-overs.ts';
import { watchSandboxes } from '../observe/sandboxes.ts';
import type { StatusMessage } from '../role-process.ts';
import { createClientStore } from '../store/clients.ts';
import { createCodecKeys } from '../store/codec-keys.ts';
import { createConnectionStore } from '../store/connections.ts';
import { createCounterStore } from '../store/counters.ts';
import { createLedger } from '../store/ledger.ts';
import { createMessageStore } from '../store/messages.ts';
import { openStore } from '../store/open-store.ts';
import { createOutbox } from '../store/outbox.ts';
import { createReleases } from '../store/releases.ts';
import { ensureFirstClient } from './first-client.ts';
import { listen } from './listen.ts';
import { startObservation } from './observation.ts';
import { createReadiness } from './readiness.ts';
import { watchRestores } from './restore-watch.ts';
import { ownAddresses, type RoleOptions, type RunningRole, startSandboxes, temporalEndpoint } from './role.ts';
import { createServices } from './services.ts';
import { createTemporalLink } from './temporal-link.ts';
import { createUpkeep } from './upkeep.ts';
import { upkeepTasks } from './upkeep-tasks.ts';

/** Sign-ups at work in pre-user-registration Actions at once. */
const PRE_REGISTRATION_SLOTS = 8;
/** Drafts under test at once. */
const TEST_SLOTS = 2;
/** Requests under way get this long after a stop. */
const REQUEST_GRACE_MS = 10_000;

/** The role `api`: HTTP, builds, pre-user-registration Actions, and the hand-over of registrations to Temporal. */
export async function runApi(options: RoleOptions): Promise<RunningRole> {
  const { config, logger, onReady, onFailed } = options;
  const { paths, database, keyring, close } = await openInstallation(config);
  // Each sync would hold up the sign-ups that come meanwhile: this thread waits for the disk of the embedded store.
  const background = database.dialect === 'sqlite' ? openStore({ databaseUrl: null, file: paths.store }, { isEachSynced: false }) : database;
  const lock = await takeLock(paths.roleLock('api'), true);
  const restores = await watchRestores({ database, logger, onRestored: onFailed });
  const { metrics, tracing, serve: serveOps, close: endObservation } = await startObservation('api', database, options);

  const clients = createClientStore({ database });
  const clientId = await ensureFirstClient({ clients, paths, clientId: config.clientId, clientSecret: config.clientSecret });
  await createConnectionStore({ database }).ensureDefault();
  const ledger = createLedger({ database, keyring });
  const outbox = createOutbox({ database: background });

  const codecKeys = createCodecKeys({ database, keyring });
  const temporal = createTemporalLink({ endpoint: temporalEndpoint(config), database, keyring, payloadKeys: codecKeys, outbox, logger });
  const openRequests = createOpenRequests();
  const answersFirst = openRequests.answered;
  const dispatcher = createDispatcher({ outbox, starter: watchStarter(temporal.starter, { metrics, tracing }), look: temporal.look, answersFirst, logger });
  const releases = createReleaseLoop({ releases: createReleases({ database, workerSandboxes: config.workerSandboxes }), wake: () => dispatcher.wake(), logger });
  const sweep = createSweep({ outbox, ledger: watchCloses(ledger, { database, metrics, tracing }), starter: temporal.starter, histories: temporal.histories, wake: () => dispatcher.wake(), logger });

  const builder = createBuilder({
    database,
    dataDir: config.dataDir,
    logger,
    alone: database.dialect === 'sqlite',
    onBuilt: (result, seconds) => {
      metrics.builds.inc({ result });
      metrics.buildSeconds.observe(seconds);
    },
  });
  const [sandbox, testSandbox] = await Promise.all([
    startSandboxes({ slots: PRE_REGISTRATION_SLOTS, givesWay: false, watch: watchSandboxes(metrics, 'pre-registration') }, options),
    startSandboxes({ slots: TEST_SLOTS, givesWay: true, maxUses: 1, watch: watchSandboxes(metrics, 'test') }, options),
  ]);
  const senders = createSenders({ ...config, messages: createMessageStore({ database, keyring }), alone: database.dialect === 'sqlite', logger });
  const upkeep = createUpkeep({ logger, tasks: upkeepTasks({ database, keyring, codecKeys, retention: config.retention, histories: temporal.histories, logger }) });
  let ownOrigin = '';
  let fromSupervisor: Record<string, string> = {};
  const readiness = createReadiness({
    database,
    // Of what both speak of, the supervisor knows more: it runs the development server.
    degraded: () => ({ ...temporal.degraded(dispatcher.temporal()), ...receiversDown(releases.down()), ...fromSupervisor }),
  });
  const { auth, origins, routes, jobRunner, bulkRunner } = createServices({
    database,
    background,
    keyring,
    dataDir: config.dataDir,
    logger,
    metrics,
    tracing,
    sandbox,
    testSandbox,
    answersFirst,
    wakeBuilder: () => builder.wake(),
    wakeDispatcher: () => dispatcher.wake(),
    wakeSender: () => senders.wake(),
    wakeUpkeep: () => upkeep.wake(),
    codecKeys,
    origin: () => config.publicUrl ?? ownOrigin,
    publicUrl: config.publicUrl,
    webUi: config.temporalUiUrl === null ? null : `${config.temporalUiUrl}/namespaces/${config.temporal.namespace}`,
    readiness,
    fingerprintHeaders: { ja3: config.ja3Header, ja4: config.ja4Header },
  });
  const app = createApp({
    logger,
    auth,
    routes,
    origins,
    trustedProxies: config.trustedProxies,
    publicUrl: config.publicUrl,
    tracing,
    openRequests,
    rateLimits: {
      limits: config.rateLimits,
      // One process serves on the embedded store, and a write of it for each request would be dear.
      counters: database.dialect === 'sqlite' ? null : createCounterStore({ database }),
    },
  });

  await serveOps({
    readiness,
    sandboxes: () => sandbox.pids().length + testSandbox.pids().length,
    isTemporalReachable: () => Promise.resolve(dispatcher.temporal().state === 'ok'),
  });
  const { server, address, port } = await listen(app, { port: config.port, host: config.host, readPair: options.tls.readPair, logger });
  for (const pool of [sandbox, testSandbox]) pool.setOwnAddresses(ownAddresses(config, port));
  ownOrigin = address;
  dispatcher.start();
  database.onSignal('registration-due', () => dispatcher.wake());
  sweep.start();
  releases.start();
  await builder.start();
  await senders.start();
  upkeep.start();
  jobRunner.start();
  bulkRunner.start();
  const kept = [...(config.smtp === null ? ['mails'] : []), ...(config.smsGateway === null ? ['text messages'] : [])].join(' and ');
  onReady({
    address,
    port: String(port),
    clientId,
    isolation: sandbox.describeIsolation().join('\n'),
    ...(kept === '' ? {} : { messages: `${kept} are not sent; see them at ${address}${messagesPath(keyring)}` }),
  });

  return {
    onMessage(message) {
      fromSupervisor = (message as StatusMessage).degraded;
    },
    async stop() {
      const closed = once(server, 'close');
      server.close();
      server.closeIdleConnections();
      const cut = setTimeout(() => server.closeAllConnections(), REQUEST_GRACE_MS);
      await closed;
      clearTimeout(cut);
      await Promise.all([restores.stop(), dispatcher.stop(), sweep.stop(), releases.stop(), jobRunner.stop(), bulkRunner.stop(), builder.stop(), senders.stop(), upkeep.stop(), sandbox.close({ graceMs: 0 }), testSandbox.close({ graceMs: 0 })]);
      await endObservation();
      await temporal.close();
      if (background !== database) await background.close();
      await close();
      lock.release();
    },
  };
}

function receiversDown(actions: string[]): Record<string, string> {
  return actions.length === 0 ? {} : { receivers: `down for ${actions.join(', ')}: GET /usher/flow` };
}
