import { statSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import { sql } from 'kysely';
import { expect, test, vi } from 'vitest';
import { newId, newUserId, nowIsoNanos } from '../../src/domain/ids.ts';
import { isStoreUnavailable, storeNow, uniqueViolation } from '../../src/store/database.ts';
import { readSetting, writeSetting } from '../../src/store/settings.ts';
import { describeEachStore } from '../helpers/each-store.ts';
import { prepareStore } from '../helpers/stores.ts';

async function failureOf(promise: Promise<unknown>): Promise<unknown> {
  return await promise.then(
    () => {
      throw new Error('it did not fail');
    },
    (error: unknown) => error,
  );
}

/** A PostgreSQL that was killed has processes that may answer for some moments more. */
async function failureInTheEnd(attempt: () => Promise<unknown>): Promise<unknown> {
  return await vi.waitUntil(async () => await attempt().then(() => undefined, (error: unknown) => error), { timeout: 10_000, interval: 5 });
}

describeEachStore('database', (fresh, postgres) => {
  test('a transaction that throws leaves nothing behind, and the next one works', async () => {
    const { database } = await prepareStore((await fresh()).open());

    const error = await failureOf(database.transaction(async (tx) => {
      await writeSetting(tx, 'a', '1');
      throw new TypeError('on purpose');
    }));

    expect(error).toEqual(new TypeError('on purpose'));
    expect(await readSetting(database.db, 'a')).toBeUndefined();
    await database.transaction((tx) => writeSetting(tx, 'a', '2'));
    await writeSetting(database.db, 'a', '3');
    expect(await readSetting(database.db, 'a')).toBe('3');
  });

  test('numbers, bytes, times and counts come back as what they were', async () => {
    const { database } = await prepareStore((await fresh()).open());
    const archive = Buffer.from([0, 1, 2, 255]);
    const time = 4_000_000_000_000;

    await database.db.insertInto('dependency_archive').values({ key: 'k', lockfile: '{}', archive, created_at: time }).execute();

    const row = await database.db.selectFrom('dependency_archive').selectAll().executeTakeFirstOrThrow();
    expect(Buffer.from(row.archive)).toEqual(archive);
    expect(row.created_at).toBe(time);
    const { count } = await database.db.selectFrom('dependency_archive').select((eb) => eb.fn.countAll<number>().as('count')).executeTakeFirstOrThrow();
    expect(count).toBe(1);
    const before = Date.now();
    const now = await storeNow(database);
    expect(now).toBeGreaterThanOrEqual(before - 1);
    expect(now).toBeLessThanOrEqual(Date.now() + 1);
  });

  test('a taken key is told by its table and columns, and is not an outage', async () => {
    const { database } = await prepareStore((await fresh()).open());
    await writeSetting(database.db, 'a', '1');

    const error = await failureOf(database.db.insertInto('setting').values({ name: 'a', value: '2' }).execute());

    expect(uniqueViolation(error)).toEqual({ table: 'setting', columns: ['name'] });
    expect(isStoreUnavailable(error)).toBe(false);
    expect(uniqueViolation(new Error('UNIQUE'))).toBeUndefined();
  });

  test('a wrong statement is not an outage', async () => {
    const { database } = await prepareStore((await fresh()).open());

    expect(isStoreUnavailable(await failureOf(sql`select nothing from nowhere`.execute(database.db)))).toBe(false);
    expect(isStoreUnavailable(new TypeError('fetch failed'))).toBe(false);
    expect(isStoreUnavailable('ECONNREFUSED')).toBe(false);
  });

  test('an outage is told as one, also in the middle of a transaction, and is over when the store is back', async () => {
    const store = await fresh();
    const { database } = await prepareStore(store.open());
    if (store.dialect === 'sqlite') {
      const full = await sql<{ page_count: number }>`pragma page_count`.execute(database.db);
      await sql`pragma max_page_count = ${sql.lit(full.rows[0]!.page_count)}`.execute(database.db);
      const fill = database.transaction(async (tx) => {
        for (let index = 0; index < 1000; index++) await writeSetting(tx, `a-${index}`, 'x'.repeat(1000));
      });
      const error = await failureOf(fill);
      expect(error).toMatchObject({ message: 'database or disk is full' });
      expect(isStoreUnavailable(error)).toBe(true);
      await sql`pragma query_only = on`.execute(database.db);
      expect(isStoreUnavailable(await failureOf(writeSetting(database.db, 'a', '1')))).toBe(true);
      await sql`pragma query_only = off`.execute(database.db);
      await sql`pragma max_page_count = 1000000`.execute(database.db);
    } else {
      const cut = database.transaction(async (tx) => {
        await writeSetting(tx, 'a', '1');
        await postgres().kill();
        await failureInTheEnd(() => writeSetting(tx, 'a', '2'));
        await writeSetting(tx, 'a', '3');
      });
      expect(isStoreUnavailable(await failureOf(cut))).toBe(true);
      expect(isStoreUnavailable(await failureInTheEnd(() => readSetting(database.db, 'a')))).toBe(true);
      await postgres().start();
    }

    expect(await readSetting(database.db, 'a')).toBeUndefined();
    await database.transaction((tx) => writeSetting(tx, 'a', '4'));
    expect(await readSetting(database.db, 'a')).toBe('4');
  });

  test('a store that was opened and never used closes', async () => {
    const database = (await fresh()).open();

    await expect(database.close()).resolves.toBeUndefined();
  });
});

describeEachStore('embedded store', (fresh) => {
  test('it is readable by its owner only, with its log', async () => {
    const store = await fresh();
    await prepareStore(store.open());

    for (const file of [store.place, `${store.place}-wal`, `${store.place}-shm`]) expect(statSync(file).mode & 0o777).toBe(0o600);
  });

  test('a process that waits for another one to finish writing goes on with its other work', async () => {
    const store = await fresh();
    const { database } = await prepareStore(store.open());
    const other = new DatabaseSync(store.place);
    other.exec('begin immediate');
    let ticks = 0;
    const timer = setInterval(() => {
      if (++ticks === 5) other.exec('commit');
    }, 10);

    await database.transaction((tx) => writeSetting(tx, 'a', '1'));

    clearInterval(timer);
    expect(ticks).toBeGreaterThanOrEqual(5);
    other.exec('begin immediate');
    expect(isStoreUnavailable(await failureOf(writeSetting(database.db, 'a', '2')))).toBe(true);
    other.close();
    expect(await readSetting(database.db, 'a')).toBe('1');
  });
}, ['sqlite']);

test('ids sort in the order in which they were made, and look as the outside expects', () => {
  const ids = Array.from({ length: 10_000 }, newId);
  expect(ids.toSorted()).toEqual(ids);
  expect(new Set(ids).size).toBe(ids.length);
  for (const id of ids.slice(0, 100)) expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  expect(Math.abs(parseInt(ids[0]!.replace('-', '').slice(0, 12), 16) - Date.now())).toBeLessThan(10_000);

  const users = Array.from({ length: 10_000 }, newUserId);
  expect(new Set(users).size).toBe(users.length);
  for (const id of users.slice(0, 100)) expect(id).toMatch(/^[0-9a-f]{24}$/);

  const stamps = Array.from({ length: 1000 }, nowIsoNanos);
  expect(new Set(stamps).size).toBe(stamps.length);
  expect(stamps.toSorted()).toEqual(stamps);
  for (const stamp of stamps) expect(stamp).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z$/);
  expect(Math.abs(Date.parse(stamps[0]!) - Date.now())).toBeLessThan(10_000);
});
