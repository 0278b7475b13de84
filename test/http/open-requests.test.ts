import { once } from 'node:events';
import { createServer, type RequestListener, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import express from 'express';
import { expect, onTestFinished, test } from 'vitest';
import { createOpenRequests, type OpenRequests } from '../../src/http/open-requests.ts';

interface Waiting {
  openRequests: OpenRequests;
  /** Sends a request. @returns the server's side of it, which it has yet to answer. */
  ask(): Promise<{ response: ServerResponse; goAway(): void }>;
}

/** A server that answers when the test says so. */
async function startServer({ turnMs = 60_000 } = {}): Promise<Waiting> {
  const openRequests = createOpenRequests({ turnMs });
  const app = express();
  app.use(openRequests.count);
  let arrived = Promise.withResolvers<ServerResponse>();
  app.use((_req, res) => arrived.resolve(res));
  const server = createServer(app as RequestListener);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  return {
    openRequests,
    async ask() {
      arrived = Promise.withResolvers();
      const away = new AbortController();
      // Its end is the test's doing: by going away, or with the server.
      fetch(`http://127.0.0.1:${port}/`, { signal: away.signal }).catch(() => undefined);
      return { response: await arrived.promise, goAway: () => away.abort() };
    },
  };
}

/** What has happened, in its order. */
function watched(openRequests: OpenRequests): { seen: string[]; waited: Promise<void> } {
  const seen: string[] = [];
  return { seen, waited: openRequests.answered().then(() => void seen.push('went on')) };
}

test('work goes on at once when nobody waits for an answer', async () => {
  const { seen, waited } = watched((await startServer()).openRequests);
  setImmediate(() => seen.push('a turn later'));
  await waited;
  expect(seen).toEqual(['went on']);
});

test('work waits for the answers of all requests under way', async () => {
  const { openRequests, ask } = await startServer();
  const [first, second] = [await ask(), await ask()];
  const { seen, waited } = watched(openRequests);
  first.response.once('close', () => seen.push('first answered'));
  second.response.once('close', () => seen.push('second answered'));
  first.response.end();
  first.response.once('close', () => second.response.end());
  await waited;
  expect(seen).toEqual(['first answered', 'second answered', 'went on']);
});

test('a client that goes away is not waited for', async () => {
  const { openRequests, ask } = await startServer();
  const { response, goAway } = await ask();
  const gone = once(response, 'close');
  goAway();
  await gone;
  const { seen, waited } = watched(openRequests);
  setImmediate(() => seen.push('a turn later'));
  await waited;
  expect(seen).toEqual(['went on']);
});

test('beside a request that is never answered, work has a turn now and then', async () => {
  const { openRequests, ask } = await startServer({ turnMs: 500 });
  const { response } = await ask();
  await openRequests.answered();
  const { seen, waited } = watched(openRequests);
  setImmediate(() => seen.push('a turn of the event loop later'));
  await waited;
  expect(seen).toEqual(['went on']);
  expect(response.writableEnded).toBe(false);
});
