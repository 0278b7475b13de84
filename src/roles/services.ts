import { createVersionCache } from '../builds/version-cache.ts';
import { actionsRoutes } from '../http/actions/actions-routes.ts';
import { bindingsRoutes } from '../http/actions/bindings-routes.ts';
import { executionsRoutes } from '../http/actions/executions-routes.ts';
import { triggersRoutes } from '../http/actions/triggers-routes.ts';
import { versionsRoutes } from '../http/actions/versions-routes.ts';
import { type Auth, createAuth } from '../http/auth.ts';
import { signUpRoutes } from '../http/authentication/signup-routes.ts';
import { tokenRoutes } from '../http/authentication/token-routes.ts';
import type { Route } from '../http/endpoint.ts';
import { healthRoutes, type Readiness } from '../http/health-routes.ts';
import { logsRoutes } from '../http/logs/logs-routes.ts';
import type { FingerprintHeaders } from '../http/request-facts.ts';
import type { Logger } from '../logger.ts';
import { createUserCreation } from '../registration/create-user.ts';
import { createPreUserRegistration } from '../registration/pre-user-registration.ts';
import { createRegister } from '../registration/register.ts';
import { createSignUp } from '../registration/sign-up.ts';
import type { SandboxPool } from '../sandbox/pool.ts';
import { createActionStore } from '../store/actions.ts';
import { createBindingStore, loadBoundActions } from '../store/bindings.ts';
import { readCache } from '../store/cache.ts';
import { createClientStore } from '../store/clients.ts';
import { createConnectionStore } from '../store/connections.ts';
import type { Database } from '../store/database.ts';
import { readPreExecution } from '../store/executions.ts';
import type { Keyring } from '../store/keyring.ts';
import { createLedger } from '../store/ledger.ts';
import { createLogStore } from '../store/logs.ts';
import { createSigningKeys } from '../store/signing-keys.ts';
import { createUserStore } from '../store/users.ts';
import { createVersionStore } from '../store/versions.ts';

/** What the role `api` is made of, besides what it runs in the background. */
export interface ServicesDeps {
  database: Database;
  keyring: Keyring;
  dataDir: string;
  logger: Logger;
  /** Of the sign-ups' own Actions. */
  sandbox: SandboxPool;
  /** Called when a draft has changed. */
  wakeBuilder(): void;
  /** Called when a registration was committed; must not throw. */
  wakeDispatcher(): void;
  readiness(): Promise<Readiness>;
  fingerprintHeaders: FingerprintHeaders;
  /** @default 20 s */
  preUserRegistrationMs?: number;
}

/** Puts the stores, the ways in and the endpoints together. */
export function createServices(deps: ServicesDeps): { auth: Auth; routes: Route[] } {
  const { database, keyring, logger, sandbox } = deps;
  const clients = createClientStore({ database });
  const connections = createConnectionStore({ database });
  const signingKeys = createSigningKeys({ database, keyring });
  const auth = createAuth({ signingKeys });
  const actions = createActionStore({ database, keyring });
  const versions = createVersionStore({ database });
  const preUserRegistration = createPreUserRegistration({
    loadBoundActions: () => loadBoundActions('pre-user-registration', database.db),
    readCache: () => readCache(database.db, keyring, 'pre-user-registration', Date.now()),
    versions: createVersionCache({ database, keyring, dataDir: deps.dataDir }),
    sandbox,
    logger,
    ...(deps.preUserRegistrationMs === undefined ? {} : { timeoutMs: deps.preUserRegistrationMs }),
  });
  const register = createRegister({ database, keyring, onCommitted: deps.wakeDispatcher });
  const users = createUserStore({ database });
  const userCreation = createUserCreation({ database, keyring, preUserRegistration, register });
  const signUp = createSignUp({ clients, connections, users, userCreation });

  return {
    auth,
    routes: [
      ...healthRoutes(deps),
      ...signUpRoutes({ signUp, fingerprintHeaders: deps.fingerprintHeaders }),
      ...tokenRoutes({ auth, clients, signingKeys }),
      ...actionsRoutes({ actions, versions, wakeBuilder: deps.wakeBuilder }),
      ...versionsRoutes({ versions }),
      ...triggersRoutes(),
      ...bindingsRoutes({ bindings: createBindingStore({ database }) }),
      ...executionsRoutes({ ledger: createLedger({ database, keyring }), readPreExecution: (id) => readPreExecution(database.db, keyring, id) }),
      ...logsRoutes({ logs: createLogStore({ db: database.db, keyring }) }),
    ],
  };
}
