import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from '../logger.ts';
import { isPortFree, nextFreePort } from './free-port.ts';
import { endLeftOver, recordServer } from './left-over.ts';
import { type DataLoss, DATABASE, noteServedBy, setAsideIfUnusable } from './server-database.ts';
import { messageOf, type ServerProcess, startServerProcess } from './server-process.ts';

export type { DataLoss };

export interface DevServerPorts {
  /** Of the server itself: its address is `127.0.0.1:<grpc>`. */
  grpc: number;
  /** Of the Web UI: `http://127.0.0.1:<ui>`. */
  ui: number;
}

export interface DevServerOptions {
  /** Temporal's command line; see `findServer`. */
  program: string;
  /** Keeps the server's data; see `prepareDevServer`. */
  folder: string;
  namespace: string;
  ports: DevServerPorts;
  /** Where the Web UI has payloads decrypted. */
  uiCodecEndpoint?: string;
  logger: Logger;
  /** `serving`, or in words what it does instead. */
  onState(state: string): void;
  /** The database could not be used and was set aside: what was open must be handed to Temporal again. */
  onDataLost(loss: DataLoss): void;
}

/** A Temporal development server that is started again, at the same address, when it dies. */
export interface DevServer {
  /** Resolves when it serves for the first time, however long that takes; rejects when it is stopped before. */
  start(): Promise<void>;
  /** The process that runs now. */
  pid(): number | undefined;
  /** Ends it and resolves when it is gone. */
  stop(): Promise<void>;
}

const PREFERRED_PORTS: DevServerPorts = { grpc: 7233, ui: 8233 };
const RECORD = 'server.json';
const FIRST_PAUSE_MS = 250;
const MAX_PAUSE_MS = 30_000;
/** A server that has served this long starts again with the first pause. */
const STEADY_MS = 60_000;
/** Failed starts in a row after which the database is suspected. */
const SUSPECT_AFTER = 2;

/**
 * Makes the folder, ends a development server that a killed Usher left over in it, and finds free ports: the preferred
 * ones, or the next ones up.
 *
 * @throws {ServerInUseError} when another Usher that runs has its server there.
 */
export async function prepareDevServer({ folder, logger, preferred = PREFERRED_PORTS }: {
  folder: string;
  logger: Logger;
  preferred?: DevServerPorts;
}): Promise<DevServerPorts> {
  await makeFolder(folder);
  const leftOver = await endLeftOver(join(folder, RECORD), folder);
  if (leftOver !== null) logger.warn({ pid: leftOver }, 'ended a Temporal development server left over from an earlier start');

  const ports = { grpc: await nextFreePort(preferred.grpc), ui: await nextFreePort(preferred.ui) };
  if (ports.grpc !== preferred.grpc) logger.warn({ port: ports.grpc }, `port ${preferred.grpc} is taken: Temporal is served on ${ports.grpc}`);
  if (ports.ui !== preferred.ui) logger.warn({ port: ports.ui }, `port ${preferred.ui} is taken: Temporal's Web UI is on ${ports.ui}`);
  return ports;
}

async function makeFolder(folder: string): Promise<void> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
}

/**
 * Runs a development server on what its folder holds. Before each start, a database that cannot be used is set aside
 * and a new one made. It goes on trying, with a growing pause, until `stop`; a server that lives but no longer answers
 * is left alone.
 */
export function createDevServer(options: DevServerOptions): DevServer {
  const { program, folder, namespace, ports, uiCodecEndpoint, logger } = options;
  const record = join(folder, RECORD);
  const stopping = new AbortController();
  const { promise: serving, resolve: isServing, reject: isStopped } = Promise.withResolvers<void>();
  // Nobody has to wait for it.
  serving.catch(() => undefined);
  let current: ServerProcess | undefined;
  let running: Promise<void> = Promise.resolve();

  function onLine(line: string): void {
    logger.debug({ temporal_server: line }, messageOf(line));
  }

  /** One life of the server. @returns how long it served and how it ended. */
  async function live(suspect: boolean): Promise<{ servedMs: number; end: string }> {
    // Again, because somebody may have deleted the data while the server ran.
    await makeFolder(folder);
    const loss = await setAsideIfUnusable(folder, program, suspect);
    if (loss !== null) {
      logger.error(loss, 'the database of the Temporal development server cannot be used: it is set aside and a new one made');
      options.onDataLost(loss);
    }
    for (const port of [ports.grpc, ports.ui]) {
      if (!(await isPortFree(port))) throw new Error(`another program has taken port ${port} meanwhile: end it`);
    }
    if (stopping.signal.aborted) return { servedMs: 0, end: 'stopped' };
    const server = startServerProcess({ program, folder, database: DATABASE, namespace, port: ports.grpc, uiPort: ports.ui, uiCodecEndpoint, onLine });
    current = server;
    try {
      if (server.pid !== undefined) await recordServer(record, server.pid);
      if (!(await server.serves())) return { servedMs: 0, end: await server.ended };
      const since = performance.now();
      await noteServedBy(folder, program);
      options.onState('serving');
      isServing();
      const end = await server.ended;
      return { servedMs: performance.now() - since, end };
    } finally {
      // Still running only when something above failed, e.g. on a full disk.
      await server.stop();
    }
  }

  /** Lives, one after the other, until a stop. */
  async function run(): Promise<void> {
    let pauseMs = FIRST_PAUSE_MS;
    let failedStarts = 0;
    while (!stopping.signal.aborted) {
      let reason: string;
      try {
        const { servedMs, end } = await live(failedStarts >= SUSPECT_AFTER);
        failedStarts = servedMs === 0 ? failedStarts + 1 : 0;
        if (servedMs > STEADY_MS) pauseMs = FIRST_PAUSE_MS;
        reason = `${servedMs === 0 ? 'did not start' : 'ended'} (${end})`;
      } catch (error) {
        reason = `could not be started (${error instanceof Error ? error.message : String(error)})`;
      }
      if (stopping.signal.aborted) return;
      logger.error({ again_in_ms: pauseMs }, `the Temporal development server ${reason}; starting it again`);
      options.onState(`the development server ${reason}; starting it again in ${Math.ceil(pauseMs / 1000)} s`);
      // Cut short by a stop.
      await sleep(pauseMs, undefined, { signal: stopping.signal }).catch(() => undefined);
      pauseMs = Math.min(pauseMs * 2, MAX_PAUSE_MS);
    }
  }

  return {
    async start() {
      running = run();
      await serving;
    },
    pid: () => current?.pid,
    async stop() {
      stopping.abort();
      isStopped(new Error('The Temporal development server was stopped before it served.'));
      await current?.stop();
      await running;
      await rm(record, { force: true });
    },
  };
}
