import { parseArgs } from 'node:util';
import { fileURLToPath } from 'node:url';
import { type Config, ConfigError, loadConfig } from './config.ts';
import { giveWayToApi, keepTo } from './give-way.ts';
import { createLogger, type Logger } from './logger.ts';
import { dataPaths } from './data-dir.ts';
import type { Role, RoleMessage } from './role-process.ts';
import type { RunningRole } from './roles/role.ts';
import { asStartError, StartError } from './start-error.ts';
import { prepareTls } from './tls/tls.ts';

const USAGE = 'Usage: npm start [-- [--role all|api|worker] [--https]]';
/** One Ctrl-C arrives up to three times: from the terminal, from npm, and from the supervisor. */
const SAME_SIGNAL_MS = 500;

/** The command line: what to run, and how it ends. The only place that handles signals and exits. */
async function main(): Promise<void> {
  outliveReaders();
  const { role, supervised, https } = readArguments();
  const config = loadConfig(process.env, process.cwd());
  if (https && config.ownCertificate !== null) {
    throw new StartError('--https makes a certificate, and USHER_TLS_CERT names one: use one of the two.');
  }
  const logger = createLogger({ level: config.logLevel, role: role === 'all' ? 'supervisor' : role });
  try {
    if (role === 'all') await runAll({ config, logger, https });
    else await runRole(role, { config, logger, supervised, https });
  } catch (error) {
    throw explain(error, config);
  }
}

/** `--supervised` is for the supervisor alone; an IPC channel does not tell, as process managers make one too. */
function readArguments(): { role: 'all' | Role; supervised: boolean; https: boolean } {
  let values: { role: string; supervised: boolean; https: boolean };
  try {
    const off = { type: 'boolean', default: false } as const;
    const options = { role: { type: 'string', default: 'all' }, supervised: off, https: off } as const;
    ({ values } = parseArgs({ options }));
  } catch (error) {
    throw new StartError(`${(error as Error).message}\n${USAGE}`);
  }
  const { role } = values;
  if (role === 'all' || role === 'api' || role === 'worker') return { ...values, role };
  throw new StartError(`There is no role "${role}".\n${USAGE}`);
}

async function runAll({ config, logger, https }: { config: Config; logger: Logger; https: boolean }): Promise<void> {
  const { createSupervisor } = await import('./supervisor.ts');
  let failed = false;
  const supervisor = createSupervisor({
    config,
    https,
    env: process.env,
    mainPath: fileURLToPath(import.meta.url),
    logger,
    say: (line) => process.stdout.write(`${line}\n`),
    onFatal: (error) => {
      // The second role fails for the same reason.
      if (failed) return;
      failed = true;
      fail(error);
      supervisor.stop().then(() => process.exit(1), exitWith);
    },
  });
  stopOnSignals(() => {
    process.stdout.write('Stopping: no new work, running attempts get up to 10 s.\n');
    return supervisor.stop();
  });
  try {
    await supervisor.start();
  } catch (error) {
    await supervisor.stop();
    throw error;
  }
}

async function runRole(
  name: Role,
  { config, logger, supervised, https }: { config: Config; logger: Logger; supervised: boolean; https: boolean },
): Promise<void> {
  let role: RunningRole | undefined;
  // Before it has started there is nothing to wait for.
  stopOnSignals(async () => await role?.stop(), { supervised });
  // A supervisor that was killed cannot ask: what it left behind must not run beside its successor.
  if (supervised) {
    process.on('disconnect', () => process.exit(1));
    // It was killed while this code was loaded.
    if (!process.connected) process.exit(1);
    if (name === 'worker') giveWayToApi();
    else keepTo('last', process.pid);
  }
  try {
    // Each process loads what it runs: the worker's native core is of no use to the others.
    const run = name === 'api' ? (await import('./roles/api.ts')).runApi : (await import('./roles/worker.ts')).runWorker;
    const paths = dataPaths(config.dataDir).tls;
    role = await run({
      config,
      logger,
      tls: await prepareTls({
        https,
        own: config.ownCertificate,
        extraCaCerts: config.extraCaCerts,
        paths,
        hosts: [config.host, ...(config.publicUrl === null ? [] : [new URL(config.publicUrl).hostname])],
      }),
      // Only where everything runs on one machine do Actions reach the services of that machine.
      loopbackOpen: supervised,
      onOpsListening(address) {
        if (supervised) tell({ type: 'ops-listening', address });
        else logger.info({ address }, `the role ${name} serves /healthz, /readyz and /metrics`);
      },
      onReady(facts) {
        if (supervised) tell({ type: 'ready', facts });
        else logger.info({ ...facts, ...(https ? { NODE_EXTRA_CA_CERTS: paths.ca } : {}) }, `the role ${name} is ready`);
      },
      onFailed(error) {
        logger.fatal({ err: error }, `the role ${name} failed`);
        Promise.resolve(role?.stop()).then(() => process.exit(1), exitWith);
      },
    });
  } catch (error) {
    const said = explain(error, config);
    if (!supervised || !(said instanceof StartError)) throw error;
    tell({ type: 'fatal', message: said.message }, () => process.exit(1));
    return;
  }
  if (supervised) process.on('message', role.onMessage);
}

function tell(message: RoleMessage, whenSent?: () => void): void {
  process.send?.(message, undefined, undefined, whenSent);
}

/** Ends with 0 when `stop` is done; a second Ctrl-C ends at once. */
function stopOnSignals(stop: () => Promise<void>, { supervised = false } = {}): void {
  let stoppingSince: number | undefined;
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.on(signal, () => {
      if (stoppingSince !== undefined) {
        // A role is ended by its supervisor, or with it.
        if (!supervised && performance.now() - stoppingSince > SAME_SIGNAL_MS) process.exit(130);
        return;
      }
      stoppingSince = performance.now();
      stop().then(() => process.exit(0), exitWith);
    });
  }
}

/** Whoever reads the output may go first (`npm start | head`, `| tee` at a Ctrl-C): no reason to end, or not in order. */
function outliveReaders(): void {
  for (const stream of [process.stdout, process.stderr]) {
    stream.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code !== 'EPIPE') throw error;
    });
  }
}

function explain(error: unknown, { dataDir }: Config): unknown {
  return asStartError(error, (error as NodeJS.ErrnoException).path ?? `The data directory ${dataDir}`);
}

function exitWith(error: unknown): void {
  fail(error);
  process.exit(1);
}

function fail(error: unknown): void {
  const said = error instanceof StartError || error instanceof ConfigError;
  process.stderr.write(`${said ? error.message : (error as Error).stack ?? String(error)}\n`);
}

main().catch(exitWith);
