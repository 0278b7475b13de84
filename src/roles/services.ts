import { createTestDraft } from '../builds/test-draft.ts';
import { createVersionCache } from '../builds/version-cache.ts';
import { actionsRoutes } from '../http/actions/actions-routes.ts';
import { bindingsRoutes } from '../http/actions/bindings-routes.ts';
import { executionsRoutes } from '../http/actions/executions-routes.ts';
import { modulesRoutes } from '../http/actions/modules-routes.ts';
import { testRoutes } from '../http/actions/test-routes.ts';
import { triggersRoutes } from '../http/actions/triggers-routes.ts';
import { versionsRoutes } from '../http/actions/versions-routes.ts';
import { createShownUserId } from '../domain/shown-user-id.ts';
import { type Auth, createAuth } from '../http/auth.ts';
import { clientGrantsRoutes } from '../http/client-grants/client-grants-routes.ts';
import { clientsRoutes } from '../http/clients/clients-routes.ts';
import { connectionsRoutes } from '../http/connections/connections-routes.ts';
import { enabledClientsRoutes } from '../http/connections/enabled-clients-routes.ts';
import type { Route } from '../http/endpoint.ts';
import { healthRoutes, type Readiness } from '../http/health-routes.ts';
import { logsRoutes } from '../http/logs/logs-routes.ts';
import { readUser } from '../http/jobs/import-user.ts';
import { jobsRoutes } from '../http/jobs/jobs-routes.ts';
import type { FingerprintHeaders } from '../http/request-facts.ts';
import { resourceServersRoutes } from '../http/resource-servers/resource-servers-routes.ts';
import { rolePermissionsRoutes } from '../http/roles/permissions-routes.ts';
import { rolesRoutes } from '../http/roles/roles-routes.ts';
import { createSecretLogin } from '../http/secret-login.ts';
import { userAnswer } from '../http/users/answers.ts';
import { codecRoutes } from '../http/usher/codec-routes.ts';
import { usherExecutionsRoutes } from '../http/usher/executions-routes.ts';
import { erasureRoutes } from '../http/usher/erasure-routes.ts';
import { keysRoutes } from '../http/usher/keys-routes.ts';
import { flowRoutes } from '../http/usher/flow-routes.ts';
import { registrationsRoutes } from '../http/usher/registrations-routes.ts';
import { tenantsRoutes } from '../http/tenants/tenants-routes.ts';
import { userLogsRoutes } from '../http/users/user-logs-routes.ts';
import { userRolesRoutes } from '../http/users/user-roles-routes.ts';
import { usersRoutes } from '../http/users/users-routes.ts';
import type { BulkRunner } from '../jobs/bulk-runner.ts';
import { createJobRunner, type JobRunner } from '../jobs/job-runner.ts';
import { createUsersExport } from '../jobs/users-export.ts';
import { createUsersImport } from '../jobs/users-import.ts';
import type { Logger } from '../logger.ts';
import type { Metrics } from '../observe/metrics.ts';
import { traceSandbox, watchPreUserRegistration, watchRegister, watchUserCreation } from '../observe/sign-ups.ts';
import type { Tracing } from '../observe/tracing.ts';
import { createUserCreation } from '../registration/create-user.ts';
import { createHandIn } from '../registration/outside.ts';
import { createPreUserRegistration } from '../registration/pre-user-registration.ts';
import { createRegister } from '../registration/register.ts';
import { createUserMails } from '../registration/user-mails.ts';
import type { SandboxPool } from '../sandbox/pool.ts';
import { searchLogs } from '../search/search-logs.ts';
import { searchUsers, sortUsers } from '../search/search-users.ts';
import { createActionStore } from '../store/actions.ts';
import { createBindingStore, loadBoundActions } from '../store/bindings.ts';
import { readCache } from '../store/cache.ts';
import { createClientGrantStore } from '../store/client-grants.ts';
import { createClientManagement } from '../store/client-management.ts';
import { type ClientOrigins, createClientOrigins } from '../store/client-origins.ts';
import { createClientStore } from '../store/clients.ts';
import { createConnectionManagement } from '../store/connection-management.ts';
import { codecAccessKey, type CodecKeys } from '../store/codec-keys.ts';
import { createConnectionStore } from '../store/connections.ts';
import type { Database } from '../store/database.ts';
import { createListExecutions } from '../store/execution-list.ts';
import { createErasureStore } from '../store/erasure.ts';
import { readPreExecution } from '../store/executions.ts';
import { createFlowStore } from '../store/flow.ts';
import { createJobStore } from '../store/jobs.ts';
import type { Keyring } from '../store/keyring.ts';
import { createLedgerCommands } from '../store/ledger-commands.ts';
import { createLedger } from '../store/ledger.ts';
import { createLogStore } from '../store/logs.ts';
import { createResourceServerStore } from '../store/resource-servers.ts';
import { createRolePermissionStore } from '../store/role-permissions.ts';
import { createRekey } from '../store/rekey.ts';
import { createRoleStore } from '../store/roles.ts';
import { createModuleStore } from '../store/modules.ts';
import { createSigningKeys } from '../store/signing-keys.ts';
import { createTicketStore } from '../store/tickets.ts';
import { createUserStore } from '../store/users.ts';
import { createVersionStore } from '../store/versions.ts';
import { createPayloadCodec } from '../temporal/payload-codec.ts';
import { authenticationRoutes } from './authentication-routes.ts';
import { createBulk } from './bulk.ts';

