import { expect, test } from 'vitest';
import { createClientGrantStore } from '../../src/store/client-grants.ts';
import { createClientStore, MANAGEMENT_AUDIENCE } from '../../src/store/clients.ts';
import * as initial from '../../src/store/migrations/0001-initial.ts';
import { migrate, StoreNewerError } from '../../src/store/migrate.ts';
import { migrateStore } from '../../src/store/open-store.ts';
import { describeEachStore } from '../helpers/each-store.ts';
import { prepareStore, signUpOf } from '../helpers/stores.ts';

describeEachStore('migrations', (fresh) => {
  test('an empty database gets the tables, and a second start changes nothing', async () => {
    const database = (await fresh()).open();
    const { register } = await prepareStore(database);
    await register(signUpOf('ann@example.com'));
    const before = await database.db.introspection.getTables();

    await migrate(database);

    expect(await database.db.introspection.getTables()).toEqual(before);
    expect(await database.db.selectFrom('user_account').select('email').execute()).toEqual([{ email: 'ann@example.com' }]);
  });

  test('a database of the first release keeps its clients with what they may do, and its users', async () => {
    const database = (await fresh()).open();
    await database.transaction((tx) => initial.up(tx as never));
    const old = database.db.withTables<{ client: Record<string, string | number>; migration: { name: string; applied_at: number } }>();
    await old.schema.createTable('migration').addColumn('name', 'text', (c) => c.primaryKey()).addColumn('applied_at', 'bigint').execute();
    await old.insertInto('migration').values({ name: '0001-initial', applied_at: 1 }).execute();
    await old.insertInto('client')
      .values({ id: 'shop', name: 'Shop', secret_hash: 'hash', scopes: '["read:actions","read:logs"]', metadata: '{"a":"b"}', created_at: 1 })
      .execute();

    await migrate(database);

    expect(await createClientStore({ database }).find('shop')).toMatchObject({ id: 'shop', name: 'Shop', metadata: { a: 'b' } });
    expect(await createClientGrantStore({ database }).findFor('shop', MANAGEMENT_AUDIENCE)).toMatchObject({ scope: ['read:actions', 'read:logs'] });
  });

  test('several processes that start at once on an empty database all come up', async () => {
    const store = await fresh();
    const databases = Array.from({ length: 4 }, () => store.open());

    const place = { databaseUrl: store.dialect === 'postgres' ? store.place : null, file: store.place };
    await Promise.all(databases.map((database) => migrateStore(place, database)));

    for (const database of databases) expect(await database.db.selectFrom('registration').selectAll().execute()).toEqual([]);
  });

  test('a database of a newer Usher is refused with what to do, and stays as it is', async () => {
    const store = await fresh();
    const database = store.open();
    await prepareStore(database);
    const migrations = database.db.withTables<{ migration: { name: string; applied_at: number } }>();
    await migrations.insertInto('migration').values({ name: '9999-from-the-future', applied_at: 1 }).execute();
    await migrations.deleteFrom('migration').where('name', '=', '0001-initial').execute();
    const before = await migrations.selectFrom('migration').selectAll().execute();

    const refused = migrate(store.open());

    await expect(refused).rejects.toThrow(StoreNewerError);
    await expect(refused).rejects.toThrow(/9999-from-the-future.*Start the newer Usher again/);
    expect(await migrations.selectFrom('migration').selectAll().execute()).toEqual(before);
  });

  test('a migration that fails leaves nothing behind', async () => {
    const database = (await fresh()).open();
    // One of the tables is there already, so the migration breaks in its middle.
    await database.db.schema.createTable('registration').addColumn('id', 'text').execute();

    await expect(migrate(database)).rejects.toThrow(/registration/);

    expect((await database.db.introspection.getTables()).map((table) => table.name)).toEqual(['registration']);
  });
});
