import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { Socket } from 'node:net';
import type { ActionError, Invocation, InvocationResult, LogLine, RunnableVersion } from '../domain/invocation.ts';
import { LIMITS } from '../domain/limits.ts';
import { TRIGGERS } from '../domain/triggers.ts';
import type { Logger } from '../logger.ts';
import { EgressError, type ProcessBroker } from './broker.ts';
import { type ChannelGuard, guardChannel } from './guard-channel.ts';
import { createInvocationRecord, type InvocationRecord } from './invocation-record.ts';
import { parseFromSandbox } from './protocol.ts';
import { type BrokerReply, type FromSandbox, PROTOCOL_VERSION, type ToSandbox } from './runner/messages.ts';
import type { MemoryLimits, SpawnCommand } from './spawn-command.ts';
import { exitError, killError, type KillReason } from './verdicts.ts';

/** What an attempt may write altogether before it is ended; `LIMITS.logBytes` of it are kept. */
const FLOOD_BYTES = 8 * 1024 * 1024;
/** A well-behaved process stays far below: escaped logs, calls and questions to the broker of one invocation. */
const CHANNEL_ALLOWANCE_BYTES = 16 * 1024 * 1024;
const START_TIMEOUT_MS = 15_000;
/** The process calls itself free 2 s after the handler at the latest; one that does not is stuck. */
const FREE_TIMEOUT_MS = 5000;
const STDERR_CHARS = 4096;
const PAGE_BYTES = 4096;

export interface RunHooks {
  signal?: AbortSignal | undefined;
  /** A line of work that the attempt began and that outlived its verdict. */
  onLateOutput?: ((line: LogLine) => void) | undefined;
}

/** `not-started`: the process was gone before the call reached it, so that another can take it. */
export type RunEnd = InvocationResult | { outcome: 'not-started' };

interface Running {
  token: string;
  invocation: Invocation;
  record: InvocationRecord;
  finish(end: RunEnd): void;
}

export interface SandboxProcessOptions {
  command: SpawnCommand;
  version: RunnableVersion;
  runnerDir: string;
  dependenciesDir: string | null;
  trustedCertificates: string[];
  memory: MemoryLimits;
  broker: ProcessBroker;
  logger: Logger;
}

/** One sandbox process: serves one Action version, one call at a time, and is trusted with nothing. */
export class SandboxProcess {
  readonly versionId: string;
  readonly pid: number;
  /** Fulfilled when the operating system says that the process is gone. */
  readonly gone: Promise<void>;
  uses = 0;
  idleSince = 0;
  #isAlive = true;
  #child: ChildProcess;
  #options: SandboxProcessOptions;
  #guard: ChannelGuard;
  #running: Running | undefined;
  /** Of every call so far: left-over work writes to the one that began it. */
  #records = new Map<string, InvocationRecord>();
  #killReason: KillReason | undefined;
  #violation = '';
  #stderr = '';
  #isFree = false;
  #free = Promise.withResolvers<void>();

  /**
   * Starts a process and waits until its runner is ready.
   *
   * @throws when it cannot be started, or is not ready within 15 s.
   */
  static async start(options: SandboxProcessOptions): Promise<SandboxProcess> {
    const { command } = options;
    const child = spawn(command.file, command.args, {
      // Where Node looks for what `import()` in an Action's code names.
      cwd: options.dependenciesDir ?? options.runnerDir,
      // Nothing of Usher's environment; Node adds the channel's number and removes it again inside.
      env: {},
      detached: true,
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    });
    if (child.pid === undefined) {
      const [error] = (await new Promise((resolve) => child.once('error', (...args) => resolve(args)))) as [Error];
      throw new Error(`The sandbox process could not be started: ${error.message}`, { cause: error });
    }
    const process = new SandboxProcess(child, child.pid, options);
    await process.#ready();
    return process;
  }

