import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import express from 'express';
import { pino } from 'pino';
import { expect, test } from 'vitest';
import { createErrorHandler } from '../../src/http/error-handler.ts';
import { limitRates } from '../../src/http/rate-limits.ts';
import { createCounterStore } from '../../src/store/counters.ts';
import type { Database } from '../../src/store/database.ts';
import { migrate } from '../../src/store/migrate.ts';
import { describeEachStore } from '../helpers/each-store.ts';
import { send } from './test-app.ts';

/** One process of several: the limits before an endpoint that answers 200. */
async function serve(database: Database): Promise<{ url: string; close(): void }> {
  const limits = { signUp: 2, token: null, passwordless: 1, management: 3 };
  const app = express()
    .use(limitRates({ limits, counters: createCounterStore({ database }) }))
    .use((_req, res) => void res.json({}))
    .use(createErrorHandler({ logger: pino({ level: 'silent' }) }));
  const server = createServer(app).listen(0, '127.0.0.1');
  await once(server, 'listening');
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, close: () => server.close() };
}

describeEachStore('rate limits', (fresh) => {
  test('processes on one store count together, each kind by itself, and a kind without a limit is not counted', async () => {
    const place = await fresh();
    const database = place.open();
    await migrate(database);
    const servers = [await serve(database), await serve(place.open())];
    try {
      const answers = [];
      for (const index of [0, 1, 0, 1]) answers.push(await send(`${servers[index]!.url}/api/v2/logs`));
      expect(answers.map(({ status }) => status)).toEqual([200, 200, 200, 429]);
      expect(answers.map(({ headers }) => headers.get('x-ratelimit-remaining'))).toEqual(['2', '1', '0', '0']);
      expect(Number(answers[3]!.headers.get('retry-after'))).toBeGreaterThan(0);
      expect(answers[3]!.body).toMatchObject({ statusCode: 429, errorCode: 'too_many_requests' });

      expect((await send(`${servers[0]!.url}/dbconnections/signup`)).status).toBe(200);
      expect((await send(`${servers[1]!.url}/passwordless/start`)).status).toBe(200);
      expect((await send(`${servers[0]!.url}/dbconnections/change_password`)).status).toBe(429);
      // With the Management API: they let clients in by their secrets, and some are open to every page.
      for (const path of ['/usher/codec/decode', '/usher/codec/key/decode', '/usher/executions']) expect((await send(servers[0]!.url + path)).status, path).toBe(429);
      for (const index of [0, 1, 0, 1, 0]) expect((await send(`${servers[index]!.url}/oauth/token`)).status).toBe(200);
    } finally {
      for (const server of servers) server.close();
    }
  });
});
