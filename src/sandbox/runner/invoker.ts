import type { ActionErrorType } from '../../domain/invocation.ts';
import { createApi } from './api.ts';
import { MissingDependencyError } from './action-require.ts';
import type { Attempt, Attempts } from './attempts.ts';
import { newAttempt } from './attempts.ts';
import type { BrokerClient } from './broker-client.ts';
import type { Channel } from './channel.ts';
import { describeError, type StackPaths } from './describe-error.ts';
import { type Handler, loadAction } from './load-action.ts';
import type { RunMessage, VersionMessage } from './messages.ts';
import type { Output } from './output.ts';

/** What is neither a request nor done is given this after the handler, milliseconds. */
const LEFT_OVER_MS = 2000;
const LOOK_EVERY_MS = 50;

export interface Invoker {
  run(message: RunMessage): void;
  /** To be told when a question to the broker comes or goes. */
  balance(): void;
}

/**
 * Calls the handler and decides when the attempt is over.
 *
 * While an attempt runs, the channel to the parent does not keep the event loop alive, so that `beforeExit` says
 * exactly when nothing is left to do. A loop that is kept alive is over when no request is in flight and 2 s have
 * passed; requests in flight are awaited until the parent's deadline.
 */
export function createInvoker(deps: {
  version: VersionMessage;
  attempts: Attempts;
  channel: Channel;
  broker: BrokerClient;
  output: Output;
  runnerUrl: string;
}): Invoker {
  const { version, attempts, channel, broker, output } = deps;
  const paths: StackPaths = { runnerUrl: deps.runnerUrl, dependenciesDir: version.dependenciesDir };
  const load = once(() => loadAction(version));
  let active: Attempt | undefined;
  let watch: NodeJS.Timeout | undefined;

  process.on('beforeExit', () => {
    if (active === undefined) return;
    if (!active.settled) fail(active, 'ACTION_UNSETTLED', new Error('The handler waits for something that can never happen: its promise was not settled and nothing was left to do.'));
    end(active);
  });
  process.on('unhandledRejection', (reason) => onStrayError('Unhandled rejection', reason));
  process.on('uncaughtException', (error, origin) => {
    // Node raises an unhandled rejection here too when a listener of the Action's throws.
    onStrayError(origin === 'unhandledRejection' ? 'Unhandled rejection' : 'Uncaught exception', error);
  });

  function run(message: RunMessage): void {
    const attempt = newAttempt(message);
    active = attempt;
    channel.send({ type: 'started', token: attempt.token });
    balance();
    void attempts.run(attempt, () => call(attempt, message));
  }

  async function call(attempt: Attempt, message: RunMessage): Promise<void> {
    try {
      const handler = loaded(attempt);
      if (handler !== undefined) {
        const api = createApi(version.triggerId, message.cache, {
          command: (command) => void attempt.commands.push(command),
          cacheChange: (change) => void attempt.cacheChanges.push(change),
        });
        await handler(message.event, api);
      }
    } catch (error) {
      fail(attempt, error instanceof MissingDependencyError ? 'ACTION_INVALID' : 'ACTION_THREW', error);
    }
    settle(attempt);
  }

  function loaded(attempt: Attempt): Handler | undefined {
    try {
      return load();
    } catch (error) {
      fail(attempt, 'ACTION_INVALID', error);
      return undefined;
    }
  }

  function fail(attempt: Attempt, type: ActionErrorType, thrown: unknown): void {
    if (attempt.failure !== undefined) return;
    attempt.failure = describeError(thrown, type, paths);
    channel.send({ type: 'failing', token: attempt.token, error: attempt.failure });
  }

  function onStrayError(kind: string, thrown: unknown): void {
    const attempt = attempts.current();
    if (attempt === undefined) return;
    if (!attempt.judged) {
      fail(attempt, thrown instanceof MissingDependencyError ? 'ACTION_INVALID' : 'ACTION_THREW', thrown);
      return;
    }
    const { name, message, stack } = describeError(thrown, 'ACTION_THREW', paths);
    output.write('error', `${kind} after the attempt had ended: ${stack ?? `${name}: ${message}`}`);
  }

  function settle(attempt: Attempt): void {
    attempt.settled = true;
    // It was found unsettled before, and another attempt may be at work.
    if (attempt !== active) return;
    channel.send({ type: 'settled', token: attempt.token });
    if (attempt.waitFor === 'handler') judge(attempt, false);
    let quietSince = performance.now();
    watch = setInterval(() => {
      const now = performance.now();
      const isWaiting = attempt.waitFor === 'work' && [...attempt.openCalls].some((open) => open.isInFlight());
      if (isWaiting) quietSince = now;
      else if (now - quietSince >= LEFT_OVER_MS) end(attempt);
    }, LOOK_EVERY_MS);
    watch.unref();
  }

  /** Says how the attempt ended. */
  function judge(attempt: Attempt, free: boolean): void {
    attempt.judged = true;
    const { token, failure, cacheChanges, commands } = attempt;
    channel.send({ type: 'verdict', token, free, ...(failure === undefined ? {} : { error: failure }), cacheChanges, commands });
  }

  /** The process can take its next call. */
  function end(attempt: Attempt): void {
    clearInterval(watch);
    active = undefined;
    balance();
    if (attempt.judged) channel.send({ type: 'free', token: attempt.token });
    else judge(attempt, true);
  }

  function balance(): void {
    if (active === undefined || broker.isWaitedFor()) channel.ref();
    else channel.unref();
  }

  return { run, balance };
}

/** Module scope is initialised at the first call, once; what it throws is thrown again at every later one. */
function once<T>(make: () => T): () => T {
  let outcome: { threw: false; value: T } | { threw: true; error: unknown } | undefined;
  return () => {
    if (outcome === undefined) {
      try {
        outcome = { threw: false, value: make() };
      } catch (error) {
        outcome = { threw: true, error };
      }
    }
    if (outcome.threw) throw outcome.error;
    return outcome.value;
  };
}
