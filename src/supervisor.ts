import { writeFile } from 'node:fs/promises';
import type { Config } from './config.ts';
import { dataPaths, prepareDataDir, StartError } from './data-dir.ts';
import { openInstallation, takeLock } from './installation.ts';
import type { Logger } from './logger.ts';
import type { Lock } from './store/lock.ts';
import { createRoleProcess, type Role } from './role-process.ts';
import { createDevServer, type DevServer, type DevServerPorts, prepareDevServer } from './temporal/dev-server.ts';
import { findServer } from './temporal/find-server.ts';
import { anyFreePort, isPortFree, nextFreePort } from './temporal/free-port.ts';

const DEFAULT_PORT = 3000;

/** What a running Usher is reached by; also kept as JSON in the data directory, for the demo and for scripts. */
export interface RunningUsher {
  pid: number;
  api: string;
  webUi: string | null;
  clientId: string;
  clientSecretFile: string;
}

/** The main job on one machine: the roles `api` and `worker` as processes of their own, beside a development server. */
export interface Supervisor {
  /** Resolves when sign-ups are served. Temporal and the worker may take longer. */
  start(): Promise<void>;
  /** Ends everything in order: no new work, running attempts, then Temporal. */
  stop(): Promise<void>;
}

/**
 * @param options.say where people read: one call a line.
 * @param options.onFatal a role cannot start, and starting it again would not help.
 */
export function createSupervisor(options: {
  config: Config;
  env: NodeJS.ProcessEnv;
  mainPath: string;
  logger: Logger;
  say(line: string): void;
  onFatal(error: Error): void;
}): Supervisor {
  const { config, logger, say } = options;
  /** What is not at its best, by name; the role `api` shows it in `/readyz`. */
  const degraded: Record<string, string> = { worker: 'starting' };
  const ending = new AbortController();
  const roles: Partial<Record<Role, ReturnType<typeof createRoleProcess>>> = {};
  let lock: Lock | undefined;
  let devServer: DevServer | undefined;
  let temporalTask: Promise<void> = Promise.resolve();

  function setStatus(name: string, state: string | null): void {
    if (state === null) delete degraded[name];
    else degraded[name] = state;
    roles.api?.send({ type: 'status', degraded });
  }

  /** The API's port: the given one (0: any), else 3000 or the next free one. */
  async function choosePort(): Promise<number> {
    // Chosen here and not by the role, so that a role that is started again serves where the one before did.
    if (config.port === 0) return await anyFreePort(config.host);
    if (config.port !== null) {
      if (await isPortFree(config.port, config.host)) return config.port;
      throw new StartError(`Port ${config.port} (USHER_PORT) is in use: end what listens there, or set USHER_PORT to another one.`);
    }
    const port = await nextFreePort(DEFAULT_PORT, config.host);
    if (port !== DEFAULT_PORT) say(`Port ${DEFAULT_PORT} is in use; taking ${port}. Set USHER_PORT to choose another one.`);
    return port;
  }

  async function runTemporal(ports: DevServerPorts): Promise<void> {
    const server = await findServer({ address: null, env: options.env, cacheDir: config.cacheDir, output: process.stderr, signal: ending.signal });
    if (server.kind === 'address') throw new TypeError('a server was found where none was given');
    devServer = createDevServer({
      program: server.program,
      folder: dataPaths(config.dataDir).temporal,
      namespace: config.temporal.namespace,
      ports,
      logger,
      onState: (state) => setStatus('temporal', state === 'serving' ? null : state),
      onDataLost: ({ reason, movedTo }) => say(`Temporal's database could not be used (${reason}): it is kept as ${movedTo}, a new one was made, and what was open starts again from the ledger.`),
    });
    await devServer.start();
    say(`Temporal serves; its Web UI is http://127.0.0.1:${ports.ui}`);
  }

  function startRole(role: Role, env: NodeJS.ProcessEnv): Promise<Record<string, string>> {
    return new Promise((resolve) => {
      const process = createRoleProcess({
        role,
        mainPath: options.mainPath,
        env,
        logger,
        onReady: (facts) => {
          if (role === 'worker') setStatus('worker', null);
          else process.send({ type: 'status', degraded });
          resolve(facts);
        },
        onDown: (reason, pauseMs) => {
          if (role === 'worker') setStatus('worker', `it ${reason}, starting again in ${Math.ceil(pauseMs / 1000)} s`);
        },
        onFatal: (message) => options.onFatal(new StartError(message)),
      });
      roles[role] = process;
      process.start();
    });
  }

  return {
    async start() {
      const paths = await prepareDataDir(config.dataDir);
      lock = await takeLock(paths.supervisorLock, false);
      // What is wrong with the data directory is said here, once, before any process is started.
      await (await openInstallation(config)).close();

      const port = await choosePort();
      const own = config.temporal.address === null;
      const ports = own ? await prepareDevServer({ folder: paths.temporal, logger }) : null;
      const env = {
        ...options.env,
        USHER_PORT: String(port),
        ...(ports === null ? {} : { TEMPORAL_ADDRESS: `127.0.0.1:${ports.grpc}` }),
      };
      if (ports !== null) degraded['temporal'] = 'starting';
      const apiReady = startRole('api', env);
      if (ports !== null) {
        temporalTask = runTemporal(ports).catch((error: unknown) => {
          if (ending.signal.aborted) return;
          setStatus('temporal', 'not available: registrations wait in the outbox');
          say(error instanceof Error ? error.message : String(error));
        });
      }
      void startRole('worker', env).then(() => say('Ready: registrations run.'));

      const facts = await apiReady;
      const running: RunningUsher = {
        pid: process.pid,
        api: facts['address']!,
        webUi: ports === null ? null : `http://127.0.0.1:${ports.ui}`,
        clientId: facts['clientId']!,
        clientSecretFile: paths.clientSecret,
      };
      await writeFile(paths.running, JSON.stringify(running, null, 2));
      sayHello(say, { running, isolation: facts['isolation']!, secretGiven: config.clientSecret !== null, temporalAddress: config.temporal.address });
    },

    async stop() {
      ending.abort(new Error('Usher is stopping'));
      await roles.api?.stop();
      await roles.worker?.stop();
      await temporalTask;
      await devServer?.stop();
      lock?.release();
    },
  };
}

function sayHello(
  say: (line: string) => void,
  { running, isolation, secretGiven, temporalAddress }: { running: RunningUsher; isolation: string; secretGiven: boolean; temporalAddress: string | null },
): void {
  say('');
  say('Usher serves sign-ups.');
  say(`  API        ${running.api}`);
  say(`  Web UI     ${running.webUi ?? `that of the Temporal server at ${temporalAddress}`}`);
  say(`  Client     ${running.clientId} (the secret is ${secretGiven ? 'in USHER_CLIENT_SECRET' : `in ${running.clientSecretFile}`})`);
  for (const [index, wall] of isolation.split('\n').entries()) say(`  ${index === 0 ? 'Isolation' : '         '}  ${wall}`);
  say('  Sign up    ' + [
    `curl ${running.api}/dbconnections/signup -H 'content-type: application/json'`,
    `-d '{"connection":"Username-Password-Authentication","email":"ada@example.com","password":"Correct-Horse-7"}'`,
  ].join(' '));
  say('');
}
