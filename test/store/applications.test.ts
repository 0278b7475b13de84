import { randomBytes } from 'node:crypto';
import { sql } from 'kysely';
import { expect, it, vi } from 'vitest';
import { createClientGrantStore } from '../../src/store/client-grants.ts';
import { createClientManagement } from '../../src/store/client-management.ts';
import { createClientStore, MANAGEMENT_AUDIENCE } from '../../src/store/clients.ts';
import { createConnectionManagement } from '../../src/store/connection-management.ts';
import { createConnectionStore, isEnabledFor } from '../../src/store/connections.ts';
import { createKeyring } from '../../src/store/keyring.ts';
import { migrate } from '../../src/store/migrate.ts';
import { createResourceServerStore } from '../../src/store/resource-servers.ts';
import { readTenantSettings, writeTenantSettings } from '../../src/store/tenant-settings.ts';
import { describeEachStore } from '../helpers/each-store.ts';
import { signUpOf } from '../helpers/stores.ts';

const ALL = { limit: 100 };

describeEachStore('applications in the store', (fresh) => {
  async function open() {
    const database = (await fresh()).open();
    await migrate(database);
    const keyring = createKeyring(database, randomBytes(32));
    await keyring.prepare();
    const first = await createClientStore({ database }).ensureFirst({ clientId: 'first', clientSecret: 'secret' });
    let changes = 0;
    return {
      database,
      first,
      changes: () => changes,
      clients: createClientManagement({ database, keyring, onChanged: () => void changes++ }),
      connections: createConnectionManagement({ database, keyring }),
      grants: createClientGrantStore({ database }),
      resourceServers: createResourceServerStore({ database }),
    };
  }

  it('finds clients by kind and by party, also where a setting was never given', async () => {
    const { clients, changes } = await open();
    await clients.create({ name: 'spa', settings: { app_type: 'spa', is_first_party: false } });
    await clients.create({ name: 'native', settings: { app_type: 'native' } });
    await clients.create({ name: 'plain', settings: {} });
    const names = async (filter: Parameters<typeof clients.list>[0]) => (await clients.list(filter, ALL)).items.map(({ name }) => name).toSorted();
    expect(await names({ appTypes: ['spa', 'native'] })).toEqual(['native', 'spa']);
    expect(await names({ isFirstParty: false })).toEqual(['spa']);
    expect(await names({ isFirstParty: true })).toEqual(['First client', 'native', 'plain']);
    expect(await clients.list({}, { limit: 2, offset: 3 })).toMatchObject({ items: [{}], total: 4 });
    expect(changes()).toBe(3);
  });

  it('lists each row once from checkpoint to checkpoint, also when the last one seen is gone', async () => {
    const { resourceServers } = await open();
    for (const identifier of ['a', 'b', 'c', 'd']) await resourceServers.create({ identifier, name: identifier, scopes: [], settings: {} });
    const { items: start } = await resourceServers.list({}, { limit: 2 });
    await resourceServers.remove(start[1]!.id);
    const { items: rest, total } = await resourceServers.list({}, { limit: 2, after: start[1]!.id });
    expect([...start, ...rest].map(({ identifier }) => identifier).toSorted()).toEqual(['a', 'b', 'c', 'd']);
    expect(total).toBe(3);
  });

  it('removes a client together with its grants and its place on connections', async () => {
    const { database, clients, connections, grants } = await open();
    const { id } = await clients.create({ name: 'leaving', settings: {} });
    await connections.create({ name: 'c', strategy: 'auth0', enabledClients: [id, 'first', 'unknown'], settings: {} });
    await grants.create({ clientId: id, audience: MANAGEMENT_AUDIENCE, scope: [], subjectType: 'client', settings: {} });
    const enabled = async () => (await createConnectionStore({ database }).findByName('c'))!;
    expect(isEnabledFor(await enabled(), id)).toBe(true);
    expect(isEnabledFor(await enabled(), 'unknown')).toBe(false);
    await clients.remove(id);
    expect((await enabled()).enabledClients).toEqual(['first']);
    expect(await grants.findFor(id, MANAGEMENT_AUDIENCE)).toBeNull();
    await expect(clients.remove('first')).rejects.toMatchObject({ status: 409 });
  });

  it('removes a connection also while somebody signs up to it, and with it that user', async () => {
    const { database, connections } = await open();
    const { id } = await connections.create({ name: 'c', strategy: 'auth0', settings: {} });
    let removed: Promise<void> | undefined;
    await database.transaction(async (tx) => {
      await tx.insertInto('user_account').values({ ...signUpOf('ada@example.com').user, connection_id: id }).execute();
      removed = connections.remove(id);
      // Waits for the removal to have begun: on PostgreSQL it waits for this transaction, on SQLite it has not begun.
      if (database.dialect === 'postgres') {
        await vi.waitUntil(async () => (await sql`select 1 from pg_locks where not granted`.execute(database.db)).rows.length > 0, { timeout: 10_000 });
      }
    });
    await removed;
    expect(await database.db.selectFrom('user_account').select('id').execute()).toEqual([]);
  });

  it("keeps the first client's place on connections when it gets another id", async () => {
    const { database, connections, grants } = await open();
    await connections.create({ name: 'c', strategy: 'auth0', enabledClients: ['first'], settings: {} });
    await createClientStore({ database }).ensureFirst({ clientId: 'renamed', clientSecret: null });
    expect((await createConnectionStore({ database }).findByName('c'))!.enabledClients).toEqual(['renamed']);
    expect(await grants.findFor('renamed', MANAGEMENT_AUDIENCE)).toMatchObject({ scope: expect.arrayContaining(['read:users']) });
  });

  it('has one grant for a client, an API and a kind of subject', async () => {
    const { grants } = await open();
    await expect(grants.create({ clientId: 'first', audience: MANAGEMENT_AUDIENCE, scope: [], subjectType: 'client', settings: {} })).rejects.toMatchObject({ status: 409 });
    const { id } = await grants.create({ clientId: 'first', audience: MANAGEMENT_AUDIENCE, scope: [], subjectType: 'user', settings: { allow_all_scopes: true } });
    expect((await grants.list({ clientId: 'first', subjectType: 'user' }, ALL)).items).toMatchObject([{ id, settings: { allow_all_scopes: true } }]);
  });

  it('says that a name is taken, also of two that are made at once', async () => {
    const { connections, resourceServers, clients } = await open();
    const both = async (make: () => Promise<unknown>) => (await Promise.allSettled([make(), make()])).map((result) => (result.status === 'rejected' ? (result.reason as { status: number }).status : 201)).toSorted((a, b) => a - b);
    expect(await both(() => connections.create({ name: 'c', strategy: 'auth0', settings: {} }))).toEqual([201, 409]);
    expect(await both(() => resourceServers.create({ identifier: 'r', name: 'r', scopes: [], settings: {} }))).toEqual([201, 409]);
    expect(await both(() => clients.create({ id: 'one-id', name: 'x', settings: {} }))).toEqual([201, 409]);
  });

  it('loses none of the changes that are made at once', async () => {
    const { connections, clients } = await open();
    const made = await Promise.all(Array.from({ length: 6 }, (_, index) => clients.create({ name: `c${index}`, settings: {} })));
    const { id } = await connections.create({ name: 'c', strategy: 'auth0', settings: {} });
    await Promise.all(made.map((client) => connections.setClients(id, [{ clientId: client.id, enabled: true }])));
    expect((await connections.get(id)).enabledClients).toHaveLength(6);
    await Promise.all(made.map((client, index) => clients.update(made[0]!.id, { metadata: { [`k${index}`]: client.name }, settings: {} })));
    expect(Object.keys((await clients.get(made[0]!.id)).metadata)).toHaveLength(6);
  });

  it('gives back the secrets of options, which no other row can open', async () => {
    const { database, connections } = await open();
    const options = { client_secret: 'one', list: [{ token: 'two' }, 'plain'] };
    const [a, b] = [await connections.create({ name: 'a', strategy: 'samlp', options, settings: {} }), await connections.create({ name: 'b', strategy: 'samlp', options, settings: {} })];
    expect((await connections.get(a.id)).options).toEqual(options);
    const { secrets_sealed: sealed } = await database.db.selectFrom('connection').select('secrets_sealed').where('id', '=', a.id).executeTakeFirstOrThrow();
    await database.db.updateTable('connection').set({ secrets_sealed: sealed }).where('id', '=', b.id).execute();
    await expect(connections.get(b.id)).rejects.toThrow('cannot be opened');
  });

  it('keeps tenant settings that are changed one after the other', async () => {
    const { database } = await open();
    await database.transaction((tx) => writeTenantSettings(tx, { friendlyName: 'A' }));
    await database.transaction((tx) => writeTenantSettings(tx, { tellsUserExists: false }));
    expect(await readTenantSettings(database.db)).toEqual({ tellsUserExists: false, friendlyName: 'A', supportEmail: null });
  });
});
