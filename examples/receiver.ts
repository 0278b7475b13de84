import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';

/** A request as the receiver has it, whole. */
export interface Received {
  at: number;
  method: string;
  path: string;
  headers: IncomingMessage['headers'];
  body: string;
  /** What it was answered. */
  status: number;
  /** When it was answered, or whoever asked was gone. */
  endedAt: number | null;
}

export interface ReceiverAnswer {
  status: number;
  headers?: Record<string, string>;
  body?: string;
  /** Before the answer; with `Infinity` none comes. */
  delayMs?: number;
}

/** A local receiver: the outside system that an Action calls. */
export interface Receiver {
  url: string;
  received: Received[];
  close(): Promise<void>;
}

/** @param answer decides each answer; called when the request has been read. */
export async function startReceiver(answer: (request: { path: string; body: string; nth: number }) => ReceiverAnswer): Promise<Receiver> {
  const received: Received[] = [];
  const server = createServer((req, res) => {
    let body = '';
    req.setEncoding('utf8').on('data', (text: string) => {
      body += text;
    });
    req.on('end', () => {
      const path = req.url ?? '/';
      const { status, headers = {}, body: text = 'ok', delayMs = 0 } = answer({ path, body, nth: received.length + 1 });
      const entry: Received = { at: Date.now(), method: req.method ?? '', path, headers: req.headers, body, status, endedAt: null };
      received.push(entry);
      res.once('close', () => {
        entry.endedAt = Date.now();
      });
      if (delayMs === Infinity) return;
      setTimeout(() => res.writeHead(status, headers).end(text), delayMs);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    received,
    async close() {
      const closed = new Promise((resolve) => server.close(resolve));
      server.closeAllConnections();
      await closed;
    },
  };
}
