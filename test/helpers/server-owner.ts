// Run as a process by the tests of the development server: another Usher that owns one, and is then killed.
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { pino } from 'pino';
import { createClient } from '../../src/temporal/connection.ts';
import { createDevServer } from '../../src/temporal/dev-server.ts';
import { recordServer } from '../../src/temporal/left-over.ts';

const [mode, folder = '', program = '', grpc, ui] = process.argv.slice(2);
const ignore = (): void => undefined;
const ports = { grpc: Number(grpc), ui: Number(ui) };

if (mode === 'run') {
  const server = createDevServer({ program, folder, namespace: 'default', ports, logger: pino({ level: 'silent' }), onState: ignore, onDataLost: ignore });
  await server.start();
  process.stdout.write(`${server.pid()}\n`);
} else {
  // As on a system where a process cannot be made to die with its parent.
  const args = ['server', 'start-dev', '--db-filename', 'temporal.db', '--ip', '127.0.0.1', '--port', String(ports.grpc), '--ui-port', String(ports.ui)];
  const server = spawn(program, args, { cwd: folder, stdio: 'ignore', detached: true });
  await recordServer(join(folder, 'server.json'), server.pid!);
  const { connection } = createClient({ address: `127.0.0.1:${ports.grpc}`, namespace: 'default', security: {} });
  while (!(await connection.workflowService.describeNamespace({ namespace: 'default' }).catch(() => null)));
  process.stdout.write(`${server.pid}\n`);
}
process.stdin.resume();
