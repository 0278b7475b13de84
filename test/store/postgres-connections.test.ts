import { sql } from 'kysely';
import { expect, test } from 'vitest';
import { isStoreUnavailable } from '../../src/store/database.ts';
import { migrateStore } from '../../src/store/open-store.ts';
import { openPostgres } from '../../src/store/postgres.ts';
import { readSetting, writeSetting } from '../../src/store/settings.ts';
import { describeEachStore } from '../helpers/each-store.ts';
import { prepareStore } from '../helpers/stores.ts';
import { startTcpProxy } from '../helpers/tcp-proxy.ts';

/** Longer than any statement of a running Usher may take. */
const LONG_MS = 11_000;
/** The first statement of each connection, which waits for nobody's. */
const SETTINGS: [string, string] = ['statement_timeout', 'statement_timeout'];

describeEachStore('connections to PostgreSQL', (fresh) => {
  test('a start waits for the migrations of another one, however long they take', async () => {
    const store = await fresh();
    const [other, place] = [openPostgres(store.place, { patient: true }), { databaseUrl: store.place, file: '' }];
    const locked = Promise.withResolvers<void>();
    const migrating = other.transaction(async (tx) => {
      await other.lockSchema(tx);
      locked.resolve();
      await sql`select pg_sleep(${LONG_MS / 1000})`.execute(tx);
    });
    await locked.promise;

    const startedAt = performance.now();
    const started = migrateStore(place, store.open());
    await Promise.all([migrating, started]);

    expect(performance.now() - startedAt).toBeGreaterThan(LONG_MS - 1000);
    expect(await readSetting(store.open().db, 'any')).toBeUndefined();
    await other.close();
  });

  test('connections that break before they were set up do not use up the pool', async () => {
    const store = await fresh();
    const network = await startTcpProxy(Number(new URL(store.place).port));
    const database = openPostgres(network.urlOf(store.place));
    try {
      for (let n = 0; n < 12; n++) {
        const cut = network.cutAt(SETTINGS, n % 2 === 0 ? 'before-request' : 'before-answer');
        const error = await sql`select 1`.execute(database.db).catch((reason: unknown) => reason);
        expect(isStoreUnavailable(error)).toBe(true);
        await cut;
      }
      await prepareStore(database);
      await Promise.all(Array.from({ length: 10 }, (_, n) => writeSetting(database.db, `a-${n}`, '1')));
    } finally {
      await database.close();
      await network.close();
    }
  });

  test('a commit whose connection breaks is told as an outage, whether it has happened or not', async () => {
    const store = await fresh();
    const network = await startTcpProxy(Number(new URL(store.place).port));
    const database = openPostgres(network.urlOf(store.place));
    try {
      await prepareStore(database);
      for (const [when, kept] of [['before-request', undefined], ['before-answer', '1']] as const) {
        const cut = network.cutAt(['insert into "setting"', 'commit'], when);
        const error = await database.transaction((tx) => writeSetting(tx, when, '1')).catch((reason: unknown) => reason);
        await cut;
        expect(isStoreUnavailable(error)).toBe(true);
        expect(await readSetting(database.db, when)).toBe(kept);
      }
    } finally {
      await database.close();
      await network.close();
    }
  });

  test('a connection to what has become a replica is not used again', async () => {
    const store = await fresh();
    const { database } = await prepareStore(store.open());
    await sql`set default_transaction_read_only = on`.execute(database.db);
    const error = await writeSetting(database.db, 'a', '1').catch((reason: unknown) => reason);
    expect(isStoreUnavailable(error)).toBe(true);

    await writeSetting(database.db, 'a', '2');
    await sql`set default_transaction_read_only = on`.execute(database.db);
    const inTransaction = database.transaction(async (tx) => {
      await readSetting(tx, 'a');
      await writeSetting(tx, 'a', '3');
    });
    expect(isStoreUnavailable(await inTransaction.catch((reason: unknown) => reason))).toBe(true);
    await database.transaction((tx) => writeSetting(tx, 'a', '4'));
    expect(await readSetting(database.db, 'a')).toBe('4');
  });

  test('connections that have gone silent are given up, and new ones are made', async () => {
    const store = await fresh();
    const network = await startTcpProxy(Number(new URL(store.place).port));
    const database = openPostgres(network.urlOf(store.place));
    try {
      await prepareStore(database);
      const write = (value: string) => Promise.all([1, 2, 3].map((n) => writeSetting(database.db, `a-${n}`, value).catch((reason: unknown) => reason)));
      expect(await write('1')).toEqual([undefined, undefined, undefined]);

      network.blackHole();
      network.heal();

      expect((await write('2')).map((error) => isStoreUnavailable(error))).toEqual([true, true, true]);
      expect(await write('3')).toEqual([undefined, undefined, undefined]);
      expect(await readSetting(database.db, 'a-1')).toBe('3');
    } finally {
      await database.close();
      await network.close();
    }
  });

  test('a store on a network that has gone silent closes all the same', async () => {
    const store = await fresh();
    const network = await startTcpProxy(Number(new URL(store.place).port));
    const database = openPostgres(network.urlOf(store.place));
    const listening = Promise.withResolvers<void>();
    database.onSignal('registration-due', listening.resolve);
    await prepareStore(database);
    await listening.promise;
    network.blackHole();

    const startedAt = performance.now();
    await database.close();

    // After which a query would be given up.
    expect(performance.now() - startedAt).toBeLessThan(10_000);
    await network.close();
  });
}, ['postgres']);
