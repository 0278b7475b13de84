import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createBuilder } from '../builds/builder.ts';
import { createVersionCache } from '../builds/version-cache.ts';
import { DEFAULT_PORT } from '../config.ts';
import { actionsRoutes } from '../http/actions-routes.ts';
import { createApp } from '../http/app.ts';
import { createAuth } from '../http/auth.ts';
import { bindingsRoutes } from '../http/bindings-routes.ts';
import { triggersRoutes } from '../http/triggers-routes.ts';
import { versionsRoutes } from '../http/versions-routes.ts';
import { openInstallation, takeLock } from '../installation.ts';
import { createDispatcher } from '../registration/dispatcher.ts';
import { createPreUserRegistration } from '../registration/pre-user-registration.ts';
import { createRegister } from '../registration/register.ts';
import { createSignUp } from '../registration/sign-up.ts';
import { createSweep } from '../registration/sweep.ts';
import type { StatusMessage } from '../role-process.ts';
import { StartError } from '../start-error.ts';
import { createActionStore } from '../store/actions.ts';
import { createBindingStore, loadBoundActions } from '../store/bindings.ts';
import { readCache } from '../store/cache.ts';
import { createClientStore } from '../store/clients.ts';
import { createConnectionStore } from '../store/connections.ts';
import { readPreExecution } from '../store/executions.ts';
import { createLedger } from '../store/ledger.ts';
import { createLogStore } from '../store/logs.ts';
import { createOutbox } from '../store/outbox.ts';
import { createSigningKeys } from '../store/signing-keys.ts';
import { createUserStore } from '../store/users.ts';
import { createVersionStore } from '../store/versions.ts';
import { ensureFirstClient } from './first-client.ts';
import { createReadiness } from './readiness.ts';
import { type RoleOptions, type RunningRole, startSandboxes, temporalEndpoint } from './role.ts';
import { createTemporalLink } from './temporal-link.ts';

/** Sign-ups at work in pre-user-registration Actions at once. */
const PRE_REGISTRATION_SLOTS = 8;
/** Requests under way get this long after a stop. */
const REQUEST_GRACE_MS = 10_000;
/** How far above the default port a free one is looked for. */
const PORTS_TRIED = 100;

/** The role `api`: HTTP, builds, pre-user-registration Actions, and the hand-over of registrations to Temporal. */
export async function runApi(options: RoleOptions): Promise<RunningRole> {
  const { config, logger, onReady } = options;
  const { paths, database, keyring, close } = await openInstallation(config);
  const lock = await takeLock(paths.roleLock('api'), true);

  const clients = createClientStore({ database });
  const connections = createConnectionStore({ database });
  const clientId = await ensureFirstClient({ clients, paths, clientId: config.clientId, clientSecret: config.clientSecret });
  await connections.ensureDefault();
  const signingKeys = createSigningKeys({ database, keyring });
  const auth = createAuth({ signingKeys });
  const ledger = createLedger({ database, keyring });
  const outbox = createOutbox({ database });

  const temporal = createTemporalLink({ endpoint: temporalEndpoint(config), database, outbox, logger });
  const dispatcher = createDispatcher({ outbox, starter: temporal.starter, look: temporal.look, logger });
  const sweep = createSweep({ outbox, ledger, starter: temporal.starter, wake: () => dispatcher.wake(), logger });

  const builder = createBuilder({ database, dataDir: config.dataDir, logger, alone: true });
  const versions = createVersionCache({ database, keyring, dataDir: config.dataDir });
  const sandbox = await startSandboxes({ slots: PRE_REGISTRATION_SLOTS, givesWay: false }, options);
  const preUserRegistration = createPreUserRegistration({
    loadBoundActions: () => loadBoundActions('pre-user-registration', database.db),
    readCache: () => readCache(database.db, keyring, 'pre-user-registration', Date.now()),
    versions,
    sandbox,
    logger,
  });
  const register = createRegister({ database, keyring, onCommitted: () => dispatcher.wake() });
  const signUp = createSignUp({ database, keyring, clients, connections, users: createUserStore({ database }), preUserRegistration, register });

  let fromSupervisor: Record<string, string> = {};
  const actionRoutes = {
    auth,
    actions: createActionStore({ database, keyring }),
    versions: createVersionStore({ database }),
    bindings: createBindingStore({ database }),
    wakeBuilder: () => builder.wake(),
  };
  const app = createApp({
    logger,
    auth,
    clients,
    signingKeys,
    signUp,
    ledger,
    logs: createLogStore({ db: database.db, keyring }),
    readPreExecution: (id) => readPreExecution(database.db, keyring, id),
    actionRouters: [actionsRoutes, versionsRoutes, triggersRoutes, bindingsRoutes].map((routes) => routes(actionRoutes)),
    readiness: createReadiness({
      database,
      // Of what both speak of, the supervisor knows more: it runs the development server.
      degraded: () => ({ ...temporal.degraded(dispatcher.temporal()), ...fromSupervisor }),
    }),
    trustedProxies: config.trustedProxies,
    fingerprintHeaders: { ja3: config.ja3Header, ja4: config.ja4Header },
    rateLimits: config.rateLimits,
  });

  const server = createServer(app);
  const port = await listen(server, config.port, config.host);
  dispatcher.start();
  sweep.start();
  await builder.start();
  onReady({
    address: `http://${config.host.includes(':') ? `[${config.host}]` : config.host}:${port}`,
    port: String(port),
    clientId,
    isolation: sandbox.describeIsolation().join('\n'),
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
      await Promise.all([dispatcher.stop(), sweep.stop(), builder.stop(), sandbox.close({ graceMs: 0 })]);
      await temporal.close();
      await close();
      lock.release();
    },
  };
}

/** @param port null: the default one, or the next free one. */
async function listen(server: Server, port: number | null, host: string): Promise<number> {
  // By listening, not by looking first: another program may take a port between the two.
  for (let tried = port ?? DEFAULT_PORT; ; tried++) {
    server.listen(tried, host);
    try {
      await once(server, 'listening');
      return (server.address() as AddressInfo).port;
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException;
      if (code !== 'EADDRINUSE') {
        throw new StartError(`Usher cannot listen on ${host}:${tried} (${code ?? message}): set USHER_HOST and USHER_PORT to an address of this machine.`, { cause: error });
      }
      if (port !== null) {
        throw new StartError(`Port ${port} (USHER_PORT) is in use: end what listens there, or set USHER_PORT to another one.`, { cause: error });
      }
      if (tried === DEFAULT_PORT + PORTS_TRIED - 1) {
        throw new StartError(`The ports from ${DEFAULT_PORT} to ${tried} are in use: set USHER_PORT to one that is free.`, { cause: error });
      }
    }
  }
}
