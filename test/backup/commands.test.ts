import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { copyFile, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { postgresMissing, type PostgresServer, startPostgres } from '../../examples/cluster/postgres.ts';
import { dataPaths } from '../../src/data-dir.ts';
import { openInstallation, takeLock } from '../../src/installation.ts';
import * as initial from '../../src/store/migrations/0001-initial.ts';
import { openPostgres } from '../../src/store/postgres.ts';
import { openSqlite } from '../../src/store/sqlite.ts';
import { mustSkip } from '../helpers/must-skip.ts';
import { done, usher } from './cli.ts';

const NOBODY_THERE = 'postgres://nobody:secret-word@127.0.0.1:1/usher';
const isWithoutPostgres = mustSkip('commands of the store with PostgreSQL', postgresMissing());

let dir: string;
let dataDir: string;
let postgres: PostgresServer;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'usher-commands-'));
  if (!isWithoutPostgres) postgres = await startPostgres();
});
afterAll(async () => {
  await postgres?.stop();
  await rm(dir, { recursive: true, force: true });
});
beforeEach(async () => {
  dataDir = await mkdtemp(join(dir, 'data-'));
});

/** A data directory as a first start leaves it, with one client. */
async function makeStore(at = dataDir): Promise<void> {
  const { database, close } = await openInstallation({ dataDir: at, databaseUrl: null, masterKey: null });
  await database.db.insertInto('client').values({ id: 'shop', name: 'Shop', secret_hash: 'h', metadata: '{}', created_at: 1 }).execute();
  await close();
}

/** A store as the first release has made it. */
async function makeOldStore(): Promise<void> {
  const database = openSqlite(dataPaths(dataDir).store);
  await database.transaction((tx) => initial.up(tx as never));
  const { schema, ...rest } = { schema: database.db.schema, migrations: database.db.withTables<{ migration: { name: string; applied_at: number } }>() };
  await schema.createTable('migration').addColumn('name', 'text', (c) => c.primaryKey()).addColumn('applied_at', 'bigint').execute();
  await rest.migrations.insertInto('migration').values({ name: '0001-initial', applied_at: 1 }).execute();
  await database.close();
}

async function clients(databaseUrl: string | null): Promise<string[]> {
  const database = databaseUrl === null ? openSqlite(dataPaths(dataDir).store) : openPostgres(databaseUrl);
  const rows = await database.db.selectFrom('client').select('id').execute();
  await database.close();
  return rows.map(({ id }) => id);
}

