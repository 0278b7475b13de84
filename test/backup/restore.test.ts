import { readFile, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync, gzipSync } from 'node:zlib';
import { defaultPayloadConverter } from '@temporalio/common';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { writeBackup } from '../../src/backup/backup-file.ts';
import { checkBackup, restore, type RestoreOptions } from '../../src/backup/restore.ts';
import { readSnapshot } from '../../src/backup/snapshot.ts';
import { TABLES } from '../../src/backup/tables.ts';
import { newId } from '../../src/domain/ids.ts';
import { createClientGrantStore } from '../../src/store/client-grants.ts';
import { MANAGEMENT_AUDIENCE } from '../../src/store/clients.ts';
import { createCodecKeys } from '../../src/store/codec-keys.ts';
import { type Database, isStoreUnavailable } from '../../src/store/database.ts';
import { createKeyring } from '../../src/store/keyring.ts';
import { createRekey } from '../../src/store/rekey.ts';
import * as initial from '../../src/store/migrations/0001-initial.ts';
import { createPayloadCodec } from '../../src/temporal/payload-codec.ts';
import { describeEachStore } from '../helpers/each-store.ts';
import { bindActions, prepareStore, signUpOf, TEST_MASTER_KEY, type TestStore } from '../helpers/stores.ts';
import { contents } from './every-table.ts';

const { signal } = new AbortController();
let dir: string;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'usher-restore-'));
});
afterAll(() => rm(dir, { recursive: true, force: true }));

async function backUp(database: Database): Promise<string> {
  const path = join(dir, `${newId()}.gz`);
  await readSnapshot(database, (snapshot) => writeBackup(path, snapshot, { dialect: database.dialect, signal }));
  return path;
}

interface Asked extends Partial<RestoreOptions> {
  said?: string[];
}

async function restoreInto(database: Database, path: string, { said = [], ...options }: Asked = {}) {
  const masterKeys = options.masterKeys ?? [TEST_MASTER_KEY];
  return await restore(database, await checkBackup(path, masterKeys, signal), {
    masterKeys,
    replace: false,
    isRunning: () => Promise.resolve(false),
    signal,
    progress: (line) => said.push(line),
    ...options,
  });
}

async function stepsOf({ database: { db } }: TestStore) {
  return await db.selectFrom('step').selectAll().orderBy('id').execute();
}

