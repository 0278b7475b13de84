import type { ChildProcess } from 'node:child_process';

interface Pipe {
  onread: (this: Pipe, buffer: ArrayBuffer | undefined) => unknown;
}

interface HandleQueue {
  _handleQueue: { callback?: (error: Error) => void }[] | null;
}

export interface ChannelGuard {
  /** Begins a new allowance. */
  resetAllowance(): void;
}

/**
 * Keeps a child from bringing its parent down through the IPC channel.
 *
 * Node trusts the other end of it: a line that is not JSON, an acknowledgement that nobody asked for, or a line
 * without end would be an uncaught exception or all the memory of this process. An Action can write to the
 * descriptor with `fs.writeSync(3, …)`, so each of these is caught here and told to `onViolation`.
 *
 * @throws when this Node keeps its channel elsewhere: without the guard no sandbox may be started.
 */
export function guardChannel(child: ChildProcess, allowanceBytes: number, onViolation: (what: string) => void): ChannelGuard {
  const symbol = Object.getOwnPropertySymbols(child).find(({ description }) => description === 'kChannelHandle');
  const pipe = symbol === undefined ? undefined : (child as unknown as Record<symbol, Pipe | null>)[symbol];
  if (pipe === undefined || pipe === null || typeof pipe.onread !== 'function') {
    throw new Error(`Node ${process.version} keeps its IPC channel elsewhere: Usher's sandbox needs Node 26.`);
  }
  let readBytes = 0;
  let isViolated = false;
  function violated(what: string): void {
    isViolated = true;
    onViolation(what);
  }

  const onread = pipe.onread;
  pipe.onread = function (this: Pipe, buffer) {
    if (buffer === undefined) {
      releaseUnsent(child as unknown as HandleQueue);
      return onread.call(this, buffer);
    }
    if (isViolated) return undefined;
    readBytes += buffer.byteLength;
    if (readBytes > allowanceBytes) return violated('it sent more than it may');
    try {
      return onread.call(this, buffer);
    } catch (error) {
      return violated(`it sent what is not a message: ${(error as Error).message.slice(0, 100)}`);
    }
  };

  const acknowledge = child.listeners('internalMessage');
  child.removeAllListeners('internalMessage');
  child.on('internalMessage', (message: { cmd?: unknown }, handle: unknown) => {
    const isAwaited = Array.isArray((child as unknown as HandleQueue)._handleQueue);
    if (message.cmd !== 'NODE_HANDLE_ACK' && message.cmd !== 'NODE_HANDLE_NACK') violated('it sent a message of Node\'s own');
    else if (!isAwaited) violated('it acknowledged what was not sent');
    else for (const listener of acknowledge) listener.call(child, message, handle);
  });
  return { resetAllowance: () => (readBytes = 0) };
}

/**
 * Node waits for a receipt of each socket that it sends. When the other end dies without one, it would keep that
 * socket and those queued behind it open for ever.
 */
function releaseUnsent(child: HandleQueue): void {
  const queue = child._handleQueue ?? [];
  child._handleQueue = null;
  for (const { callback } of queue) callback?.(new Error('The sandbox process has ended.'));
}