describe('usher backup', () => {
  test('says what it has written and that the master key is not in it, and leaves nothing else behind', async () => {
    await makeStore();
    const folder = await mkdtemp(join(dir, 'backups-'));
    const said = await done(dataDir, ['backup', join(folder, 'a.gz')]);
    expect(said).toMatch(/^Backed up \d+ rows of \d+ tables to .*a\.gz \(\d+\.\d MB\) in \d+\.\d s\.\nThe master key \(.*master-key\) is not in it: keep it safe elsewhere/);
    expect(await readdir(folder)).toEqual(['a.gz']);
    const key = await readFile(dataPaths(dataDir).masterKey, 'utf8');
    const text = spawnSync('gzip', ['-dc', join(folder, 'a.gz')]).stdout.toString();
    expect(text).toContain('"shop"');
    expect(text).not.toContain(key.trim());
  });

  test('overwrites nothing', async () => {
    await makeStore();
    await writeFile(join(dataDir, 'mine'), 'precious');
    expect(await usher(dataDir, ['backup', join(dataDir, 'mine')])).toMatchObject({ code: 2, err: expect.stringMatching(/mine is there already.*choose another name\.\n$/) });
    expect(await readFile(join(dataDir, 'mine'), 'utf8')).toBe('precious');
  });

  test('says what is wrong with the place it is to write to', async () => {
    await makeStore();
    expect(await usher(dataDir, ['backup', join(dataDir, 'no/such/folder.gz')])).toMatchObject({ code: 2, err: expect.stringMatching(/^The backup .*folder\.gz cannot be written: its folder is not there: make it first \(ENOENT\)\.\n$/) });
  });

  test('on a disk that is full says so and leaves nothing of it', async ({ skip }) => {
    const disk = await mkdtemp(join(dir, 'disk-'));
    if (process.getuid?.() !== 0 || spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', disk]).status !== 0) skip('this user may not mount a small disk');
    try {
      await makeStore();
      await writeFile(join(disk, 'ballast'), Buffer.alloc(60_000));
      const store = openSqlite(dataPaths(dataDir).store);
      await store.db.insertInto('dependency_archive').values({ key: 'a', lockfile: '', archive: crypto.getRandomValues(new Uint8Array(60_000)), created_at: 1 }).execute();
      await store.close();
      expect(await usher(dataDir, ['backup', join(disk, 'a.gz')])).toMatchObject({ code: 2, err: expect.stringMatching(/^The backup .* cannot be written: its disk is full.*Nothing is left of it \(ENOSPC\)\.\n$/) });
      expect(await readdir(disk)).toEqual(['ballast']);
    } finally {
      spawnSync('umount', [disk]);
    }
  });

  test('where there is no store makes none', async () => {
    expect(await usher(dataDir, ['backup', join(dir, 'none.gz')])).toMatchObject({ code: 2, err: expect.stringMatching(/usher\.db: There is no store of Usher there yet/) });
    expect(await readdir(dataDir)).toEqual([]);
  });

  test('of a PostgreSQL that cannot be reached says so, without the password', async () => {
    const { code, err } = await usher(dataDir, ['backup', join(dir, 'none.gz')], { DATABASE_URL: NOBODY_THERE });
    expect(code).toBe(2);
    expect(err).toMatch(/^The PostgreSQL store usher at 127\.0\.0\.1:1 cannot be used now .*see that PostgreSQL runs there/);
    expect(err).not.toContain('secret-word');
  });
});

describe('usher restore', () => {
  test('into an empty data directory wants the master key, makes none, and then restores', async () => {
    await makeStore();
    const file = join(dataDir, 'a.gz');
    await done(dataDir, ['backup', file]);
    const [from, to] = [dataPaths(dataDir), dataPaths(await mkdtemp(join(dir, 'data-')))];
    dataDir = join(to.store, '..');

    expect(await usher(dataDir, ['restore', file])).toMatchObject({ code: 2, err: expect.stringMatching(/The backup .*a\.gz is there, but its master key .*master-key is not: put it back, or give it as USHER_MASTER_KEY/) });
    expect(await readdir(dataDir)).toEqual([]);

    await copyFile(from.masterKey, to.masterKey);
    expect(await done(dataDir, ['restore', file])).toMatch(/^Restored \d+ rows of \d+ tables of \d{4}-.*Registrations that go on: 0\.\n$/);
    expect(await clients(null)).toEqual(['shop']);
    expect((await stat(to.store)).mode & 0o777).toBe(0o600);
    await (await openInstallation({ dataDir, databaseUrl: null, masterKey: null })).close();
    expect(await usher(dataDir, ['restore', file])).toMatchObject({ code: 2, err: expect.stringContaining('add --replace') });
    await done(dataDir, ['restore', '--replace', file]);
  });

  test('of another installation is refused while that Usher runs', async () => {
    const other = await mkdtemp(join(dir, 'data-'));
    await makeStore(other);
    await done(other, ['backup', join(other, 'a.gz')]);
    await makeStore();
    const key = (await readFile(dataPaths(other).masterKey, 'utf8')).trim();
    const lock = await takeLock(dataPaths(dataDir).roleLock('api'), false);
    const restored = () => usher(dataDir, ['restore', '--replace', join(other, 'a.gz')], { USHER_MASTER_KEY: key });
    expect(await restored()).toMatchObject({ code: 2, err: expect.stringMatching(/of another installation than the backup, and its Usher runs: stop it/) });
    lock.release();
    expect(await restored()).toMatchObject({ code: 0 });
  });
});

describe('usher migrate', () => {
  test('says what it would do, does it, and has nothing to do then', async () => {
    await makeOldStore();
    const newest = '0003-operations';
    expect(await usher(dataDir, ['migrate', '--dry-run'])).toMatchObject({ code: 1, out: expect.stringMatching(new RegExp(`has 0001-initial\\. To be done: 0002-contract.*${newest}`)) });
    expect(await usher(dataDir, ['migrate', '--dry-run'])).toMatchObject({ code: 1 });
    expect(await done(dataDir, ['migrate'])).toMatch(new RegExp(`went from 0001-initial to ${newest}`));
    expect(await done(dataDir, ['migrate', '--dry-run'])).toMatch(new RegExp(`has the tables of this version already \\(${newest}\\)`));
    expect(await done(dataDir, ['migrate'])).toMatch(/already/);
  });

  test('keeps away from a data directory that a running Usher uses, and from a newer store', async () => {
    await makeOldStore();
    const lock = await takeLock(dataPaths(dataDir).roleLock('worker'), false);
    expect(await usher(dataDir, ['migrate'])).toMatchObject({ code: 2, err: expect.stringMatching(/Another Usher \(process \d+\) uses this data directory/) });
    lock.release();
    const store = openSqlite(dataPaths(dataDir).store);
    await store.db.withTables<{ migration: { name: string; applied_at: number } }>().insertInto('migration').values({ name: '9999-later', applied_at: 1 }).execute();
    await store.close();
    for (const args of [['migrate'], ['migrate', '--dry-run'], ['backup', join(dir, 'newer.gz')]]) {
      expect(await usher(dataDir, args)).toMatchObject({ code: 2, err: expect.stringMatching(/made by a newer Usher \(unknown migrations: 9999-later\)/) });
    }
  });
});

describe.skipIf(isWithoutPostgres)('with PostgreSQL', () => {
  test('usher migrate makes the tables in an empty database', async () => {
    const DATABASE_URL = await postgres.createDatabase();
    expect(await usher(dataDir, ['migrate', '--dry-run'], { DATABASE_URL })).toMatchObject({ code: 1, out: expect.stringContaining('has no tables. To be done: 0001-initial') });
    expect(await done(dataDir, ['migrate'], { DATABASE_URL })).toContain('went from no tables to 0003-operations');
    expect(await clients(DATABASE_URL)).toEqual([]);
  });

  test('usher backup and restore carry a store from one kind to the other', async () => {
    const DATABASE_URL = await postgres.createDatabase();
    await makeStore();
    await done(dataDir, ['backup', join(dataDir, 'a.gz')]);
    await done(dataDir, ['restore', join(dataDir, 'a.gz')], { DATABASE_URL });
    expect(await clients(DATABASE_URL)).toEqual(['shop']);
    await done(dataDir, ['backup', join(dataDir, 'b.gz')], { DATABASE_URL });
    await done(dataDir, ['restore', '--replace', join(dataDir, 'b.gz')]);
    expect(await clients(null)).toEqual(['shop']);
  });

  test('usher restore of another installation is refused while an Usher is connected', async () => {
    const DATABASE_URL = await postgres.createDatabase();
    await makeStore();
    await done(dataDir, ['backup', join(dataDir, 'a.gz')]);
    const masterKey = Buffer.from((await readFile(dataPaths(dataDir).masterKey, 'utf8')).trim(), 'base64');
    const running = await openInstallation({ dataDir: join(dir, 'elsewhere'), databaseUrl: DATABASE_URL, masterKey });
    const restored = () => usher(dataDir, ['restore', '--replace', join(dataDir, 'a.gz')], { DATABASE_URL });
    expect(await restored()).toMatchObject({ code: 2, err: expect.stringMatching(/and its Usher runs: stop it/) });
    await running.close();
    expect(await restored()).toMatchObject({ code: 0 });
  });

  test('usher move-to-postgres moves everything, and the old file is not started any more', async () => {
    const DATABASE_URL = await postgres.createDatabase();
    await makeStore();
    const { store, moved } = dataPaths(dataDir);
    const said = await done(dataDir, ['move-to-postgres'], { DATABASE_URL });
    expect(said).toMatch(/^Moved \d+ rows to The PostgreSQL store .*, and compared them there\.\nStart Usher with DATABASE_URL from now on\./);
    expect(await clients(DATABASE_URL)).toEqual(['shop']);
    // With the keys of this data directory.
    await (await openInstallation({ dataDir, databaseUrl: DATABASE_URL, masterKey: null })).close();

    await expect(openInstallation({ dataDir, databaseUrl: null, masterKey: null })).rejects.toThrow(/has moved to PostgreSQL.*set DATABASE_URL/);
    expect(await usher(dataDir, ['backup', join(dataDir, 'old.gz')])).toMatchObject({ code: 2, err: expect.stringContaining('has moved to PostgreSQL') });
    expect(await done(dataDir, ['move-to-postgres'], { DATABASE_URL })).toMatch(/has moved to .* already: start Usher with DATABASE_URL/);
    // The file is as it was, for who gives the move up.
    await rm(moved);
    expect(existsSync(store)).toBe(true);
    expect(await clients(null)).toEqual(['shop']);
  });

  test('usher move-to-postgres that was killed in the middle is done again as a whole; nobody starts on the file meanwhile', async () => {
    const DATABASE_URL = await postgres.createDatabase();
    await makeStore();
    // What one leaves that dies before PostgreSQL has taken anything.
    await writeFile(dataPaths(dataDir).moved, JSON.stringify({ id: 'that-one', to: 'x' }));
    await expect(openInstallation({ dataDir, databaseUrl: null, masterKey: null })).rejects.toThrow(/If the move was interrupted, run `usher move-to-postgres` again/);
    await done(dataDir, ['move-to-postgres'], { DATABASE_URL });
    expect(await clients(DATABASE_URL)).toEqual(['shop']);
  });

  test('usher move-to-postgres refuses what it cannot do, and the file is started as before', async () => {
    await makeStore();
    const full = await postgres.createDatabase();
    await done(dataDir, ['migrate'], { DATABASE_URL: full });
    expect(await usher(dataDir, ['move-to-postgres'])).toMatchObject({ code: 2, err: 'DATABASE_URL is not set: give the PostgreSQL database to move to.\n' });
    expect(await usher(dataDir, ['move-to-postgres'], { DATABASE_URL: full })).toMatchObject({ code: 2, err: expect.stringMatching(/holds a store of Usher already: give an empty one/) });
    expect(await usher(dataDir, ['move-to-postgres'], { DATABASE_URL: NOBODY_THERE })).toMatchObject({ code: 2, err: expect.stringMatching(/cannot be used now/) });
    const lock = await takeLock(dataPaths(dataDir).supervisorLock, false);
    expect(await usher(dataDir, ['move-to-postgres'], { DATABASE_URL: await postgres.createDatabase() })).toMatchObject({ code: 2, err: expect.stringMatching(/Another Usher .*Stop it first/) });
    lock.release();
    const nothing = await mkdtemp(join(dir, 'data-'));
    expect(await usher(nothing, ['move-to-postgres'], { DATABASE_URL: await postgres.createDatabase() })).toMatchObject({ code: 2, err: expect.stringMatching(/no store of Usher there yet/) });
    await (await openInstallation({ dataDir, databaseUrl: null, masterKey: null })).close();
  });

  test('usher move-to-postgres of rows that PostgreSQL does not take changes nothing on either side', async () => {
    const DATABASE_URL = await postgres.createDatabase();
    await makeStore();
    const store = openSqlite(dataPaths(dataDir).store);
    await store.db.insertInto('client').values({ id: 'nul', name: 'a\0b', secret_hash: 'h', metadata: '{}', created_at: 1 }).execute();
    await store.close();
    expect(await usher(dataDir, ['move-to-postgres'], { DATABASE_URL })).toMatchObject({ code: 2, err: expect.stringMatching(/^PostgreSQL does not take the rows of client \(.*0x00/) });
    expect(existsSync(dataPaths(dataDir).moved)).toBe(false);
    await done(dataDir, ['migrate'], { DATABASE_URL });
    expect(await clients(DATABASE_URL)).toEqual([]);
  });
});
