import { type ChildProcess, spawn } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { giveWay, keepTo } from '../give-way.ts';
import { createClient } from './connection.ts';
import { dieWithParent } from './die-with-parent.ts';
import { SEARCH_ATTRIBUTE_NAMES } from './search-attributes.ts';
import { SERVER_SETTINGS } from './server-settings.ts';

export interface ServerProcessOptions {
  program: string;
  /** Where it runs and where its database is. */
  folder: string;
  /** File name in that folder. */
  database: string;
  namespace: string;
  port: number;
  /** Of the Web UI; null: without one. */
  uiPort: number | null;
  /** Where the Web UI has payloads decrypted. */
  uiCodecEndpoint?: string | undefined;
  /** Each line that the server says; JSON mostly. */
  onLine: (line: string) => void;
}

/** A running development server, from its start to its end. */
export interface ServerProcess {
  pid: number | undefined;
  /** Resolves when it is gone, with how it ended and its last words. */
  ended: Promise<string>;
  /** Resolves to true when it answers, to false when it is gone before; one that takes over 30 s is killed. */
  serves(): Promise<boolean>;
  /** Asks it to end, kills it after 5 s, and resolves when it is gone. */
  stop(): Promise<void>;
}

/** Each part of a task queue has an order of its own; one worker does not need four. */
const ONE_PARTITION = { 'matching.numTaskqueueReadPartitions': 1, 'matching.numTaskqueueWritePartitions': 1 };
const LAST_WORDS = 3;
const MAX_WORD_CHARS = 300;
const ASK_EVERY_MS = 100;
const ANSWER_TIMEOUT_MS = 1_000;
const START_TIMEOUT_MS = 30_000;
const KILL_AFTER_MS = 5_000;

/** Starts a Temporal development server; it dies with this process where the system can do that. */
export function startServerProcess(options: ServerProcessOptions): ServerProcess {
  const [command, args] = dieWithParent(options.program, serverArguments(options));
  const child = spawn(command, args, {
    // Relative to its folder, because in a database's name it would take `?`, `#` and `%` of a path for its own.
    cwd: options.folder,
    stdio: ['ignore', 'ignore', 'pipe'],
    // It needs none of it, neither Usher's secrets nor what is meant for a Temporal server elsewhere.
    env: {},
    // Away from the terminal's Ctrl-C, so that workers can still report to it while they stop.
    detached: true,
  });
  if (child.pid !== undefined) {
    giveWay(child.pid);
    keepTo('first', child.pid);
  }
  const lastWords = readLines(child, options.onLine);
  let gone = false;
  const ended = new Promise<string>((resolve) => {
    const end = (how: string) => {
      gone = true;
      resolve([how, ...lastWords].join('; '));
    };
    child.once('error', (error) => end(error.message));
    child.once('close', (code, signal) => end(signal === null ? `exit code ${code}` : `ended by ${signal}`));
  });

  return {
    pid: child.pid,
    ended,
    async serves() {
      const client = createClient({ address: `127.0.0.1:${options.port}`, namespace: options.namespace, security: {} });
      const answers = () =>
        client.withDeadline(Date.now() + ANSWER_TIMEOUT_MS, () => client.workflowService.describeNamespace({ namespace: options.namespace })).then(() => true, () => false);
      const tooLate = setTimeout(() => child.kill('SIGKILL'), START_TIMEOUT_MS);
      try {
        for (;;) {
          if (gone) return false;
          if (await Promise.race([answers(), ended.then(() => false)])) return true;
          await sleep(ASK_EVERY_MS);
        }
      } finally {
        clearTimeout(tooLate);
        await client.connection.close();
      }
    },
    async stop() {
      child.kill('SIGTERM');
      const kill = setTimeout(() => child.kill('SIGKILL'), KILL_AFTER_MS);
      await ended;
      clearTimeout(kill);
    },
  };
}

function serverArguments({ database, namespace, port, uiPort, uiCodecEndpoint }: ServerProcessOptions): string[] {
  return [
    'server', 'start-dev',
    '--db-filename', database,
    '--namespace', namespace,
    '--ip', '127.0.0.1',
    '--port', String(port),
    ...(uiPort === null ? ['--headless'] : ['--ui-port', String(uiPort)]),
    ...(uiCodecEndpoint === undefined ? [] : ['--ui-codec-endpoint', uiCodecEndpoint]),
    // Three to five times the workflows per second. A power cut can take back the last moments, as it may: the ledger
    // knows what was done and starts again what is open.
    '--sqlite-pragma', 'journal_mode=wal',
    '--sqlite-pragma', 'synchronous=normal',
    '--log-level', 'error',
    '--log-format', 'json',
    ...SEARCH_ATTRIBUTE_NAMES.flatMap((name) => ['--search-attribute', `${name}=Keyword`]),
    // It would ask the internet for newer versions.
    '--dynamic-config-value', 'frontend.enableServerVersionCheck=false',
    ...Object.entries({ ...SERVER_SETTINGS, ...ONE_PARTITION }).flatMap(([name, value]) => ['--dynamic-config-value', `${name}=${value}`]),
  ];
}

/** @returns the last lines, kept up to date. */
function readLines(child: ChildProcess, onLine: (line: string) => void): string[] {
  const lastWords: string[] = [];
  let rest = '';
  child.stderr?.setEncoding('utf8').on('data', (chunk: string) => {
    const lines = (rest + chunk).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) {
      lastWords.push(messageOf(line).slice(0, MAX_WORD_CHARS));
      if (lastWords.length > LAST_WORDS) lastWords.shift();
      onLine(line);
    }
  });
  return lastWords;
}

/** The message of a JSON log line; any other line as it is. */
export function messageOf(line: string): string {
  try {
    const entry = JSON.parse(line) as { msg?: unknown };
    return typeof entry.msg === 'string' ? entry.msg : line;
  } catch {
    return line;
  }
}
