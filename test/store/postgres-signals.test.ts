import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { sql } from 'kysely';
import { expect, test } from 'vitest';
import type { Database } from '../../src/store/database.ts';
import { openPostgres } from '../../src/store/postgres.ts';
import { describeEachStore } from '../helpers/each-store.ts';
import { startTcpProxy } from '../helpers/tcp-proxy.ts';

const CHANNEL = 'registration-due';
/** Nobody looks here without a signal. */
const AT_ONCE = { timeout: 25_000, interval: 5 };
const PATIENTLY = { timeout: 25_000, interval: 20 };

describeEachStore('signals between processes', (fresh, postgres) => {
  /** Counts the calls of a listener; resolves when it listens. */
  async function listen(database: Database): Promise<{ calls(): number; end(): void }> {
    let calls = 0;
    const end = database.onSignal(CHANNEL, () => calls++);
    await expect.poll(() => calls, PATIENTLY).toBe(1);
    return { calls: () => calls, end };
  }

  test('one wakes every listener of another process at once, and none that has ended', async () => {
    const store = await fresh();
    const [one, two, sender] = [store.open(), store.open(), store.open()];
    const listeners = await Promise.all([listen(one), listen(one), listen(two)]);
    const ended = listeners.shift()!;
    ended.end();

    sender.signal(CHANNEL);

    for (const { calls } of listeners) await expect.poll(calls, AT_ONCE).toBe(2);
    expect(ended.calls()).toBe(1);
  });

  test('many at once are few statements, and none waits for them', async () => {
    const store = await fresh();
    const [receiver, sender] = [store.open(), store.open()];
    const { calls } = await listen(receiver);

    for (let n = 0; n < 1000; n++) sender.signal(CHANNEL);

    await expect.poll(calls, AT_ONCE).toBeGreaterThan(1);
    expect(calls()).toBeLessThan(10);
  });

  test('a listener whose connection was ended is called once it listens again, and hears what comes then', async () => {
    const store = await fresh();
    const [receiver, other] = [store.open(), store.open()];
    const { calls } = await listen(receiver);

    const { rows } = await sql`select pg_terminate_backend(pid) from pg_stat_activity where query like 'listen %' and datname = current_database()`.execute(other.db);
    expect(rows).toHaveLength(1);

    await expect.poll(calls, PATIENTLY).toBe(2);
    other.signal(CHANNEL);
    await expect.poll(calls, AT_ONCE).toBe(3);
  });

  test('while PostgreSQL is down a signal harms nobody; listeners are called when it is back', async () => {
    const store = await fresh();
    const [receiver, sender] = [store.open(), store.open()];
    const { calls } = await listen(receiver);
    await postgres().kill();
    sender.signal(CHANNEL);
    await postgres().start();

    await expect.poll(calls, PATIENTLY).toBe(2);
    sender.signal(CHANNEL);
    await expect.poll(calls, AT_ONCE).toBe(3);
  });

  test('a connection that has gone silent is noticed although nothing is signalled', async () => {
    const store = await fresh();
    const network = await startTcpProxy(Number(new URL(store.place).port));
    const receiver = openPostgres(network.urlOf(store.place));
    const sender = store.open();
    try {
      const { calls } = await listen(receiver);
      expect(network.connections()).toBe(1);
      network.blackHole();
      network.heal();

      await expect.poll(calls, PATIENTLY).toBe(2);
      sender.signal(CHANNEL);
      await expect.poll(calls, AT_ONCE).toBe(3);
    } finally {
      await receiver.close();
      await network.close();
    }
  });
}, ['postgres']);

test('a connection that is lost before it listens ends no process; another one is tried', async () => {
  let connections = 0;
  const server = createServer((socket) => {
    connections++;
    // Lets everybody in (`R`: no password, `Z`: ready), and breaks off at the first statement.
    socket.once('data', () => {
      socket.write(Buffer.from([0x52, 0, 0, 0, 8, 0, 0, 0, 0, 0x5a, 0, 0, 0, 5, 0x49]));
      socket.once('data', () => socket.resetAndDestroy());
    });
    socket.on('error', () => undefined);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const unhandled: unknown[] = [];
  const note = (error: unknown) => void unhandled.push(error);
  process.on('unhandledRejection', note);
  const database = openPostgres(`postgres://u@127.0.0.1:${(server.address() as AddressInfo).port}/d`);
  try {
    database.onSignal(CHANNEL, () => undefined);
    await expect.poll(() => connections, PATIENTLY).toBeGreaterThan(2);
    expect(unhandled).toEqual([]);
  } finally {
    process.off('unhandledRejection', note);
    await database.close();
    server.close();
  }
});
