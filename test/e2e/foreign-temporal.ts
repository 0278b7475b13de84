import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { createDevServer, type DevServer, prepareDevServer } from '../../src/temporal/dev-server.ts';
import { devServerProgram, testPorts } from '../helpers/dev-server.ts';

/** A Temporal server that is not Usher's own, always at the same address; it does not run at first. */
export interface ForeignTemporal {
  address: string;
  start(): Promise<void>;
  /** Its data stay. */
  stop(): Promise<void>;
  /** Takes another server, with no data, into its place. */
  replaceByEmpty(): Promise<void>;
  close(): Promise<void>;
}

export async function createForeignTemporal(): Promise<ForeignTemporal> {
  const logger = pino({ level: 'silent' });
  let folder = await mkdtemp(join(tmpdir(), 'usher-e2e-temporal-'));
  const ports = await prepareDevServer({ folder, logger, preferred: testPorts() });
  const program = await devServerProgram();
  let server: DevServer | undefined;

  async function start(): Promise<void> {
    server = createDevServer({ program, folder, namespace: 'default', ports, logger, onState: () => undefined, onDataLost: () => undefined });
    await server.start();
  }

  async function stop(): Promise<void> {
    await server?.stop();
    server = undefined;
  }

  async function close(): Promise<void> {
    await stop();
    await rm(folder, { recursive: true, force: true });
  }

  return {
    address: `127.0.0.1:${ports.grpc}`,
    start,
    stop,
    async replaceByEmpty() {
      await close();
      folder = await mkdtemp(join(tmpdir(), 'usher-e2e-temporal-'));
      await start();
    },
    close,
  };
}
