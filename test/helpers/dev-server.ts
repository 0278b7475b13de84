import type { Client } from '@temporalio/client';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { loadConfig } from '../../src/config.ts';
import { createClient } from '../../src/temporal/connection.ts';
import { createDevServer, prepareDevServer } from '../../src/temporal/dev-server.ts';
import { findServer } from '../../src/temporal/find-server.ts';

/** A real development server of a test file's own, with its data in a folder that goes with it. */
export interface TestDevServer {
  address: string;
  uiUrl: string;
  namespace: string;
  client: Client;
  stop(): Promise<void>;
}

/** Where the fetched servers are kept: outside the clone, shared with Usher itself. */
export function testCacheDir(): string {
  const { HOME, XDG_CACHE_HOME } = process.env;
  return loadConfig({ HOME, XDG_CACHE_HOME }, process.cwd()).cacheDir;
}

/** Temporal's command line, fetched or built when it is not there yet (minutes, once). */
export async function devServerProgram(): Promise<string> {
  const found = await findServer({ address: null, env: process.env, cacheDir: testCacheDir(), output: process.stderr });
  if (found.kind !== 'program') throw new Error('no address was given, and yet one was found');
  return found.program;
}

/** Starts a development server on free ports, away from those of a running Usher. The caller stops it. */
export async function startTestDevServer(namespace = 'default'): Promise<TestDevServer> {
  const folder = await mkdtemp(join(tmpdir(), 'usher-temporal-'));
  const logger = pino({ level: 'silent' });
  const ports = await prepareDevServer({ folder, logger, preferred: testPorts() });
  const server = createDevServer({
    program: await devServerProgram(),
    folder,
    namespace,
    ports,
    logger,
    onState: () => undefined,
    onDataLost: ({ reason }) => {
      throw new Error(`a fresh development server has lost its data: ${reason}`);
    },
  });
  await server.start();
  const address = `127.0.0.1:${ports.grpc}`;
  const client = createClient({ address, namespace, security: {} });
  return {
    address,
    uiUrl: `http://127.0.0.1:${ports.ui}`,
    namespace,
    client,
    async stop() {
      await client.connection.close();
      await server.stop();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** Preferred ports, different in each process, so that test files at once seldom want the same. */
export function testPorts(): { grpc: number; ui: number } {
  const grpc = 21_000 + ((process.pid * 40) % 8_000);
  return { grpc, ui: grpc + 20 };
}
