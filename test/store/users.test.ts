import { randomBytes } from 'node:crypto';
import { CompiledQuery, sql } from 'kysely';
import { beforeEach, expect, test } from 'vitest';
import { searchUsers, sortUsers } from '../../src/search/search-users.ts';
import type { Database } from '../../src/store/database.ts';
import { createLoginStore } from '../../src/store/logins.ts';
import { migrate } from '../../src/store/migrate.ts';
import { createRoleStore } from '../../src/store/roles.ts';
import type { NewRow } from '../../src/store/schema.ts';
import { createUserStore } from '../../src/store/users.ts';
import { describeEachStore } from '../helpers/each-store.ts';

const CONNECTIONS = [['con_db', 'people', 'auth0'], ['con_sms', 'sms', 'sms']] as const;

describeEachStore('users and roles in the store', (fresh) => {
  let database: Database;
  beforeEach(async () => {
    database = (await fresh()).open();
    await migrate(database);
    for (const [id, name, strategy] of CONNECTIONS) {
      await database.db.insertInto('connection').values({ id, name, strategy, options: '{}', metadata: '{}', created_at: 0 }).execute();
    }
  });

  async function add(id: string, fields: Partial<NewRow<'user_account'>> = {}): Promise<string> {
    await database.db
      .insertInto('user_account')
      .values({
        id,
        connection_id: id.startsWith('sms|') ? 'con_sms' : 'con_db',
        email: `${id.split('|')[1]}@example.com`,
        email_verified: 1,
        username: null,
        phone_number: null,
        phone_verified: 0,
        profile: '{}',
        user_metadata: '{}',
        app_metadata: '{}',
        password_hash: null,
        last_password_reset: null,
        created_at: 1,
        updated_at: 1,
        ...fields,
      })
      .execute();
    return id;
  }

  const users = () => createUserStore({ database });
  const roles = () => createRoleStore({ database });
  const notThere = (message: string) => expect.objectContaining({ status: 404, body: expect.objectContaining({ message }) });

  test('a user is found with its connection, by id and by address', async () => {
    await add('auth0|a');
    expect(await users().find('auth0|a')).toMatchObject({ id: 'auth0|a', connection_name: 'people' });
    expect(await users().findByEmail('a@example.com')).toMatchObject([{ id: 'auth0|a', connection_name: 'people' }]);
    await expect(users().find('auth0|b')).rejects.toEqual(notThere('The user does not exist.'));
  });

  test('the work to find who logs in does not grow with the number of users of the connection', async () => {
    await sql`insert into user_account (id, connection_id, email, email_verified, phone_number, phone_verified, profile, user_metadata, app_metadata, created_at, updated_at)
      with recursive n(i) as (select 1 union all select i + 1 from n where i < 20000)
      select 'sms|' || i, 'con_sms', i || '@example.com', 0, '+49' || i, 1, '{}', '{}', '{}', 1, 1 from n`.execute(database.db);
    if (database.dialect === 'postgres') await sql`analyze user_account`.execute(database.db);
    const asked: CompiledQuery[] = [];
    const db = database.db.withPlugin({
      transformQuery({ node, queryId }) {
        asked.push(database.db.getExecutor().compileQuery(node, queryId));
        return node;
      },
      transformResult: ({ result }) => Promise.resolve(result),
    });
    for (const name of [{ email: 'x' }, { phoneNumber: 'x' }, { emailOrUsername: 'x' }]) await createLoginStore({ database: { ...database, db } }).find('con_sms', name);
    await createUserStore({ database: { ...database, db } }).findTaken('con_sms', { email: null, username: null, phoneNumber: 'x' });

    expect(asked).toHaveLength(4);
    for (const { sql: text, parameters } of asked) {
      const plan = await database.db.executeQuery(CompiledQuery.raw(`explain ${database.dialect === 'sqlite' ? 'query plan ' : ''}${text}`, [...parameters]));
      const lines = plan.rows.map((row) => Object.values(row as object).join(' ')).join('\n');
      // No index by `connection_id` alone, which would be read for every user of the connection.
      expect(lines).not.toMatch(/Seq Scan|SCAN |\(connection_id=\?\)|Index Cond: \(connection_id = [^()]*\)$/m);
    }
  });

  test('a list is the oldest first, or as it is asked for, with its number of users', async () => {
    await add('auth0|b', { created_at: 1 });
    await add('auth0|a', { created_at: 2 });
    await add('sms|c', { created_at: 3, phone_number: '+1' });
    const ids = async (search: Parameters<ReturnType<typeof users>['list']>[0], order?: string) => {
      const listed = await users().list(search, { limit: 10, offset: 0, order: order === undefined ? undefined : sortUsers(database, order) });
      expect(await users().count(search)).toBe(listed.length);
      return listed.map(({ id }) => id);
    };
    expect(await ids({})).toEqual(['auth0|b', 'auth0|a', 'sms|c']);
    expect(await ids({}, 'email:1')).toEqual(['auth0|a', 'auth0|b', 'sms|c']);
    expect(await ids({ connection: 'sms' })).toEqual(['sms|c']);
    expect(await ids({ condition: searchUsers(database, 'identities.connection:"people" AND NOT user_id:"auth0|a"') })).toEqual(['auth0|b']);
    expect(await users().list({}, { limit: 1, offset: 1 })).toMatchObject([{ id: 'auth0|a' }]);
  });

  test('each identifier of a connection is found taken, another connection is not looked at', async () => {
    await add('auth0|a', { username: 'ada' });
    await add('sms|p', { phone_number: '+1' });
    const taken = (connection: string, email: string | null, username: string | null, phoneNumber: string | null = null) => users().findTaken(connection, { email, username, phoneNumber });
    expect(await taken('con_db', 'a@example.com', 'ada')).toBe('email');
    expect(await taken('con_db', 'other@example.com', 'ada')).toBe('username');
    expect(await taken('con_sms', null, null, '+1')).toBe('phone_number');
    expect(await taken('con_sms', 'a@example.com', 'ada')).toBeNull();
    expect(await taken('con_db', null, null)).toBeNull();
  });

  test('changes of one user at once follow each other, and a refused one changes nothing', async () => {
    const id = await add('auth0|a');
    const count = () => users().update(id, ({ logins_count: before }) => ({ logins_count: before + 1 }));
    await Promise.all(Array.from({ length: 10 }, count));
    expect((await users().find(id)).logins_count).toBe(10);
    await expect(users().update(id, () => ({ blocked: 1 }), () => Promise.reject(new Error('no')))).rejects.toThrow('no');
    expect((await users().find(id)).blocked).toBe(0);
    await expect(users().update('auth0|none', () => ({ blocked: 1 }))).rejects.toEqual(notThere('The user does not exist.'));
  });

  test('one of two who want the same identifier at once gets it', async () => {
    const two = await Promise.all([add('auth0|a'), add('auth0|b')]);
    const results = await Promise.allSettled(two.map((id) => users().update(id, () => ({ email: 'wanted@example.com' }))));
    expect(results.map(({ status }) => status).toSorted()).toEqual(['fulfilled', 'rejected']);
    const failed = results.find((result) => result.status === 'rejected');
    expect(failed?.reason).toMatchObject({ status: 400, body: { message: 'The specified new email already exists', errorCode: 'auth0_idp_error' } });
  });

  test('a user is removed with what hangs on it, also while it gets a role', async () => {
    const role = await roles().create({ name: 'member', description: '' });
    for (let round = 0; round < 10; round++) {
      const id = await add(`auth0|${round}`);
      const [given] = await Promise.allSettled([roles().assign([id], [role.id]), users().remove(id)]);
      if (given.status === 'rejected') expect(given.reason).toEqual(notThere('The user does not exist.'));
    }
    expect(await roles().usersOf(role.id, { limit: 10 })).toEqual({ items: [], total: 0 });
    await users().remove('auth0|none');
  });

  test('roles that are given and deleted at once leave nobody with a role that is gone', async () => {
    const ids = [await add('auth0|a'), await add('auth0|b')];
    for (let round = 0; round < 10; round++) {
      const { id } = await roles().create({ name: `role ${round}`, description: '' });
      // In both orders, so that two who give do not wait for each other.
      const results = await Promise.allSettled([roles().assign(ids, [id]), roles().assign(ids.toReversed(), [id]), roles().remove(id)]);
      for (const result of results) if (result.status === 'rejected') expect(result.reason).toEqual(notThere('The role does not exist.'));
      await expect(roles().find(id)).rejects.toEqual(notThere('The role does not exist.'));
    }
    expect(await roles().ofUser('auth0|a', { limit: 10 })).toEqual({ items: [], total: 0 });
  });

  test('a thousand users get a role in one request', async () => {
    const role = await roles().create({ name: 'all', description: '' });
    const ids = Array.from({ length: 1000 }, () => `auth0|${randomBytes(12).toString('hex')}`);
    for (const id of ids) await add(id);
    await roles().assign(ids, [role.id]);
    expect((await roles().usersOf(role.id, { limit: 1 })).total).toBe(1000);
  });
});
