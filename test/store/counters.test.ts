import { expect, test } from 'vitest';
import { createCounterStore } from '../../src/store/counters.ts';
import { removeExpired } from '../../src/store/expired.ts';
import { migrate } from '../../src/store/migrate.ts';
import { describeEachStore } from '../helpers/each-store.ts';

describeEachStore('counters', (fresh) => {
  test('processes that count the same thing at once lose nothing', async () => {
    const place = await fresh();
    const [one, other] = [place.open(), place.open()];
    await migrate(one);
    const counters = [createCounterStore({ database: one }), createCounterStore({ database: other })];

    const counts = await Promise.all(Array.from({ length: 40 }, (_, index) => counters[index % 2]!.increment('failed/ann', 60_000)));

    expect(counts.map(({ count }) => count).toSorted((a, b) => a - b)).toEqual(Array.from({ length: 40 }, (_, index) => index + 1));
    expect(new Set(counts.map(({ expiresAt }) => expiresAt)).size).toBe(1);
    expect(await counters[0]!.read('failed/ann')).toMatchObject({ count: 40 });
    expect(await counters[0]!.read('failed/ben')).toBeNull();
  });

  test('a count that has run out is none, and begins again', async () => {
    const database = (await fresh()).open();
    await migrate(database);
    const counters = createCounterStore({ database });
    await counters.increment('a', 60_000);
    await counters.increment('b', 60_000);
    await database.db.updateTable('counter').set({ expires_at: 1 }).where('key', '=', 'a').execute();

    expect(await counters.read('a')).toBeNull();
    await removeExpired(database);
    expect(await database.db.selectFrom('counter').select('key').execute()).toEqual([{ key: 'b' }]);
    expect((await counters.increment('a', 60_000)).count).toBe(1);
    await database.db.updateTable('counter').set({ expires_at: 1 }).where('key', '=', 'b').execute();
    const again = await counters.increment('b', 60_000);
    expect(again.count).toBe(1);
    expect(again.expiresAt).toBeGreaterThan(Date.now());
    await counters.remove('b');
    expect(await counters.read('b')).toBeNull();
  });
});
