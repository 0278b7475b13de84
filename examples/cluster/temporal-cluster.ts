import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { WorkflowNotFoundError } from '@temporalio/client';
import proto from '@temporalio/proto';
import { createClient } from '../../src/temporal/connection.ts';
import { dieWithParent } from '../../src/temporal/die-with-parent.ts';
import { nextFreePort } from '../../src/temporal/free-port.ts';
import { SERVER_SETTINGS } from '../../src/temporal/server-settings.ts';
import { DATABASES, type Service, type ServicePorts, SERVICES, serverConfig, sqlToolArguments } from './temporal-config.ts';
import type { TemporalPrograms } from './temporal-programs.ts';

const run = promisify(execFile);
const START_PATIENCE_MS = 120_000;
const CALL_TIMEOUT_MS = 5_000;
const LAST_WORDS = 2_000;
/** As a process manager does it. */
const RESPAWN_MS = 500;
const RETENTION_S = 3 * 24 * 3600;

/** A Temporal cluster of four processes, one for each service, which are started again when they end by themselves and die with this one. */
export interface TemporalCluster {
  /** Of the frontend. */
  address: string;
  namespace: string;
  /** Ends one service at once, as a crash would. @returns its process id. @throws when it was dead before. */
  kill(service: Service): Promise<number>;
  /** Starts one that was killed. */
  start(service: Service): void;
  /** Resolves when the namespace answers and workflows can be started. */
  serves(): Promise<void>;
  stop(): Promise<void>;
}

/**
 * Starts the four services on a PostgreSQL server, making databases, tables and namespace where they are missing.
 *
 * @param options.folder for its configuration.
 * @param options.port from which on its ports lie.
 * @throws when it does not serve within two minutes, with what its services said last.
 */
export async function startTemporalCluster(options: {
  programs: TemporalPrograms;
  postgresPort: number;
  folder: string;
  port: number;
  namespace: string;
}): Promise<TemporalCluster> {
  const { programs, postgresPort, folder, namespace } = options;
  await prepareTables(programs.sqlTool, postgresPort);
  const ports = await choosePorts(options.port);
  const config = join(folder, 'config');
  await mkdir(config, { recursive: true });
  const dynamicConfig = join(config, 'dynamic.yaml');
  // JSON is YAML.
  await writeFile(dynamicConfig, JSON.stringify(Object.fromEntries(Object.entries(SERVER_SETTINGS).map(([name, value]) => [name, [{ value }]]))));
  await writeFile(join(config, 'cluster.yaml'), serverConfig({ ports, postgresPort, dynamicConfig }));

  const services = new Map<Service, ChildProcess>();
  /** To be started again when they end by themselves. */
  const wanted = new Set<Service>();
  const said = new Map<Service, string>();
  const lastWords = (): string => SERVICES.map((service) => `${service}: ${said.get(service) ?? ''}`).join('\n');

  function start(service: Service): void {
    const [command, args] = dieWithParent(programs.server, ['--root', folder, '--config', 'config', '--env', 'cluster', '--allow-no-auth', 'start', '--service', service]);
    const child = spawn(command, args, { cwd: folder, env: {}, stdio: ['ignore', 'pipe', 'pipe'] });
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (chunk: Buffer) => {
        said.set(service, `${said.get(service) ?? ''}${chunk.toString()}`.slice(-LAST_WORDS));
      });
    }
    services.set(service, child);
    wanted.add(service);
    child.once('exit', () => {
      if (wanted.has(service)) setTimeout(() => wanted.has(service) && !isAlive(services.get(service)!) && start(service), RESPAWN_MS).unref();
    });
  }

  async function kill(service: Service): Promise<number> {
    const child = services.get(service);
    if (child?.pid === undefined || !isAlive(child)) throw new Error(`Temporal's ${service} service is dead. It said:\n${said.get(service)}`);
    wanted.delete(service);
    const exited = once(child, 'exit');
    child.kill('SIGKILL');
    await exited;
    return child.pid;
  }

  const address = `127.0.0.1:${ports.frontend.grpc}`;
  const client = createClient({ address, namespace, security: {} });
  const call = <T>(request: () => Promise<T>): Promise<T> => client.withDeadline(Date.now() + CALL_TIMEOUT_MS, request);

  async function serves(): Promise<void> {
    const giveUpAt = performance.now() + START_PATIENCE_MS;
    for (;;) {
      try {
        await call(() => client.workflowService.describeNamespace({ namespace }).catch(async () => {
          await client.workflowService.registerNamespace({ namespace, workflowExecutionRetentionPeriod: { seconds: RETENTION_S as never } });
        }));
        // The frontend answers for the namespace alone; whether there is such a workflow is for history to say, and what a
        // task queue has for matching.
        await call(() => client.workflow.getHandle('none').describe()).catch((error: unknown) => {
          if (!(error instanceof WorkflowNotFoundError)) throw error;
        });
        await call(() => client.workflowService.describeTaskQueue({ namespace, taskQueue: { name: 'none' }, taskQueueType: proto.temporal.api.enums.v1.TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW }));
        return;
      } catch (error) {
        if (performance.now() > giveUpAt) throw new Error(`The Temporal cluster does not serve (${(error as Error).message}). Its services said:\n${lastWords()}`, { cause: error });
      }
      await sleep(250);
    }
  }

  for (const service of SERVICES) start(service);
  const cluster: TemporalCluster = {
    address,
    namespace,
    kill,
    start,
    serves,
    async stop() {
      await client.connection.close();
      wanted.clear();
      await Promise.all([...services].filter(([, child]) => isAlive(child)).map(([service]) => kill(service)));
    },
  };
  try {
    await serves();
    return cluster;
  } catch (error) {
    await cluster.stop();
    throw error;
  }
}

function isAlive(child: ChildProcess): boolean {
  return child.exitCode === null && child.signalCode === null;
}

/** What is there already is brought to this version's tables, or left as it is. */
async function prepareTables(sqlTool: string, postgresPort: number): Promise<void> {
  for (const [kind, database] of Object.entries(DATABASES)) {
    const tool = (...args: string[]) => run(sqlTool, [...sqlToolArguments(postgresPort, database), ...args], { env: {} });
    await tool('create-database');
    await tool('setup-schema', '--version', '0.0').catch((error: Error) => {
      // Made by an earlier start; another failure shows in the update.
      if (!/already exists/i.test(error.message)) throw error;
    });
    await tool('update-schema', '--schema-name', `postgresql/v12/${kind === 'default' ? 'temporal' : 'visibility'}`);
  }
}

async function choosePorts(from: number): Promise<ServicePorts> {
  const ports: Partial<ServicePorts> = {};
  let next = from;
  const take = async (): Promise<number> => {
    const port = await nextFreePort(next);
    next = port + 1;
    return port;
  };
  for (const service of SERVICES) ports[service] = { grpc: await take(), membership: await take() };
  return ports as ServicePorts;
}
