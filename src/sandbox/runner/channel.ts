import type { Socket } from 'node:net';
import type { FromSandbox, ToSandbox } from './messages.ts';

/** The way to the parent, held in closures so that an Action cannot speak through it by name. */
export interface Channel {
  send(message: FromSandbox): void;
  onMessage(listener: (message: ToSandbox, handle: Socket | undefined) => void): void;
  /** Ends the process at once. */
  exit(code: number): void;
  /** Keeps the event loop alive for the parent's next message. */
  ref(): void;
  /** Lets the event loop end when nothing else is going on. */
  unref(): void;
}

type RawSend = (this: NodeJS.Process, message: unknown, handle?: unknown, options?: unknown, callback?: unknown) => boolean;

/**
 * Takes the IPC channel away from `process` before an Action's code runs.
 *
 * An Action that gets hold of the descriptor all the same can only lie about itself: the process serves no other
 * Action, and the parent checks everything that it reads.
 */
export function captureChannel(): Channel {
  const stringify = JSON.stringify;
  const apply = Reflect.apply;
  const raw = process as unknown as { _send: RawSend; channel: { ref(): void; unref(): void } };
  const send = raw._send;
  const control = raw.channel;
  const ref = control.ref.bind(control);
  const unref = control.unref.bind(control);
  // Our own: a later change of process.kill must not keep an orphan alive.
  const kill = process.kill.bind(process);
  const { reallyExit } = process as unknown as { reallyExit(this: void, code: number): void };

  const transport = (message: string): void => {
    apply(send, process, [message, undefined, { swallowErrors: true }]);
  };
  replace('send', undefined);
  // Node calls it when the parent is gone.
  replace('disconnect', () => kill(process.pid, 'SIGKILL'));
  // Node acknowledges each socket that it received through this very property.
  replace('_send', (message: { cmd?: unknown }, ...rest: unknown[]): boolean => {
    const isAcknowledgement = message?.cmd === 'NODE_HANDLE_ACK' || message?.cmd === 'NODE_HANDLE_NACK';
    return isAcknowledgement ? (apply(send, process, [message, ...rest]) as boolean) : false;
  });

  return {
    send: (message) => transport(stringify(message)),
    onMessage: (listener) => {
      process.on('message', (message, handle) => listener(message as ToSandbox, handle as Socket | undefined));
      process.on('newListener', (event) => {
        if (event === 'message' || event === 'internalMessage') {
          throw new Error(`process.on('${event}') is not available in an Action.`);
        }
      });
    },
    exit: reallyExit,
    ref,
    unref,
  };
}

function replace(name: string, value: unknown): void {
  Object.defineProperty(process, name, { value, writable: true, enumerable: false, configurable: true });
}
