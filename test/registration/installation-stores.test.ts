import { randomBytes } from 'node:crypto';
import { expect, it } from 'vitest';
import type { CacheChange } from '../../src/domain/invocation.ts';
import { SCOPES } from '../../src/domain/scopes.ts';
import { readCache, writeCache } from '../../src/store/cache.ts';
import { createClientGrantStore } from '../../src/store/client-grants.ts';
import { createClientStore, MANAGEMENT_AUDIENCE } from '../../src/store/clients.ts';
import { createConnectionStore, DEFAULT_CONNECTION } from '../../src/store/connections.ts';
import type { Database } from '../../src/store/database.ts';
import { readPreExecution, writeExecution, type PreExecution } from '../../src/store/executions.ts';
import { createKeyring, type Keyring } from '../../src/store/keyring.ts';
import { createLogStore, writeLog } from '../../src/store/logs.ts';
import { migrate } from '../../src/store/migrate.ts';
import { createSigningKeys } from '../../src/store/signing-keys.ts';
import { describeEachStore } from '../helpers/each-store.ts';

const TRIGGER = 'pre-user-registration';

const set = (key: string, expiresAt: number): CacheChange => ({ kind: 'set', key, record: { value: `v-${key}`, expires_at: expiresAt } });
const described = (items: { [name: string]: unknown }[]) => items.map((item) => item['description']);

