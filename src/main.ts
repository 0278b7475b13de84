import { parseArgs } from 'node:util';
import { fileURLToPath } from 'node:url';
import { type Config, ConfigError, loadConfig } from './config.ts';
import { StartError } from './data-dir.ts';
import { createLogger, type Logger } from './logger.ts';
import type { RoleMessage } from './role-process.ts';
import { runApi } from './roles/api.ts';
import type { RunningRole } from './roles/role.ts';
import { runWorker } from './roles/worker.ts';
import { createSupervisor } from './supervisor.ts';

const USAGE = 'Usage: npm start [-- --role all|api|worker]';

/** The command line: what to run, and how it ends. The only place that handles signals and exits. */
async function main(): Promise<void> {
  const role = readRole();
  const config = loadConfig(process.env, process.cwd());
  const logger = createLogger({ level: config.logLevel, role: role === 'all' ? 'supervisor' : role });
  if (role === 'all') await runAll(config, logger);
  else await runRole(role, config, logger);
}

function readRole(): 'all' | 'api' | 'worker' {
  let role: string;
  try {
    role = parseArgs({ options: { role: { type: 'string', default: 'all' } } }).values.role;
  } catch (error) {
    throw new StartError(`${(error as Error).message}\n${USAGE}`);
  }
  if (role === 'all' || role === 'api' || role === 'worker') return role;
  throw new StartError(`There is no role "${role}".\n${USAGE}`);
}

async function runAll(config: Config, logger: Logger): Promise<void> {
  const supervisor = createSupervisor({
    config,
    env: process.env,
    mainPath: fileURLToPath(import.meta.url),
    logger,
    say: (line) => process.stdout.write(`${line}\n`),
    onFatal: (error) => {
      fail(error);
      void supervisor.stop().finally(() => process.exit(1));
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

async function runRole(name: 'api' | 'worker', config: Config, logger: Logger): Promise<void> {
  const supervised = process.send !== undefined;
  const tell = (message: RoleMessage): void => void process.send?.(message);
  let role: RunningRole;
  try {
    role = await (name === 'api' ? runApi : runWorker)({
      config,
      logger,
      // Only where everything runs on one machine do Actions reach the services of that machine.
      loopbackOpen: supervised,
      onReady: (facts) => tell({ type: 'ready', facts }),
    });
  } catch (error) {
    if (error instanceof StartError) {
      tell({ type: 'fatal', message: error.message });
      if (supervised) process.exit(1);
    }
    throw error;
  }
  stopOnSignals(role.stop);
  // A supervisor that was killed cannot ask: what it left behind must not run beside its successor.
  process.on('disconnect', () => process.exit(1));
  process.on('message', role.onMessage);
}

/** Ends with 0 when `stop` is done; a second signal ends at once. */
function stopOnSignals(stop: () => Promise<void>): void {
  let stopping = false;
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.on(signal, () => {
      // Ctrl-C reaches the roles from the terminal and from the supervisor: only a person's second one is meant so.
      if (stopping && process.send === undefined) process.exit(130);
      if (stopping) return;
      stopping = true;
      stop().then(() => process.exit(0), (error: unknown) => {
        fail(error);
        process.exit(1);
      });
    });
  }
}

function fail(error: unknown): void {
  const said = error instanceof StartError || error instanceof ConfigError;
  process.stderr.write(`${said ? error.message : (error as Error).stack ?? String(error)}\n`);
}

main().catch((error: unknown) => {
  fail(error);
  process.exit(1);
});
