import { realpath, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { Invocation, InvocationResult, LogLine, RunnableVersion } from '../domain/invocation.ts';
import { giveWay } from '../give-way.ts';
import type { Logger } from '../logger.ts';
import { createBroker } from './broker.ts';
import { createEgressPolicy, type EgressOptions, type OwnAddress } from './egress-policy.ts';
import { describeIsolation, findIsolation, SANDBOX_UID } from './isolation.ts';
import { placeRunnerFiles } from './runner-files.ts';
import { SandboxProcess } from './sandbox-process.ts';
import { type MemoryLimits, spawnCommand } from './spawn-command.ts';
import { createTurns, type Turn } from './turns.ts';

/** What an Action leaks in module scope must end some time. */
const DEFAULT_MAX_USES = 500;
const MAX_IDLE_MS = 5 * 60_000;
/** Kept warm beside those at work; one costs about 10 to 20 MB of its own. */
const MAX_WARM = 16;
/** At 5 GB/s of page faults a process passes its limit by half a gigabyte before it is caught; the kernel's limit lies there. */
const WATCH_EVERY_MS = 100;
const DEFAULT_MEMORY: MemoryLimits = { heapMiB: 128, residentMiB: 384 };
const DEFAULT_MAX_WAIT_MS = 10_000;
const NOT_RUN_DELAY_MS = 1000;

export interface SandboxPoolOptions {
  /** Processes at work at once. */
  slots: number;
  /** Its processes leave a busy processor to sign-ups. @default false */
  givesWay?: boolean;
  egress: EgressOptions;
  /** Where Usher itself is reached, which is always open. @default none */
  ownAddresses?: OwnAddress[];
  /** Authorities in PEM that Actions trust beside Node's own. @default none */
  trustedCertificates?: string[];
  logger: Logger;
  /** @default heap 128 MiB, resident 384 MiB */
  memory?: MemoryLimits;
  /** Folder below which all dependencies lie; the sandboxes' user must get at it. */
  dependenciesRoot?: string;
  /** How long a call waits for a free slot, milliseconds. @default 10 s */
  maxWaitMs?: number;
  /** Calls after which a process is retired. @default 500 */
  maxUses?: number;
  /** Is told what is counted. @default nobody */
  watch?: SandboxWatch;
}

/** What a pool tells whoever counts. */
export interface SandboxWatch {
  /** A process was started, or could not be. */
  started(result: 'started' | 'failed'): void;
  /** A call has waited for a free process, and got it or not. */
  waited(seconds: number, result: Turn): void;
}

export interface RunOptions {
  /** Kills the process; the call then answers `cancelled` once it is dead. */
  signal?: AbortSignal;
  /** Gets each line written by work that outlived its attempt's verdict. */
  onLateOutput?: (line: LogLine) => void;
}

export interface SandboxPool {
  /**
   * Runs one invocation. Never rejects for anything that an Action does. Once it has answered, the attempt is over:
   * either it has said so itself, or its process is dead.
   */
  run(invocation: Invocation, options?: RunOptions): Promise<InvocationResult>;
  /** Takes no more calls, gives those under way `graceMs`, then kills; fulfilled when every process is dead. */
  close(options: { graceMs: number }): Promise<void>;
  /** From now on Usher itself is reached here. */
  setOwnAddresses(addresses: OwnAddress[]): void;
  /** Of the living processes. */
  pids(): number[];
  /** One line per wall, in force or missing. */
  describeIsolation(): string[];
}

/**
 * Starts a pool; a first process proves that the walls found on this machine can be put up.
 *
 * @throws when no sandbox process can be started here, or a range of `egress.allow` is not one.
 */
export async function createSandboxPool(options: SandboxPoolOptions): Promise<SandboxPool> {
  const { slots, logger, egress, trustedCertificates = [], memory = DEFAULT_MEMORY, maxWaitMs = DEFAULT_MAX_WAIT_MS, maxUses = DEFAULT_MAX_USES } = options;
  let ownAddresses = options.ownAddresses ?? [];
  const broker = createBroker(createEgressPolicy(egress), () => ownAddresses);
  const runner = await placeRunnerFiles();
  const isolation = findIsolation();
  const processes = new Set<SandboxProcess>();
  const idle = new Set<SandboxProcess>();
  let starting = 0;
  let isClosing = false;

  const turns = createTurns({ maxWaitMs, hasRoom: (version, running) => running < slots && hasProcessFor(version) });

  function hasProcessFor(versionId: string): boolean {
    const isWarm = [...idle].some((process) => process.versionId === versionId);
    return isWarm || idle.size > 0 || processes.size + starting < slots + MAX_WARM;
  }

  async function startProcess(version: RunnableVersion): Promise<SandboxProcess> {
    starting++;
    try {
      const dependenciesDir = version.dependenciesDir === null ? null : await realpath(version.dependenciesDir);
      if (dependenciesDir !== null && isolation.otherUser) await checkReadable(dependenciesDir);
      await runner.ensure();
      const command = spawnCommand(isolation, runner, memory, dependenciesDir);
      const process = await SandboxProcess.start({ command, version, runnerDir: runner.dir, dependenciesDir, trustedCertificates, memory, broker: broker.open(), logger });
      if (options.givesWay === true) giveWay(process.pid);
      options.watch?.started('started');
      processes.add(process);
      void forgetWhenGone(process);
      return process;
    } catch (error) {
      options.watch?.started('failed');
      throw error;
    } finally {
      starting--;
    }
  }

  async function forgetWhenGone(process: SandboxProcess): Promise<void> {
    await process.gone;
    processes.delete(process);
    idle.delete(process);
    turns.next();
  }

  async function obtain(version: RunnableVersion): Promise<SandboxProcess> {
    // The one used last: its memory is warm, and the others may grow old.
    const warm = [...idle].findLast((process) => process.versionId === version.id && process.isAlive);
    if (warm !== undefined) {
      idle.delete(warm);
      return warm;
    }
    const [oldest] = idle;
    if (oldest !== undefined && processes.size + starting >= slots + MAX_WARM) retire(oldest);
    return await startProcess(version);
  }

  function retire(process: SandboxProcess): void {
    idle.delete(process);
    void process.kill();
  }

  /** Keeps the process for the next call: at once when it is free, else when its left-over work is done. */
  async function release(process: SandboxProcess): Promise<void> {
    if (!process.isFree) await process.whenFree();
    if (!process.isFree) return;
    process.idleSince = Date.now();
    if (isClosing || process.uses >= maxUses) return retire(process);
    idle.add(process);
    const [oldest] = idle;
    if (idle.size > MAX_WARM && oldest !== undefined) retire(oldest);
    turns.next();
  }

  async function attempt(invocation: Invocation, hooks: RunOptions): Promise<InvocationResult> {
    // A warm process can end by its left-over work just when it is called; the second one is new or was alive a moment ago.
    for (let tries = 0; tries < 2; tries++) {
      const process = await obtain(invocation.version);
      if (isClosing) {
        retire(process);
        return notRun('Usher is stopping.');
      }
      const end = await process.run(invocation, hooks);
      void release(process);
      if (end.outcome !== 'not-started') return end;
    }
    return notRun('The sandbox process ended before the call reached it.');
  }

  const watch = setInterval(() => {
    for (const process of processes) process.checkMemory();
    const oldestAllowed = Date.now() - MAX_IDLE_MS;
    for (const process of idle) if (process.idleSince < oldestAllowed) retire(process);
  }, WATCH_EVERY_MS);
  watch.unref();

  async function prove(): Promise<void> {
    const version: RunnableVersion = { id: '', actionName: 'probe', triggerId: 'post-user-registration', code: '', dependenciesDir: null };
    try {
      if (isolation.otherUser && options.dependenciesRoot !== undefined) await checkReadable(await realpath(options.dependenciesRoot));
      await (await startProcess(version)).kill();
    } catch (error) {
      if (!isolation.otherUser) throw error;
      isolation.otherUser = false;
      logger.warn({ error: (error as Error).message }, `Sandboxes cannot run as uid ${SANDBOX_UID} here and run as root. Put Usher where every user can read it, or start it as another user.`);
      await (await startProcess(version)).kill();
    }
  }

  async function close({ graceMs }: { graceMs: number }): Promise<void> {
    isClosing = true;
    turns.close();
    for (const process of idle) retire(process);
    await Promise.race([turns.idle(), new Promise((resolve) => setTimeout(resolve, graceMs).unref())]);
    await Promise.all([...processes].map((process) => process.kill()));
    await turns.idle();
    clearInterval(watch);
  }

  try {
    await prove();
  } catch (error) {
    clearInterval(watch);
    throw error;
  }

  return {
    async run(invocation, hooks = {}) {
      const asked = performance.now();
      const turn = await turns.take(invocation.version.id, hooks.signal);
      options.watch?.waited((performance.now() - asked) / 1000, turn);
      if (turn === 'cancelled') return { outcome: 'cancelled' };
      if (turn === 'closed') return notRun('Usher is stopping.');
      if (turn === 'timed-out') return notRun(`No sandbox was free within ${maxWaitMs / 1000} s.`);
      try {
        return await attempt(invocation, hooks);
      } catch (error) {
        logger.error({ error: (error as Error).message, invocation: invocation.id, action: invocation.version.actionName }, 'sandbox not started');
        return notRun((error as Error).message);
      } finally {
        turns.give();
      }
    },
    close,
    setOwnAddresses(addresses) {
      ownAddresses = addresses;
    },
    pids: () => [...processes].map(({ pid }) => pid),
    describeIsolation: () => describeIsolation(isolation, memory, egress),
  };
}

function notRun(reason: string): InvocationResult {
  return { outcome: 'not-run', reason, delayMs: NOT_RUN_DELAY_MS };
}

/** @throws when the sandboxes' user cannot get at the folder, which would look like the Action's own mistake. */
async function checkReadable(dir: string): Promise<void> {
  const needed = [{ path: dir, bits: 0o005 }];
  for (let path = dirname(dir); path !== dirname(path); path = dirname(path)) needed.push({ path, bits: 0o001 });
  for (const { path, bits } of needed) {
    const { mode } = await stat(path);
    if ((mode & bits) !== bits) {
      throw new Error(`Sandboxes run as uid ${SANDBOX_UID}, which cannot read ${dir}: ${path} needs mode o+${bits === 5 ? 'rx' : 'x'}.`);
    }
  }
}
