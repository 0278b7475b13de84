import type { Socket } from 'node:net';
import type { Channel } from './channel.ts';
import type { BrokerError, BrokerReply, ResolvedAddress } from './messages.ts';

/** Each of its fields is always its own, so that a polluted `Object.prototype` adds none. */
interface Reply {
  error: Error | undefined;
  carrier: Socket | undefined;
  addresses: ResolvedAddress[];
}

/** A question to the broker that has not been answered. */
export interface Pending {
  /** Whether it keeps the event loop alive, as a connecting socket does. */
  hold(held: boolean): void;
  isHeld(): boolean;
  abandon(): void;
}

export interface BrokerClient {
  connect(
    to: { host: string; port: number; family: 0 | 4 | 6; addresses?: string[] },
    done: (error: Error | undefined, carrier: Socket | undefined, via: ResolvedAddress | undefined) => void,
  ): Pending;
  resolve(host: string, family: 0 | 4 | 6, done: (error: Error | undefined, addresses: ResolvedAddress[]) => void): Pending;
  onReply(reply: BrokerReply, handle: Socket | undefined): void;
  /** Whether anything waits that keeps the event loop alive. */
  isWaitedFor(): boolean;
}

/** Asks the broker in the parent; `onHoldChange` is told when the first or the last held question comes or goes. */
export function createBrokerClient(channel: Channel, onHoldChange: () => void): BrokerClient {
  const waiting = new Map<number, (reply: Reply) => void>();
  const held = new Set<number>();
  let last = 0;

  function ask(send: (request: number) => void, done: (reply: Reply) => void): Pending {
    const request = ++last;
    waiting.set(request, done);
    const hold = (wanted: boolean): void => {
      if (!waiting.has(request)) return;
      if (wanted) held.add(request);
      else held.delete(request);
      onHoldChange();
    };
    hold(true);
    send(request);
    return {
      hold,
      isHeld: () => held.has(request),
      abandon() {
        if (!waiting.delete(request)) return;
        held.delete(request);
        channel.send({ type: 'abandon', request });
        onHoldChange();
      },
    };
  }

  return {
    connect: (to, done) =>
      ask(
        (request) => channel.send({ type: 'connect', request, ...to }),
        ({ error, carrier, addresses }) => done(error, carrier, addresses[0]),
      ),
    resolve: (host, family, done) =>
      ask(
        (request) => channel.send({ type: 'resolve', request, host, family }),
        ({ error, addresses }) => done(error, addresses),
      ),
    onReply(reply, handle) {
      const done = waiting.get(reply.request);
      waiting.delete(reply.request);
      if (done === undefined) handle?.destroy();
      else done(read(reply, handle));
      // Only now: what was begun by `done` must find the loop alive.
      held.delete(reply.request);
      onHoldChange();
    },
    isWaitedFor: () => held.size > 0,
  };
}

function read(reply: BrokerReply, carrier: Socket | undefined): Reply {
  if (reply.type === 'refused') return { error: toError(reply.error), carrier: undefined, addresses: [] };
  if (reply.type === 'resolved') return { error: undefined, carrier: undefined, addresses: reply.addresses };
  if (carrier !== undefined) return { error: undefined, carrier, addresses: [{ address: reply.address, family: reply.family }] };
  const message = 'read ECONNRESET: the connection was closed as soon as it was made';
  return { error: toError({ code: 'ECONNRESET', syscall: 'read', message }), carrier, addresses: [] };
}

function toError({ message, ...fields }: BrokerError): Error {
  return Object.assign(new Error(message), fields);
}