describeEachStore('a restore', (fresh) => {
  async function makeStore(): Promise<TestStore> {
    const store = await prepareStore((await fresh()).open());
    await bindActions(store, [{ name: 'One' }, { name: 'Two' }]);
    return store;
  }

  test('into an empty store: users, events and keys are as they were, and what is open is due', async () => {
    const source = await makeStore();
    const { registrationId } = await source.register(signUpOf('ann@example.com'));
    await source.database.db.updateTable('registration').set({ due_at: null, claimed_until: 4e12, check_at: 4e12 }).execute();
    const path = await backUp(source.database);

    const target = (await fresh()).open();
    const { open } = await restoreInto(target, path);

    expect(open).toBe(1);
    const restored = await prepareStore(target);
    expect(await restored.outbox.claimDue({ limit: 10, leaseMs: 1000 })).toMatchObject([{ registrationId }]);
    const [first] = await stepsOf(restored);
    const claim = await restored.ledger.claimStep({ registrationId, stepId: first!.id, phase: 'quick', workerId: 'w', leaseMs: 30_000 });
    expect(claim).toMatchObject({ claim: 'claimed', step: { event: { user: { email: 'ann@example.com' } } } });
    // Nothing else differs.
    const others = TABLES.filter((table) => !['registration', 'step', 'attempt', 'setting'].includes(table));
    expect(await contents(target, others)).toEqual(await contents(source.database, others));
  });

  test('into a store that holds something is refused, and replaces everything when that is wanted', async () => {
    const source = await makeStore();
    await source.register(signUpOf('before@example.com'));
    const path = await backUp(source.database);
    await source.register(signUpOf('after@example.com'));
    const before = await contents(source.database, TABLES);

    await expect(restoreInto(source.database, path)).rejects.toThrow(/not empty: add --replace/);
    expect(await contents(source.database, TABLES)).toEqual(before);

    await restoreInto(source.database, path, { replace: true });
    expect(await source.database.db.selectFrom('user_account').select('email').execute()).toEqual([{ email: 'before@example.com' }]);
    await source.register(signUpOf('after@example.com'));
    expect((await source.database.db.selectFrom('registration').select('id').execute()).length).toBe(2);
  });

  test('takes no hand-over and no wish from before for one of now', async () => {
    const store = await makeStore();
    const { registrationId } = await store.register(signUpOf('ann@example.com'));
    const path = await backUp(store.database);
    // Since then: made due and changed again and again.
    const [handedOver] = await store.outbox.claimDue({ limit: 1, leaseMs: 60_000 });
    await store.database.db.updateTable('registration').set({ due_seq: 41 }).execute();
    await store.database.db.updateTable('step').set({ wish: 7 }).execute();

    await restoreInto(store.database, path, { replace: true });

    for (const dueSeq of [handedOver!.dueSeq, 41, 42]) await store.outbox.markHandedOver([{ registrationId, dueSeq }], { checkAfterMs: 1 });
    expect(await store.outbox.claimDue({ limit: 10, leaseMs: 1000 })).toMatchObject([{ registrationId }]);
    for (const step of await stepsOf(store)) expect(step.wish).toBeGreaterThan(41);
  });

  test('waits until no attempt can be alive any more, and keeps every other one from beginning', async () => {
    const store = await makeStore();
    const { registrationId } = await store.register(signUpOf('ann@example.com'));
    const path = await backUp(store.database);
    const [first] = await stepsOf(store);
    const leaseMs = 8_000;
    const claimedAt = performance.now();
    await store.ledger.claimStep({ registrationId, stepId: first!.id, phase: 'quick', workerId: 'w', leaseMs });
    const said: string[] = [];

    await restoreInto(store.database, path, { replace: true, said });

    expect(performance.now() - claimedAt).toBeGreaterThan(leaseMs - 200);
    expect(said).toContainEqual(expect.stringMatching(/^Waiting for [1-8] s, until the attempts that are under way are given up/));
    expect(await store.database.db.selectFrom('attempt').selectAll().execute()).toEqual([]);
  });

  test('of what succeeded since the backup runs again under the same idempotency key; of what had succeeded, nothing', async () => {
    const store = await makeStore();
    const { registrationId } = await store.register(signUpOf('ann@example.com'));
    const [first, second] = await stepsOf(store);
    const run = async (stepId: string) => {
      const claim = await store.ledger.claimStep({ registrationId, stepId, phase: 'quick', workerId: 'w', leaseMs: 1000 });
      if (claim.claim !== 'claimed') return claim;
      const { id, idempotencyKey } = claim.step.attempt;
      await store.ledger.settleAttempt({ attemptId: id, outcome: 'succeeded', endedAt: Date.now(), retryAfterMs: 0, logs: [], logsTruncated: false, calls: [], cacheChanges: [] });
      return idempotencyKey;
    };
    await run(first!.id);
    const path = await backUp(store.database);
    const key = await run(second!.id);

    await restoreInto(store.database, path, { replace: true });

    expect(await run(first!.id)).toMatchObject({ claim: 'recorded', state: { state: 'succeeded' } });
    expect(await run(second!.id)).toBe(key);
  });

  test('keeps the codec keys that were made since the backup, because what was encrypted under them is in Temporal yet', async () => {
    const store = await fresh();
    const own = await prepareStore(store.open());
    const keys = createCodecKeys(own);
    const { id: first } = await keys.current();
    const path = await backUp(own.database);
    await keys.rotate('admin');
    const { id: second } = await keys.current();
    const codec = createPayloadCodec(keys);
    const payloads = await codec.encode([defaultPayloadConverter.toPayload({ since: 'the backup' })]);

    await restoreInto(own.database, path, { replace: true });

    const anew = createCodecKeys(await prepareStore(store.open()));
    const [decoded] = await createPayloadCodec(anew).decode(payloads);
    expect(defaultPayloadConverter.fromPayload(decoded!)).toEqual({ since: 'the backup' });
    expect((await anew.list()).map(({ id }) => id)).toEqual([first, second]);
    expect((await anew.current()).id).toBe(second);
    // Nor is anything of them lost by one more.
    await restoreInto(own.database, path, { replace: true });
    expect((await anew.list()).map(({ id }) => id)).toEqual([first, second]);
    // They are no concern of another installation.
    const other = await makeStore();
    await restoreInto(other.database, path, { replace: true });
    expect((await createCodecKeys(await prepareStore(other.database)).list()).map(({ id }) => id)).toEqual([first]);
  });

  test('of a backup from before the master key was replaced leaves no codec key that needs the new one', async () => {
    const store = await fresh();
    const own = await prepareStore(store.open());
    await createCodecKeys(own).current();
    const path = await backUp(own.database);
    const newKey = Buffer.alloc(32, 7);
    const keyring = createKeyring(own.database, newKey, TEST_MASTER_KEY);
    await keyring.prepare();
    const rekey = createRekey({ database: own.database, keyring, settleMs: 0 });
    await rekey.begin('admin');
    while ((await rekey.progress())!.endedAt === null) await rekey.step();
    const alone = createKeyring(own.database, newKey);
    await alone.prepare();
    const keys = createCodecKeys({ database: own.database, keyring: alone });
    await keys.rotate('admin');
    const { id, key } = await keys.current();

    await restoreInto(own.database, path, { replace: true, masterKeys: [newKey, TEST_MASTER_KEY] });

    const withTheOneBefore = await prepareStore(store.open());
    expect(await createCodecKeys(withTheOneBefore).current()).toEqual({ id, key });
  });

  test('of a backup that an older Usher made gives the tables of today', async () => {
    const old = (await fresh()).open();
    await old.transaction((tx) => initial.up(tx as never));
    const tables = old.db.withTables<{ client: Record<string, string | number>; migration: { name: string; applied_at: number } }>();
    await tables.schema.createTable('migration').addColumn('name', 'text', (c) => c.primaryKey()).addColumn('applied_at', 'bigint').execute();
    await tables.insertInto('migration').values({ name: '0001-initial', applied_at: 1 }).execute();
    await tables.insertInto('client').values({ id: 'shop', name: 'Shop', secret_hash: 'hash', scopes: '["read:logs"]', metadata: '{}', created_at: 1 }).execute();
    const path = await backUp(old);

    const target = (await fresh()).open();
    await restoreInto(target, path);
    expect(await createClientGrantStore({ database: target }).findFor('shop', MANAGEMENT_AUDIENCE)).toMatchObject({ scope: ['read:logs'] });
    expect(await target.db.introspection.getTables()).toEqual(await (await makeStore()).database.db.introspection.getTables());
    // And over a store that is newer than the backup, and one that is older than this program.
    await restoreInto((await makeStore()).database, path, { replace: true });
    await restoreInto(old, path, { replace: true });
    expect(await createClientGrantStore({ database: old }).findFor('shop', MANAGEMENT_AUDIENCE)).toMatchObject({ scope: ['read:logs'] });
  });

  test('while others write lets each of them through before or after it, or refuses them for now', async () => {
    const store = await fresh();
    const own = await prepareStore(store.open());
    await bindActions(own, [{ name: 'One' }]);
    await own.register(signUpOf('before@example.com'));
    const path = await backUp(own.database);
    const writers = await Promise.all([1, 2, 3].map(() => prepareStore(store.open())));
    const over = new AbortController();
    const refused: unknown[] = [];
    const writing = writers.map(async ({ register }, writer) => {
      for (let n = 0; !over.signal.aborted; n++) {
        await register(signUpOf(`${writer}-${n}@example.com`)).catch((error: unknown) => void refused.push(error));
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
    });

    await restoreInto(own.database, path, { replace: true });
    over.abort();
    await Promise.all(writing);

    for (const error of refused) expect(isStoreUnavailable(error), String(error)).toBe(true);
    await own.register(signUpOf('later@example.com'));
    const emails = (await own.database.db.selectFrom('user_account').select('email').execute()).map(({ email }) => email);
    expect(emails).toEqual(expect.arrayContaining(['before@example.com', 'later@example.com']));
    const { registrations } = await own.database.db.selectFrom('registration').select(({ fn }) => fn.countAll<number>().as('registrations')).executeTakeFirstOrThrow();
    expect(registrations).toBe(emails.length);
  });

  test('of another installation is refused while its Usher runs, because that one keeps keys in memory', async () => {
    const backup = await backUp((await makeStore()).database);
    const { database } = await makeStore();
    const before = await contents(database, TABLES);

    await expect(restoreInto(database, backup, { replace: true, isRunning: () => Promise.resolve(true) })).rejects.toThrow(/of another installation.*stop it/);
    expect(await contents(database, TABLES)).toEqual(before);

    // Its own does no harm.
    const own = await backUp(database);
    await restoreInto(database, own, { replace: true, isRunning: () => Promise.resolve(true) });
    await restoreInto(database, backup, { replace: true });
  });

  test('into a database with tables of something else is refused', async () => {
    const path = await backUp((await makeStore()).database);
    const theirs = (await fresh()).open();
    await theirs.db.schema.createTable('step').addColumn('theirs', 'text').execute();
    await expect(restoreInto(theirs, path)).rejects.toThrow(/a table step that is not Usher's/);
  });

  test('that is broken off leaves the store as it was', async () => {
    const { database, register } = await makeStore();
    await register(signUpOf('ann@example.com'));
    const path = await backUp(database);
    const before = await contents(database, TABLES);
    const ending = new AbortController();

    const broken = restoreInto(database, path, { replace: true, signal: ending.signal, progress: () => ending.abort(new Error('Ctrl-C')) });

    await expect(broken).rejects.toThrow('Ctrl-C');
    expect(await contents(database, TABLES)).toEqual(before);
  });
});

describe('a backup is refused', () => {
  describeEachStore('', (fresh) => {
    async function made() {
      const store = await prepareStore((await fresh()).open());
      await bindActions(store, [{ name: 'One' }]);
      await store.register(signUpOf('ann@example.com'));
      return { path: await backUp(store.database), target: (await fresh()).open() };
    }

    test('with another master key, and taken with the one of before beside a new one', async () => {
      const { path, target } = await made();
      const other = Buffer.alloc(32, 7);
      await expect(restoreInto(target, path, { masterKeys: [other] })).rejects.toThrow(/sealed under another master key/);
      expect(await target.db.introspection.getTables()).toEqual([]);
      await restoreInto(target, path, { masterKeys: [other, TEST_MASTER_KEY] });
      await createKeyring(target, other, TEST_MASTER_KEY).prepare();
    });

    test('when it is cut, altered, or none at all', async () => {
      const { path, target } = await made();
      const whole = await readFile(path);
      const lines = gunzipSync(whole).toString().split('\n');
      const forged = (line: object) => gzipSync(`${lines[0]}\n${JSON.stringify(line)}\n`);
      const broken: [string, Buffer][] = [
        ['cut short', whole.subarray(0, whole.length - 20)],
        ['cut short', whole.subarray(0, whole.length / 2)],
        ['(invalid|incorrect)', Buffer.concat([whole.subarray(0, 400), Buffer.from([whole[400]! ^ 0x10]), whole.subarray(401)])],
        ['its end is missing', gzipSync(lines.slice(0, -2).join('\n') + '\n')],
        ['rows of user_account', gzipSync(lines.map((line) => line.replace('ann@example.com', 'eve@example.com')).join('\n'))],
        ['rows of registration', gzipSync(lines.filter((line) => !line.startsWith('{"table":"registration"')).join('\n'))],
        ['something follows its end', gzipSync(`${lines.join('\n')}${lines[1]}\n`)],
        ['a line that is not of a backup', forged({ sums: null })],
        ['a line that is not of a backup', forged({ table: 'user_account', columns: 'id', rows: [] })],
        ['a line that is not of a backup', forged({ table: 'user_account', columns: ['id'], rows: ['x'] })],
        ['a line that is not of a backup', forged({ table: '__proto__', columns: ['id'], rows: [['x']] })],
        ['first line', gzipSync(lines.slice(1).join('\n'))],
        ['incorrect header check', Buffer.from('-- PostgreSQL database dump')],
        ['first line', gzipSync('')],
      ];
      for (const [how, bytes] of broken) {
        const other = `${path}.broken`;
        await writeFile(other, bytes);
        await expect(restoreInto(target, other), how).rejects.toThrow(new RegExp(`damaged \\(.*${how}`));
      }
      expect(await target.db.introspection.getTables()).toEqual([]);
      await expect(restoreInto(target, join(dir, 'nowhere.gz'))).rejects.toThrow(/There is no file/);
      await expect(restoreInto(target, dir)).rejects.toThrow(/cannot be read \(EISDIR\)/);
    });

    test('when a newer Usher has made it', async () => {
      const { path, target } = await made();
      const [first, ...rest] = gunzipSync(await readFile(path)).toString().split('\n');
      const header = JSON.parse(first!) as { version: number; migrations: string[] };
      for (const newer of [{ ...header, version: 2 }, { ...header, migrations: [...header.migrations, '0042-later'] }]) {
        await writeFile(`${path}.newer`, gzipSync([JSON.stringify(newer), ...rest].join('\n')));
        await expect(restoreInto(target, `${path}.newer`)).rejects.toThrow(/made by a newer Usher.*restore it with that one/);
      }
    });
  });
});
