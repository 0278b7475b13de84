import { randomBytes } from 'node:crypto';
import { expect, test } from 'vitest';
import { createKeyring, INSTALLATION_KEY, WrongMasterKeyError } from '../../src/store/keyring.ts';
import { createRekey } from '../../src/store/rekey.ts';
import { describeEachStore } from '../helpers/each-store.ts';
import { bindActions, prepareStore, signUpOf, TEST_MASTER_KEY } from '../helpers/stores.ts';

const NEW_KEY = randomBytes(32);

describeEachStore('replacing the master key', (fresh) => {
  /** Until nothing is left to do. */
  async function finish(rekey: ReturnType<typeof createRekey>): Promise<void> {
    for (let batches = 0; batches < 50; batches++) {
      await rekey.step();
      if ((await rekey.progress())?.endedAt !== null) return;
    }
    throw new Error('it does not come to an end');
  }

  test('afterwards everything opens without the key before, and that one alone is refused', async () => {
    const store = await fresh();
    const usher = await prepareStore(store.open());
    await bindActions(usher, [{ name: 'Notify' }]);
    const before = await usher.register(signUpOf('ann@example.com'));
    const sealed = await usher.keyring.seal(INSTALLATION_KEY, 'x', 'text');
    const mac = usher.keyring.mac('counter', 'ann');

    const database = store.open();
    const both = createKeyring(database, NEW_KEY, TEST_MASTER_KEY);
    await both.prepare();
    const rekey = createRekey({ database, keyring: both, settleMs: 0 });
    expect(await rekey.progress()).toBeNull();
    await rekey.begin('admin');
    await finish(rekey);

    const alone = createKeyring(database, NEW_KEY);
    await alone.prepare();
    expect(await alone.open(INSTALLATION_KEY, 'x', sealed)).toBe('text');
    const registration = await database.db.selectFrom('registration').selectAll().where('id', '=', before.registrationId).executeTakeFirstOrThrow();
    expect(await alone.openJson(registration.key_id, `registration/${registration.id}/event`, registration.event_sealed)).toEqual({ user: { email: 'ann@example.com' } });
    expect(alone.mac('counter', 'ann')).toBe(mac);
    await expect(createKeyring(database, TEST_MASTER_KEY).prepare()).rejects.toThrow(WrongMasterKeyError);
    expect((await rekey.progress())!.rewrapped).toBe((await database.db.selectFrom('data_key').selectAll().execute()).length);
  });

  test('a process that was given both keys, and not told to replace the one before, writes what the others can read', async () => {
    const store = await fresh();
    const old = await prepareStore(store.open());
    const database = store.open();
    const both = createKeyring(database, NEW_KEY, TEST_MASTER_KEY);
    await both.prepare();

    const keyId = await database.transaction((tx) => both.newDataKey(tx));

    expect(await old.keyring.open(keyId, 'x', await both.seal(keyId, 'x', 'text'))).toBe('text');
    expect(both.mac('counter', 'ann')).toBe(old.keyring.mac('counter', 'ann'));
  });

  test('what a process wraps under the key before while it does not know of the change is found', async () => {
    const store = await fresh();
    const slow = createKeyring((await prepareStore(store.open())).database, NEW_KEY, TEST_MASTER_KEY);
    await slow.prepare();
    const database = store.open();
    const both = createKeyring(database, NEW_KEY, TEST_MASTER_KEY);
    await both.prepare();
    const rekey = createRekey({ database, keyring: both, settleMs: 0 });
    await rekey.begin('admin');
    await rekey.step();

    // It has looked less than 5 s ago.
    const late = await database.transaction((tx) => slow.newDataKey(tx));
    await finish(rekey);

    const rows = await database.db.selectFrom('data_key').select(['id', 'master_key_id']).execute();
    expect(rows.map(({ id }) => id)).toContain(late);
    expect(new Set(rows.map((row) => row.master_key_id))).toEqual(new Set([both.masterKeyId]));
  });

  test('as long as it is under way, a start without the key before says that it is needed', async () => {
    const store = await fresh();
    await prepareStore(store.open());
    const database = store.open();
    const both = createKeyring(database, NEW_KEY, TEST_MASTER_KEY);
    await both.prepare();
    const rekey = createRekey({ database, keyring: both, settleMs: 60_000 });
    await rekey.begin('admin');

    await expect(createKeyring(store.open(), NEW_KEY).prepare()).rejects.toThrow(/USHER_MASTER_KEY_PREVIOUS/);
    // Also when nothing is left under the key before: some process may wrap under it yet.
    while (await rekey.step());
    expect(await database.db.selectFrom('data_key').select('id').where('master_key_id', '<>', both.masterKeyId).execute()).toEqual([]);
    await expect(createKeyring(store.open(), NEW_KEY).prepare()).rejects.toThrow(/USHER_MASTER_KEY_PREVIOUS/);
    // With both it goes on, also in another process.
    const another = createKeyring(store.open(), NEW_KEY, TEST_MASTER_KEY);
    await another.prepare();
    await finish(createRekey({ database: store.open(), keyring: another, settleMs: 0 }));
    await createKeyring(store.open(), NEW_KEY).prepare();
  });

  test('it is not over before every process has learnt of it, and a second wish for the same key is refused', async () => {
    const store = await fresh();
    await prepareStore(store.open());
    const database = store.open();
    const both = createKeyring(database, NEW_KEY, TEST_MASTER_KEY);
    await both.prepare();
    const patient = createRekey({ database, keyring: both, settleMs: 60_000 });
    const { startedAt } = await patient.begin('admin');
    for (let batch = 0; batch < 3; batch++) await patient.step();

    expect(await patient.progress()).toMatchObject({ startedAt, endedAt: null });
    expect(await patient.begin('admin')).toMatchObject({ startedAt });
    await finish(createRekey({ database, keyring: both, settleMs: 0 }));
    await expect(patient.begin('admin')).rejects.toMatchObject({ status: 409 });
  });

  test('many data keys are wrapped in small batches', async () => {
    const store = await fresh();
    const { database, keyring } = await prepareStore(store.open());
    await database.transaction(async (tx) => {
      for (let n = 0; n < 450; n++) await keyring.newDataKey(tx);
    });
    const both = createKeyring(database, NEW_KEY, TEST_MASTER_KEY);
    await both.prepare();
    const rekey = createRekey({ database, keyring: both, settleMs: 0 });
    await rekey.begin('admin');
    expect(await rekey.step()).toBe(true);
    expect((await rekey.progress())!.rewrapped).toBe(200);
    await finish(rekey);
    await createKeyring(database, NEW_KEY).prepare();
  });
});