  private constructor(child: ChildProcess, pid: number, options: SandboxProcessOptions) {
    this.#child = child;
    this.#options = options;
    this.pid = pid;
    this.versionId = options.version.id;
    this.gone = this.#watchExit();
    this.#guard = guardChannel(child, CHANNEL_ALLOWANCE_BYTES, (what) => {
      this.#violation ||= what;
      this.#kill('protocol');
    });
    child.on('error', (error) => options.logger.debug({ error: error.message, pid }, 'sandbox channel'));
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.#stderr = (this.#stderr + text).slice(-STDERR_CHARS);
    });
  }

  get isAlive(): boolean {
    return this.#isAlive && this.#killReason === undefined;
  }

  /** Whether the process can take its next call. */
  get isFree(): boolean {
    return this.#isFree && this.isAlive;
  }

  /** Fulfilled when the process can take its next call, or has ended. */
  whenFree(): Promise<void> {
    return this.#free.promise;
  }

  /** Calls the handler once. Resolves with the verdict, and after a kill only when the process is really gone. */
  async run(invocation: Invocation, { signal, onLateOutput }: RunHooks): Promise<RunEnd> {
    if (signal?.aborted === true) return { outcome: 'cancelled' };
    this.uses++;
    const { promise, resolve } = Promise.withResolvers<RunEnd>();
    const token = randomBytes(16).toString('base64url');
    const record = createInvocationRecord(invocation, onLateOutput);
    this.#records.set(token, record);
    this.#running = { token, invocation, record, finish: resolve };
    this.#isFree = false;
    this.#free = Promise.withResolvers();
    this.#guard.resetAllowance();
    // A verdict that waits to be read, because we were not given the processor in time, comes first.
    const endLate = (): void => void setImmediate(() => {
      if (this.#running?.token === token) this.#kill('deadline');
    });
    const deadline = setTimeout(endLate, invocation.timeoutMs);
    const cancel = (): void => this.#kill('cancelled');
    signal?.addEventListener('abort', cancel, { once: true });
    const { event, cache, waitFor, idempotency, traceParent } = invocation;
    this.#send({ type: 'run', token, event, cache, waitFor, idempotency, traceParent });
    if (!this.#isAlive) this.#finishDead(null, null);
    try {
      return await promise;
    } finally {
      clearTimeout(deadline);
      signal?.removeEventListener('abort', cancel);
    }
  }

  /** Kills the process group; fulfilled when the process is gone. */
  async kill(): Promise<void> {
    this.#kill('closing');
    await this.gone;
  }

  /** Ends the process if it holds more memory than it may. Cheap enough to be called ten times a second. */
  checkMemory(): void {
    if (!this.isAlive) return;
    if (residentBytes(this.pid) > this.#options.memory.residentMiB * 1024 * 1024) this.#kill('memory');
  }

  async #ready(): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const timer = setTimeout(() => reject(new Error(`it was not ready within ${START_TIMEOUT_MS / 1000} s`)), START_TIMEOUT_MS);
    void this.gone.then(() => reject(new Error(`it ended at once: ${this.#stderr.trim() || 'without a word'}`)));
    this.#child.on('message', (raw) => {
      const message = parseFromSandbox(raw);
      if (message?.type === 'ready' && message.protocol === PROTOCOL_VERSION) resolve();
      else this.#take(message);
    });
    try {
      await promise;
    } catch (error) {
      await this.kill();
      throw new Error(`The sandbox process could not be started: ${(error as Error).message}`, { cause: error });
    } finally {
      clearTimeout(timer);
    }
    const { version, dependenciesDir, trustedCertificates } = this.#options;
    const { actionName, triggerId, code, modules = [] } = version;
    const { handler } = TRIGGERS[triggerId];
    this.#send({ type: 'version', actionName, triggerId, handler, code, dependenciesDir, modules, trustedCertificates, logBytes: LIMITS.logBytes, floodBytes: FLOOD_BYTES });
  }

  #send(message: ToSandbox, handle?: Socket): void {
    if (!this.#child.connected) {
      handle?.destroy();
      return;
    }
    // A write that fails means that the process is going; its exit says the rest.
    this.#child.send(message, handle, {}, (error) => {
      if (error !== null) handle?.destroy();
    });
  }

  #take(message: FromSandbox | null): void {
    if (message === null) {
      this.#violation ||= 'it sent what the protocol does not know';
      this.#kill('protocol');
      return;
    }
    if (message.type === 'connect' || message.type === 'resolve' || message.type === 'abandon') {
      void this.#ask(message);
      return;
    }
    // Anything with a wrong token is not for us: a forged or doubled message.
    const record = 'token' in message ? this.#records.get(message.token) : undefined;
    if (record === undefined || !('token' in message)) return;
    record.take(message);
    const running = this.#running?.token === message.token ? this.#running : undefined;
    if (message.type === 'verdict' && running !== undefined) this.#judge(running, message);
    if (message.type === 'free' && this.#running === undefined) this.#setFree();
  }

  #judge(running: Running, verdict: Extract<FromSandbox, { type: 'verdict' }>): void {
    // A kill that is under way has the last word.
    if (this.#killReason !== undefined) return;
    this.#running = undefined;
    const { record } = running;
    const report = record.report(verdict);
    record.judge();
    const error = verdict.error ?? record.failure;
    running.finish(error === undefined ? { outcome: 'succeeded', ...report } : { outcome: 'failed', error: record.redact(error), ...report });
    if (verdict.free) this.#setFree();
    else void this.#endIfStuck();
  }

  #setFree(): void {
    this.#isFree = true;
    this.#free.resolve();
  }

  async #endIfStuck(): Promise<void> {
    const timer = setTimeout(() => this.#kill('unclean'), FREE_TIMEOUT_MS);
    await this.whenFree();
    clearTimeout(timer);
  }

  async #ask(question: Extract<FromSandbox, { type: 'connect' | 'resolve' | 'abandon' }>): Promise<void> {
    const { broker } = this.#options;
    const { request } = question;
    if (question.type === 'abandon') {
      broker.abandon(request);
      return;
    }
    try {
      if (question.type === 'resolve') {
        this.#send({ type: 'resolved', request, addresses: await broker.resolve(request, question.host, question.family) });
        return;
      }
      const socket = await broker.connect(request, question);
      const { remoteAddress: address = '', remoteFamily } = socket;
      this.#send({ type: 'connected', request, address, family: remoteFamily === 'IPv6' ? 6 : 4 }, socket);
    } catch (error) {
      this.#send(refusal(request, error));
    }
  }

  #kill(reason: KillReason): void {
    const { exitCode, signalCode } = this.#child;
    // Once it has ended its number may be another's.
    if (exitCode !== null || signalCode !== null) return;
    this.#killReason ??= reason;
    try {
      process.kill(-this.pid, 'SIGKILL');
    } catch (error) {
      // It ended just now.
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
    }
  }

  async #watchExit(): Promise<void> {
    // Not `exit`: what the process said last may still be in the pipe then.
    const [code, signal] = await new Promise<[number | null, NodeJS.Signals | null]>((resolve) => {
      this.#child.once('close', (code, signal) => resolve([code, signal]));
    });
    this.#isAlive = false;
    this.#options.broker.close();
    this.#finishDead(code, signal);
    this.#free.resolve();
  }

  #finishDead(code: number | null, signal: string | null): void {
    const running = this.#running;
    this.#running = undefined;
    running?.finish(this.#endOf(running, code, signal));
  }

  #endOf({ record, invocation }: Running, code: number | null, signal: string | null): RunEnd {
    const reason = this.#killReason;
    if (reason === 'cancelled') return { outcome: 'cancelled' };
    if (reason === 'closing' || reason === 'unclean') {
      return { outcome: 'not-run', reason: 'Usher is stopping: the attempt was cut short and runs again later.', delayMs: 1000 };
    }
    if (!record.hasStarted && reason !== 'deadline') return { outcome: 'not-started' };
    const error = this.#failureOf(record, invocation.timeoutMs, code, signal);
    return { outcome: 'failed', error: record.redact(error), ...record.report() };
  }

  #failureOf(record: InvocationRecord, timeoutMs: number, code: number | null, signal: string | null): ActionError {
    const { memory } = this.#options;
    const reason = this.#killReason;
    if (reason === 'deadline' && record.failure !== undefined) return record.failure;
    if (reason === 'deadline' || reason === 'memory' || reason === 'protocol') {
      return killError(reason, { record, timeoutMs, residentMiB: memory.residentMiB, violation: this.#violation });
    }
    return exitError({ code, signal, stderr: this.#stderr, heapMiB: memory.heapMiB, floodBytes: FLOOD_BYTES });
  }
}

function refusal(request: number, error: unknown): BrokerReply {
  if (error instanceof EgressError) return { type: 'refused', request, error: error.details };
  return { type: 'refused', request, error: { code: 'EUSHERBROKER', message: `The broker failed: ${(error as Error).message}` } };
}

/** Resident memory of a process, bytes; 0 where `/proc` does not say (it has ended, or this is not Linux). */
function residentBytes(pid: number): number {
  try {
    return Number(readFileSync(`/proc/${pid}/statm`, 'latin1').split(' ')[1]) * PAGE_BYTES;
  } catch {
    return 0;
  }
}