describeEachStore('what the API keeps of an installation', (fresh) => {
  async function open(): Promise<{ database: Database; keyring: Keyring; reopen: () => Database }> {
    const store = await fresh();
    const database = store.open();
    await migrate(database);
    const keyring = createKeyring(database, randomBytes(32));
    await keyring.prepare();
    return { database, keyring, reopen: () => store.open() };
  }

  it('makes the first client once, with an id like those of Auth0 and all scopes', async () => {
    const { database } = await open();
    const clients = createClientStore({ database });
    expect(await clients.hasFirst()).toBe(false);
    const id = await clients.ensureFirst({ clientId: null, clientSecret: 'secret' });
    expect(id).toMatch(/^[\w-]{32}$/);
    expect(await clients.hasFirst()).toBe(true);
    expect(await clients.ensureFirst({ clientId: null, clientSecret: null })).toBe(id);
    expect(await clients.first()).toMatchObject({ id, grantTypes: expect.arrayContaining(['client_credentials', 'password']) });
    expect(await createClientGrantStore({ database }).findFor(id, MANAGEMENT_AUDIENCE)).toMatchObject({ scope: SCOPES });
    expect(await clients.authenticate(id, 'secret')).toMatchObject({ id });
    expect(await clients.authenticate(id, 'Secret')).toBeNull();
  });

  it('makes the first client once when two processes start at the same moment', async () => {
    const { database, reopen } = await open();
    const stores = [createClientStore({ database }), createClientStore({ database: reopen() })];
    const ids = await Promise.all(stores.map((clients) => clients.ensureFirst({ clientId: null, clientSecret: 'secret' })));
    expect(ids[0]).toBe(ids[1]);
  });

  it('gives the first client an id and a secret that are given later', async () => {
    const clients = createClientStore(await open());
    const before = await clients.ensureFirst({ clientId: null, clientSecret: 'old' });
    expect(await clients.ensureFirst({ clientId: 'mine', clientSecret: 'new' })).toBe('mine');
    expect(await clients.authenticate('mine', 'new')).toMatchObject({ id: 'mine' });
    expect(await clients.authenticate('mine', 'old')).toBeNull();
    expect(await clients.find(before)).toBeNull();
  });

  it('gives the first client that an older version made the scopes that are new', async () => {
    const { database } = await open();
    const clients = createClientStore({ database });
    const id = await clients.ensureFirst({ clientId: null, clientSecret: 'secret' });
    const older = SCOPES.filter((scope) => !scope.endsWith(':executions'));
    await database.db.updateTable('client_grant').set({ scope: JSON.stringify(older) }).execute();

    await clients.ensureFirst({ clientId: null, clientSecret: null });

    expect(await createClientGrantStore({ database }).findFor(id, MANAGEMENT_AUDIENCE)).toMatchObject({ scope: SCOPES });
  });

  it('makes no client without a secret', async () => {
    const clients = createClientStore(await open());
    await expect(clients.ensureFirst({ clientId: 'mine', clientSecret: null })).rejects.toThrow('secret');
    expect(await clients.hasFirst()).toBe(false);
  });

  it('has the default connection, the same one on each start', async () => {
    const connections = createConnectionStore(await open());
    await connections.ensureDefault();
    const first = await connections.findByName(DEFAULT_CONNECTION);
    await connections.ensureDefault();
    expect(first).toMatchObject({ id: expect.stringMatching(/^con_[0-9a-f]{16}$/), strategy: 'auth0', options: { passwordPolicy: 'good' } });
    expect(await connections.findByName(DEFAULT_CONNECTION)).toEqual(first);
  });

  it('signs with one key, also when two processes make the first at the same moment, and keeps it sealed', async () => {
    const { database, keyring, reopen } = await open();
    const [one, two] = [createSigningKeys({ database, keyring }), createSigningKeys({ database: reopen(), keyring })];
    await Promise.all([one.current(), two.current()]);
    const again = createSigningKeys({ database: reopen(), keyring });
    const { kid } = await again.current();
    expect((await again.jwks()).keys.map((key) => key.kid)).toContain(kid);
    // Whichever of the two a process has signed with, all verify.
    for (const keys of [one, two]) expect(await again.find((await keys.current()).kid)).not.toBeNull();
    const rows = JSON.stringify(await database.db.selectFrom('signing_key').selectAll().execute());
    expect(rows).toContain('"kty\\"');
    expect(rows).not.toContain('"d\\"');
  });

  it('keeps the values of api.cache until they expire, and of too many those that live longest', async () => {
    const { database, keyring } = await open();
    const now = Date.now();
    const write = async (...changes: CacheChange[]) => await database.transaction((tx) => writeCache(tx, keyring, TRIGGER, changes, now));

    await write(set('a', now + 1000), set('b', now + 2000), { kind: 'delete', key: 'a' }, set('b', now + 3000));
    expect(await readCache(database.db, keyring, TRIGGER, now)).toEqual({ b: { value: 'v-b', expires_at: now + 3000 } });
    expect(await readCache(database.db, keyring, TRIGGER, now + 3000)).toEqual({});
    expect(await readCache(database.db, keyring, 'post-user-registration', now)).toEqual({});

    await write(...Array.from({ length: 25 }, (_, i) => set(`k${i}`, now + 10_000 + i)));
    const keys = Object.keys(await readCache(database.db, keyring, TRIGGER, now));
    expect(keys).toHaveLength(20);
    expect(keys).toContain('k24');
    expect(keys).not.toContain('k4');
    expect(JSON.stringify(await database.db.selectFrom('cache_entry').selectAll().execute())).not.toContain('v-k24');
  });

  it('reads the tenant log from either end and after a checkpoint', async () => {
    const { database, keyring } = await open();
    for (let i = 0; i < 5; i++) await writeLog(database.db, keyring, { type: 'fs', date: Date.now(), clientId: 'c', item: { description: `entry ${i}` } });
    const logs = createLogStore({ database, keyring, delayMs: 20 });
    expect(described(await logs.page({ limit: 2, offset: 1, order: 'desc' }))).toEqual(['entry 3', 'entry 2']);
    await expect.poll(() => logs.after(null, 100)).toHaveLength(5);
    const [first] = await logs.after(null, 1);
    expect(described(await logs.after(first?.log_id ?? '', 100))).toEqual(['entry 1', 'entry 2', 'entry 3', 'entry 4']);
    expect(await logs.count()).toBe(5);
    expect(await logs.find(first?.log_id ?? '')).toMatchObject({ type: 'fs', client_id: 'c', description: 'entry 0' });
    expect(JSON.stringify(await database.db.selectFrom('log').selectAll().execute())).not.toContain('entry');
  });

  it('gives no checkpoint beyond an entry that somebody else is still writing', async () => {
    const { database, keyring, reopen } = await open();
    const write = (db: Database, by: Keyring, description: string) => writeLog(db.db, by, { type: 'ss', date: Date.now(), item: { description } });
    const commit = Promise.withResolvers<void>();
    // Its id is made now, and its commit comes second.
    const older = write(reopen(), { ...keyring, sealJson: async (...args) => await commit.promise.then(() => keyring.sealJson(...args)) }, 'older');
    await write(database, keyring, 'newer');

    const logs = createLogStore({ database, keyring });
    const withoutDelay = createLogStore({ database, keyring, delayMs: 0 });
    expect(await logs.after(null, 10)).toEqual([]);
    // The mistake that the delay is against: nothing comes after this checkpoint, and the older entry is missed.
    await expect.poll(async () => described(await withoutDelay.after(null, 10))).toEqual(['newer']);
    const [checkpoint] = await withoutDelay.after(null, 10);
    commit.resolve();
    await older;
    expect(await withoutDelay.after(checkpoint!.log_id, 10)).toEqual([]);

    expect(await logs.after(null, 10)).toEqual([]);
    const aMomentLater = createLogStore({ database, keyring, delayMs: 20 });
    await expect.poll(async () => described(await aMomentLater.after(null, 10))).toEqual(['older', 'newer']);
  });

  it('keeps an execution whole', async () => {
    const { database, keyring } = await open();
    const result = { actionId: 'a', actionName: 'A', bindingId: 'b', versionId: 'v', versionNumber: 1, startedAt: 1, endedAt: 2, outcome: 'denied', logs: [{ at: 1, level: 'log', text: 'private' }], logsTruncated: false, calls: [] } as const;
    const execution: PreExecution = { id: 'e', status: 'final', results: [{ ...result, logs: [...result.logs], calls: [] }], createdAt: 1, updatedAt: 2 };
    await writeExecution(database.db, keyring, execution, null);
    expect(await readPreExecution(database.db, keyring, 'e')).toEqual({ ...execution, registrationId: null });
    expect(await readPreExecution(database.db, keyring, 'other')).toBeNull();
    expect(JSON.stringify(await database.db.selectFrom('execution').selectAll().execute())).not.toContain('private');
  });
});
