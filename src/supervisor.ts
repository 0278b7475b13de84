import { once } from 'node:events';
import { existsSync, renameSync, writeFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { type Config, DEFAULT_PORT } from './config.ts';
import { dataPaths, prepareDataDir } from './data-dir.ts';
import { openInstallation, takeLock } from './installation.ts';
import type { Logger } from './logger.ts';
import { createRoleProcess, type Role } from './role-process.ts';
import { StartError } from './start-error.ts';
import { codecAccessKey, createCodecKeys } from './store/codec-keys.ts';
import type { Lock } from './store/lock.ts';
import { type ClaimedPorts, claimTemporalPorts } from './temporal-ports.ts';
import { createDevServer, type DevServer, type DevServerPorts } from './temporal/dev-server.ts';
import { findServer } from './temporal/find-server.ts';

/** What a running Usher is reached by; also kept as JSON in the data directory, for the demo and for scripts. */
export interface RunningUsher {
  pid: number;
  api: string;
  webUi: string | null;
  /** Where each role serves `/healthz`, `/readyz` and `/metrics`. */
  ops: Partial<Record<Role, string>>;
  clientId: string;
  clientSecretFile: string;
  /** The certificate of the authority to trust, with `--https`. */
  caFile?: string;
}

/** The main job on one machine: the roles `api` and `worker` as processes of their own, beside a development server. */
export interface Supervisor {
  /** Resolves when sign-ups are served. Temporal and the worker may take longer. */
  start(): Promise<void>;
  /** Ends everything in order: the roles, which let running attempts end, then Temporal. */
  stop(): Promise<void>;
}

/**
 * @param options.https the API serves HTTPS with a certificate under an authority of its own.
 * @param options.say where people read: one call a line.
 * @param options.onFatal a role cannot start, and starting it again would not help.
 */
export function createSupervisor(options: {
  config: Config;
  https: boolean;
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
  let apiPort: number | undefined;
  let lock: Lock | undefined;
  /** Null with a Temporal server elsewhere. */
  let ports: ClaimedPorts | null = null;
  let devServer: DevServer | undefined;
  /** What is written for scripts; null before sign-ups are served. */
  let running: RunningUsher | null = null;
  const ops: RunningUsher['ops'] = {};
  let temporalTask: Promise<void> = Promise.resolve();

  function setStatus(name: string, state: string | null): void {
    if (state === null) delete degraded[name];
    else degraded[name] = state;
    roles.api?.send({ type: 'status', degraded });
  }

  /** Whichever of the two roles is there first: the worker's Actions may connect to the API. */
  function tellPort(): void {
    if (apiPort !== undefined) roles.worker?.send({ type: 'listening', port: apiPort });
  }

  /** @param codecEndpoint not before the API listens. */
  async function runTemporal(ports: DevServerPorts, codecEndpoint: Promise<string>): Promise<void> {
    const server = await findServer({ address: null, env: options.env, cacheDir: config.cacheDir, output: process.stderr, signal: ending.signal });
    if (server.kind === 'address') throw new TypeError('a server was found where none was given');
    ending.signal.throwIfAborted();
    const uiCodecEndpoint = await Promise.race([codecEndpoint, once(ending.signal, 'abort').then(() => '')]);
    ending.signal.throwIfAborted();
    devServer = createDevServer({
      program: server.program,
      folder: dataPaths(config.dataDir).temporal,
      namespace: config.temporal.namespace,
      ports,
      uiCodecEndpoint,
      logger,
      onState: (state) => setStatus('temporal', state === 'serving' ? null : state),
      onDataLost: ({ reason, movedTo }) => say(`Temporal's database could not be used (${reason}): it is kept as ${movedTo}, a new one was made, and what was open starts again from the ledger.`),
    });
    await devServer.start();
    say(`Temporal serves; its Web UI is ${webUiOf(ports)}`);
  }

  function writeRunning(facts: RunningUsher): void {
    const { running: file } = dataPaths(config.dataDir);
    // Renamed: a script may read it at any moment.
    writeFileSync(`${file}.half`, JSON.stringify(facts, null, 2));
    renameSync(`${file}.half`, file);
  }

  /** Also when a role was started again: it may have another port. */
  function tellOps(role: Role, address: string): void {
    ops[role] = address;
    if (running === null) return;
    try {
      writeRunning(running);
    } catch (error) {
      // A disk that is full just now does not end what runs.
      logger.warn({ err: error, role, address }, 'where a role serves its metrics could not be written to running.json');
    }
  }

  function startRole(role: Role, env: NodeJS.ProcessEnv): Promise<Record<string, string>> {
    return new Promise((resolve) => {
      const process = createRoleProcess({
        role,
        mainPath: options.mainPath,
        args: options.https ? ['--https'] : [],
        env,
        logger,
        onOpsListening: (address) => tellOps(role, address),
        onReady: (facts) => {
          if (role === 'worker') {
            setStatus('worker', null);
            tellPort();
          } else {
            process.send({ type: 'status', degraded });
          }
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
      const installation = await openInstallation(config);
      const accessKey = await codecAccessKey({ ...installation, codecKeys: createCodecKeys(installation) });
      await installation.close();

      ports = config.temporal.address === null ? await claimTemporalPorts({ folder: paths.temporal, logger }) : null;
      const env = roleEnv(options.env, ports, config.temporal.namespace);
      const workerEnv = { ...env, ...opsPortOfWorker(config.opsPort) };
      if (ports !== null) degraded['temporal'] = 'starting';
      const apiReady = startRole('api', env);
      if (ports !== null) {
        temporalTask = runTemporal(ports, apiReady.then(({ address }) => `${config.publicUrl ?? address}/usher/codec/${accessKey}`)).catch((error: unknown) => {
          if (ending.signal.aborted) return;
          setStatus('temporal', 'not available: registrations wait in the outbox');
          say(error instanceof Error ? error.message : String(error));
        });
      }
      void startRole('worker', workerEnv).then(() => say('Ready: registrations run.'));

      const facts = await apiReady;
      const port = facts['port']!;
      if (config.port === null && port !== String(DEFAULT_PORT)) {
        say(`Port ${DEFAULT_PORT} is in use; taking ${port}. Set USHER_PORT to choose another one.`);
      }
      apiPort = Number(port);
      tellPort();
      // When it is started again, it serves where it did before.
      env['USHER_PORT'] = port;
      running = {
        pid: process.pid,
        api: facts['address']!,
        webUi: ports === null ? config.temporalUiUrl : webUiOf(ports),
        ops,
        clientId: facts['clientId']!,
        clientSecretFile: paths.clientSecret,
        ...(options.https ? { caFile: paths.tls.ca } : {}),
      };
      writeRunning(running);
      sayHello(say, { running, messages: facts['messages'], isolation: facts['isolation']!, secretGiven: config.clientSecret !== null, temporalAddress: config.temporal.address, publicUrl: config.publicUrl });
    },

    async stop() {
      ending.abort(new Error('Usher is stopping'));
      // Both at once, as Ctrl-C does it: a role that ends unasked would be started again.
      await Promise.all([roles.api?.stop(), roles.worker?.stop()]);
      await devServer?.stop();
      await temporalTask;
      ports?.release();
      if (lock !== undefined) await rm(dataPaths(config.dataDir).running, { force: true });
      lock?.release();
    },
  };
}

/** A role's environment. What is meant for a Temporal server elsewhere must not reach for the development server. */
function roleEnv(env: NodeJS.ProcessEnv, ports: DevServerPorts | null, namespace: string): NodeJS.ProcessEnv {
  if (ports === null) return { ...env };
  const others = Object.entries(env).filter(([name]) => !name.startsWith('TEMPORAL_'));
  return { ...Object.fromEntries(others), TEMPORAL_ADDRESS: `127.0.0.1:${ports.grpc}`, TEMPORAL_NAMESPACE: namespace, USHER_TEMPORAL_UI_URL: webUiOf(ports) };
}

function webUiOf(ports: DevServerPorts): string {
  return `http://127.0.0.1:${ports.ui}`;
}

/** The one after the API's; where no port was named, each role finds a free one. */
function opsPortOfWorker(port: number | null): { USHER_OPS_PORT?: string } {
  return port === null || port === 0 ? {} : { USHER_OPS_PORT: String(port + 1) };
}

function sayHello(
  say: (line: string) => void,
  { running, messages, isolation, secretGiven, temporalAddress, publicUrl }: { running: RunningUsher; messages: string | undefined; isolation: string; secretGiven: boolean; temporalAddress: string | null; publicUrl: string | null },
): void {
  const secret = secretGiven ? 'in USHER_CLIENT_SECRET' : existsSync(running.clientSecretFile) ? `in ${running.clientSecretFile}` : 'the one given to an earlier start';
  say('');
  say('Usher serves sign-ups.');
  say(`  API        ${running.api}`);
  if (publicUrl !== null) say(`  Public     ${publicUrl}`);
  if (running.caFile !== undefined) say(`  Trust      NODE_EXTRA_CA_CERTS=${running.caFile}`);
  say(`  Web UI     ${running.webUi ?? `that of the Temporal server at ${temporalAddress}`}`);
  say(`  Client     ${running.clientId} (the secret is ${secret})`);
  say(`  Metrics    ${Object.entries(running.ops).map(([role, origin]) => `${origin}/metrics (${role})`).join(', ')}`);
  if (messages !== undefined) say(`  Messages   ${messages}`);
  for (const [index, wall] of isolation.split('\n').entries()) say(`  ${index === 0 ? 'Isolation' : '         '}  ${wall}`);
  say('  Sign up    ' + [
    `curl ${running.caFile === undefined ? '' : `--cacert ${running.caFile} `}${running.api}/dbconnections/signup -H 'content-type: application/json'`,
    `-d '{"connection":"Username-Password-Authentication","email":"ada@example.com","password":"Correct-Horse-7"}'`,
  ].join(' '));
  say('');
}