/** What the role `api` is made of, besides what it runs in the background. */
export interface ServicesDeps {
  database: Database;
  /** The same store, for work that is done again if a power cut takes it back. */
  background: Database;
  keyring: Keyring;
  dataDir: string;
  logger: Logger;
  metrics: Metrics;
  tracing: Tracing;
  /** Of the sign-ups' own Actions. */
  sandbox: SandboxPool;
  /** Where drafts are tested. */
  testSandbox: SandboxPool;
  /** Called when a draft has changed. */
  wakeBuilder(): void;
  /** Resolves when work in the background may go on; must not reject. */
  answersFirst(): Promise<void>;
  /** Called when a registration was committed; must not throw. */
  wakeDispatcher(): void;
  /** Called when a mail or a text message was committed; must not throw. */
  wakeSender(): void;
  /** Called when there is something to be erased, or to be wrapped anew; must not throw. */
  wakeUpkeep(): void;
  codecKeys: CodecKeys;
  /** Origin of the links in mails. Never what a request says: whoever sends it could have the link lead to himself. */
  origin(): string;
  /** Origin at which clients reach us; null: the one that their requests name. */
  publicUrl: string | null;
  /** Address of the namespace in Temporal's Web UI; null: not known. */
  webUi: string | null;
  readiness(): Promise<Readiness>;
  fingerprintHeaders: FingerprintHeaders;
  /** @default 20 s */
  preUserRegistrationMs?: number;
  /** How old an entry of the tenant log is before a checkpoint gives it. @default 30 s */
  logDelayMs?: number;
}

