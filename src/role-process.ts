import { type ChildProcess, fork } from 'node:child_process';
import type { Logger } from './logger.ts';

export type Role = 'api' | 'worker';

/** What a role tells its supervisor. */
export type RoleMessage =
  /** Its health and metrics are served at this origin. */
  | { type: 'ops-listening'; address: string }
  | { type: 'ready'; facts: Record<string, string> }
  /** It cannot start; the message is for people. */
  | { type: 'fatal'; message: string };

/** What the supervisor tells the role `api`: what is not at its best, by name, for `/readyz`. */
export interface StatusMessage {
  type: 'status';
  degraded: Record<string, string>;
}

/** What the supervisor tells the role `worker`: the API's port, which is only known once it listens. */
export interface ListeningMessage {
  type: 'listening';
  port: number;
}

const FIRST_PAUSE_MS = 1_000;
const MAX_PAUSE_MS = 30_000;
/** A role that has run this long starts again with the first pause. */
const STEADY_MS = 60_000;
/** Above what a stopping worker gives its attempts. */
const KILL_AFTER_MS = 15_000;

/** A role as a child process that is started again, with a growing pause, when it dies. */
export interface RoleProcess {
  start(): void;
  send(message: StatusMessage | ListeningMessage): void;
  /** Asks it to end, kills it when it does not, and resolves when it is gone. */
  stop(): Promise<void>;
}

/**
 * @param options.args further arguments of its command line.
 * @param options.onDown it has died and is started again.
 * @param options.onFatal it could not start the first time, and starting it again would not help.
 */
export function createRoleProcess(options: {
  role: Role;
  mainPath: string;
  args: string[];
  env: NodeJS.ProcessEnv;
  logger: Logger;
  onOpsListening(address: string): void;
  onReady(facts: Record<string, string>): void;
  onDown(reason: string, pauseMs: number): void;
  onFatal(message: string): void;
}): RoleProcess {
  const { role, logger } = options;
  let child: ChildProcess | null = null;
  let stopping = false;
  let hasBeenReady = false;
  let pauseMs = FIRST_PAUSE_MS;
  let timer: NodeJS.Timeout | undefined;
  let gone: Promise<void> = Promise.resolve();

  function start(): void {
    const startedAt = performance.now();
    const started = fork(options.mainPath, ['--role', role, '--supervised', ...options.args], { env: options.env, stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
    child = started;
    let why: string | undefined;
    started.on('message', (message: RoleMessage) => {
      if (message.type === 'ops-listening') {
        options.onOpsListening(message.address);
      } else if (message.type === 'ready') {
        hasBeenReady = true;
        options.onReady(message.facts);
      } else if (hasBeenReady) {
        // It ran before, so it may run again: when the disk has space again, the port is free again.
        why = `could not be started: ${message.message}`;
      } else {
        stopping = true;
        options.onFatal(message.message);
      }
    });
    gone = new Promise((resolve) => {
      let isOver = false;
      started.once('error', (error) => ended(`could not be started: ${error.message}`));
      started.once('exit', (code, signal) => ended(signal === null ? `ended with code ${code}` : `was ended by ${signal}`));
      function ended(how: string): void {
        // Node may tell both: each would start another one.
        if (isOver) return;
        isOver = true;
        if (child === started) child = null;
        resolve();
        if (stopping) return;
        const reason = why ?? how;
        if (performance.now() - startedAt > STEADY_MS) pauseMs = FIRST_PAUSE_MS;
        logger.error({ reason, again_in_ms: pauseMs }, `the ${role} ${reason}; starting it again`);
        options.onDown(reason, pauseMs);
        timer = setTimeout(start, pauseMs);
        pauseMs = Math.min(pauseMs * 2, MAX_PAUSE_MS);
      }
    });
  }

  return {
    start,
    send(message) {
      // To one that has just died it fails, which its exit tells; without a callback it would be an `error` of the child.
      if (child?.connected) child.send(message, () => undefined);
    },
    async stop() {
      stopping = true;
      clearTimeout(timer);
      const running = child;
      running?.kill('SIGTERM');
      const kill = setTimeout(() => {
        logger.warn(`the ${role} did not end in time; killed`);
        running?.kill('SIGKILL');
      }, KILL_AFTER_MS);
      await gone;
      clearTimeout(kill);
    },
  };
}
