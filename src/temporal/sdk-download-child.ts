// Run as a program by sdk-download.ts: downloads with the SDK's core, starts what came as a trial, and ends.
import { Runtime } from '@temporalio/worker';
import { SDK_VERSION } from './sdk-download.ts';

type ServerConfig = Parameters<Runtime['createEphemeralServer']>[0];

const [program, folder] = process.argv.slice(2);
// The time to live does not matter: the file is moved at once.
const exe = { type: 'cached-download', downloadDir: folder ?? '.', version: 'default', ttl: 86_400_000, sdkName: 'sdk-typescript', sdkVersion: SDK_VERSION } as const;
const config: ServerConfig =
  program === 'time-skipping'
    ? { type: 'time-skipping', exe, port: null, extraArgs: [] }
    : {
        type: 'dev-server',
        exe,
        namespace: 'default',
        ip: '127.0.0.1',
        port: null,
        uiPort: null,
        dbFilename: null,
        ui: false,
        log: { format: 'json', level: 'never' },
        extraArgs: [],
      };

try {
  const runtime = Runtime.install({ shutdownSignals: [] });
  await runtime.shutdownEphemeralServer(await runtime.createEphemeralServer(config));
  await runtime.shutdown();
} catch (error) {
  process.stderr.write(`${reason(error)}\n`);
  process.exitCode = 1;
}

/** The core puts its causes into one message and repeats some. */
function reason(error: unknown): string {
  const parts = (error instanceof Error ? error.message : String(error)).split(': ');
  return parts.filter((part, i) => part !== parts[i - 1]).join(': ');
}