/** Puts the stores, the ways in and the endpoints together. */
export function createServices(deps: ServicesDeps): { auth: Auth; origins: ClientOrigins; routes: Route[]; jobRunner: JobRunner; bulkRunner: BulkRunner } {
  const { database, keyring, logger, sandbox, metrics, tracing } = deps;
  const clients = createClientStore({ database });
  const connections = createConnectionStore({ database });
  const signingKeys = createSigningKeys({ database, keyring });
  const origins = createClientOrigins({ database });
  const resourceServers = createResourceServerStore({ database });
  const connectionManagement = createConnectionManagement({ database, keyring });
  const clientGrants = createClientGrantStore({ database });
  const auth = createAuth({ signingKeys, secretLogin: createSecretLogin({ clients, clientGrants }) });
  const actions = createActionStore({ database, keyring });
  const versions = createVersionStore({ database });
  const versionCache = createVersionCache({ database, keyring, dataDir: deps.dataDir });
  const preUserRegistration = watchPreUserRegistration(createPreUserRegistration({
    loadBoundActions: () => loadBoundActions('pre-user-registration', database.db),
    readCache: () => readCache(database.db, keyring, 'pre-user-registration', Date.now()),
    versions: versionCache,
    sandbox: traceSandbox(sandbox, tracing),
    logger,
    ...(deps.preUserRegistrationMs === undefined ? {} : { timeoutMs: deps.preUserRegistrationMs }),
  }), { metrics });
  const register = watchRegister(createRegister({ database, keyring, onCommitted: deps.wakeDispatcher }), { metrics, tracing, logger, shownUserId: createShownUserId(keyring) });
  const users = createUserStore({ database });
  const userMails = createUserMails({ keyring, tickets: createTicketStore({ database }), origin: deps.origin });
  const roles = createRoleStore({ database });
  const logs = createLogStore({ database, keyring, delayMs: deps.logDelayMs });
  const userCreation = watchUserCreation(createUserCreation({ database, keyring, preUserRegistration, register }), { metrics });
  const ledger = createLedger({ database, keyring });
  const jobs = createJobStore({ database, keyring });
  const jobRunner = createJobRunner({
    jobs,
    work: {
      users_import: createUsersImport({ database, jobs, register, readUser }),
      users_export: createUsersExport({ database, jobs, toAnswer: userAnswer }),
    },
    logger,
  });

  const { bulkRunner, bulkRoutes } = createBulk(deps);

  return {
    auth,
    origins,
    jobRunner,
    bulkRunner,
    routes: [
      ...healthRoutes(deps),
      ...authenticationRoutes({ ...deps, auth, clients, connections, clientGrants, resourceServers, signingKeys, users, userCreation, userMails, jobs }),
      ...connectionsRoutes({ connections: connectionManagement }),
      ...enabledClientsRoutes({ connections: connectionManagement }),
      ...clientsRoutes({ clients: createClientManagement({ database, keyring, onChanged: origins.forget }) }),
      ...clientGrantsRoutes({ grants: clientGrants }),
      ...resourceServersRoutes({ resourceServers }),
      ...tenantsRoutes({ database }),
      ...actionsRoutes({ actions, versions, wakeBuilder: deps.wakeBuilder }),
      ...versionsRoutes({ versions }),
      ...testRoutes({ testDraft: createTestDraft({ actions, versions: versionCache, sandbox: deps.testSandbox }) }),
      ...modulesRoutes({ modules: createModuleStore({ database, keyring }) }),
      ...triggersRoutes(),
      ...bindingsRoutes({ bindings: createBindingStore({ database, keyring }) }),
      ...executionsRoutes({ ledger, readPreExecution: (id) => readPreExecution(database.db, keyring, id) }),
      ...jobsRoutes({ jobs, connections: connectionManagement, wakeJobs: () => jobRunner.wake(), publicUrl: deps.publicUrl }),
      ...bulkRoutes,
      ...flowRoutes({ flow: createFlowStore({ database, keyring }) }),
      ...usherExecutionsRoutes({ ...deps, ledger, commands: createLedgerCommands({ database }), list: createListExecutions({ database }) }),
      ...registrationsRoutes({ handIn: createHandIn({ database, register }) }),
      ...logsRoutes({ logs, search: (q) => searchLogs(database, q) }),
      ...usersRoutes({
        users,
        clients,
        connections,
        userCreation,
        userMails,
        wakeSender: deps.wakeSender,
        search: { condition: (q) => searchUsers(database, q), order: (sort) => sortUsers(database, sort) },
        fingerprintHeaders: deps.fingerprintHeaders,
      }),
      ...userRolesRoutes({ roles }),
      ...userLogsRoutes({ logs }),
      ...erasureRoutes({ erasures: createErasureStore({ database, keyring }), wakeUpkeep: deps.wakeUpkeep }),
      ...codecRoutes({ decode: createPayloadCodec(deps.codecKeys).decode, accessKey: () => codecAccessKey(deps) }),
      ...keysRoutes({ ...deps, rekey: createRekey({ database, keyring }), accessKey: () => codecAccessKey(deps) }),
      ...rolesRoutes({ roles }),
      ...rolePermissionsRoutes({ permissions: createRolePermissionStore({ database, roles }), resourceServers }),
    ],
  };
}
