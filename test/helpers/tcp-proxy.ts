import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

/** A way to a server on loopback that can be broken as networks break. */
export interface TcpProxy {
  port: number;
  /** The server's URL with this port in place of its own. */
  urlOf(serverUrl: string): string;
  /** Nothing is passed on any more, in either direction, and nothing is closed; new connections are taken and stay silent. */
  blackHole(): void;
  /** New connections work; those that went silent stay so until they are closed, as after a network failure. */
  heal(): void;
  /** Ends every open connection. */
  cut(): void;
  /**
   * The next connection on which a client sends these texts, one after the other, is cut at the last: before the server
   * gets it, or before the client gets the answer. @returns a promise of the moment at which that has happened.
   */
  cutAt(texts: [first: string, last: string], when: CutTime): Promise<void>;
  /** Connections that are open now. */
  connections(): number;
  close(): Promise<void>;
}

export type CutTime = 'before-request' | 'before-answer';

interface Trap {
  first: string;
  last: string;
  when: CutTime;
  /** Those that have sent the first text. */
  armed: Set<Pair>;
  sprung(): void;
}

interface Pair {
  client: Socket;
  server: Socket;
  silent: boolean;
  losesAnswers: boolean;
}

/** Starts it before the server on this port of loopback. */
export async function startTcpProxy(serverPort: number): Promise<TcpProxy> {
  const pairs = new Set<Pair>();
  let silent = false;
  let trap: Trap | null = null;

  function end({ client, server }: Pair): void {
    client.destroy();
    server.destroy();
  }

  function fromClient(pair: Pair, data: Buffer): void {
    if (pair.silent) return;
    if (trap !== null && data.includes(trap.first)) trap.armed.add(pair);
    if (trap !== null && trap.armed.has(pair) && data.includes(trap.last)) {
      const { when, sprung } = trap;
      trap = null;
      if (when === 'before-request') {
        end(pair);
        return sprung();
      }
      pair.losesAnswers = true;
      pair.server.once('data', () => {
        end(pair);
        sprung();
      });
    }
    pair.server.write(data);
  }

  const proxy = createServer((client) => {
    const pair: Pair = { client, server: connect(serverPort, '127.0.0.1'), silent, losesAnswers: false };
    pairs.add(pair);
    client.on('data', (data: Buffer) => fromClient(pair, data));
    pair.server.on('data', (data: Buffer) => {
      if (!pair.silent && !pair.losesAnswers) client.write(data);
    });
    for (const socket of [client, pair.server]) {
      socket.on('error', () => socket.destroy());
      socket.on('close', () => {
        // Of a silent one the other end learns nothing.
        if (!pair.silent) end(pair);
        if (client.destroyed && pair.server.destroyed) pairs.delete(pair);
      });
    }
  });
  proxy.listen(0, '127.0.0.1');
  await once(proxy, 'listening');
  const { port } = proxy.address() as AddressInfo;

  return {
    port,
    urlOf(serverUrl) {
      const url = new URL(serverUrl);
      url.host = `127.0.0.1:${port}`;
      return url.href;
    },
    blackHole() {
      silent = true;
      for (const pair of pairs) pair.silent = true;
    },
    heal() {
      silent = false;
    },
    cut() {
      for (const pair of pairs) end(pair);
    },
    cutAt([first, last], when) {
      return new Promise((sprung) => {
        trap = { first, last, when, armed: new Set(), sprung };
      });
    },
    connections: () => pairs.size,
    async close() {
      const closed = once(proxy, 'close');
      proxy.close();
      for (const pair of pairs) end(pair);
      await closed;
    },
  };
}
