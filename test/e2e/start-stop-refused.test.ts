import { spawnSync } from 'node:child_process';
import { chmod, cp, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { openInstallation } from '../../src/installation.ts';
import { ask, apiOf, NO_TEMPORAL, spawnUsher, takePort, type UsherProcess } from './usher-process.ts';
import { allDead, processesOf } from './processes.ts';

const isRoot = process.getuid?.() === 0;
const OTHER_KEY = Buffer.alloc(32, 7).toString('base64');

/** How to be somebody who may not write everywhere; null when that one could not read the checkout. */
const asOther = otherUser();

/** A data directory that has been used; each test gets a copy. */
let used: string;
let folder: string;
let dataDir: string;
let started: UsherProcess[];

beforeAll(async () => {
  used = await mkdtemp(join(tmpdir(), 'usher-used-'));
  await (await openInstallation({ dataDir: used, databaseUrl: null, masterKey: null })).close();
});
afterAll(() => rm(used, { recursive: true, force: true }));

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'usher-refused-'));
  await chmod(folder, 0o711);
  dataDir = join(folder, 'data');
  started = [];
});
afterEach(async () => {
  for (const usher of started) {
    if (usher.child.exitCode === null && usher.child.signalCode === null) usher.child.kill('SIGTERM');
    await usher.ended();
  }
  await rm(folder, { recursive: true, force: true });
});

function otherUser(): string[] | null {
  if (!isRoot) return [];
  const via = ['setpriv', '--reuid', '65534', '--regid', '65534', '--clear-groups', '--inh-caps=-all'];
  const main = fileURLToPath(new URL('../../src/main.ts', import.meta.url));
  const { status } = spawnSync(via[0]!, [...via.slice(1), process.execPath, '-e', `fs.readFileSync(${JSON.stringify(main)})`], { cwd: '/' });
  return status === 0 ? via : null;
}

function start(env: Record<string, string> = {}, options: { args?: string[]; via?: string[] } = {}): UsherProcess {
  const usher = spawnUsher({ env: { USHER_PORT: '0', USHER_DATA_DIR: dataDir, ...NO_TEMPORAL, ...env }, ...options });
  started.push(usher);
  return usher;
}

/** One sentence for a person, exit code 1, and nothing left running. @returns the sentence. */
async function refusal(usher: UsherProcess): Promise<string> {
  expect(await usher.ended()).toBe(1);
  expect(usher.said(), usher.stderr()).toHaveLength(1);
  expect(usher.stdout()).not.toContain('serves sign-ups');
  expect(usher.stdout() + usher.stderr()).not.toMatch(/\n\s+at /);
  return usher.said()[0]!;
}

/** Usher works with what is there, and then ends in order. */
async function startsAgain(env: Record<string, string> = {}): Promise<void> {
  const usher = start(env);
  await usher.prints('Usher serves sign-ups');
  expect((await ask(apiOf(usher), '/readyz')).status).toBe(200);
  usher.child.kill('SIGTERM');
  expect(await usher.ended()).toBe(0);
}

async function contents(): Promise<Record<string, string>> {
  const files = (await readdir(dataDir, { withFileTypes: true })).filter((entry) => entry.isFile() && !entry.name.includes('.lock'));
  return Object.fromEntries(await Promise.all(files.map(async ({ name }) => [name, await readFile(join(dataDir, name), 'base64')])));
}

test('a given port that is in use is named, with the variable, and nothing is left running', async () => {
  const taken = (await takePort(0))!;
  const usher = start({ USHER_PORT: String(taken.port) });
  await usher.prints('is in use');
  const children = processesOf(usher.pid).all;
  expect(await refusal(usher)).toBe(`Port ${taken.port} (USHER_PORT) is in use: end what listens there, or set USHER_PORT to another one.`);
  await allDead(children, 15_000);
  taken.release();
});

test('an address that is not of this machine is named, with the variables', async () => {
  expect(await refusal(start({ USHER_HOST: '203.0.113.1' }))).toMatch(/^Usher cannot listen on 203\.0\.113\.1:0 \(EADDRNOTAVAIL\): set USHER_HOST and USHER_PORT to an address of this machine\.$/);
});

test('a second start on a data directory in use names the process that has it, and the first goes on', async () => {
  const first = start();
  await first.prints('Usher serves sign-ups');
  expect(await refusal(start())).toBe(
    `Another Usher (process ${first.pid}) uses this data directory: it holds ${join(dataDir, 'usher.lock')}. Stop it first, or give this one a data directory of its own (USHER_DATA_DIR).`,
  );
  expect((await ask(apiOf(first), '/readyz')).status).toBe(200);
});

test('a data directory that stands below a file is named', async () => {
  await writeFile(dataDir, '');
  expect(await refusal(start({ USHER_DATA_DIR: join(dataDir, 'usher') }))).toBe(`The data directory ${dataDir}/usher cannot stand there (ENOTDIR): set USHER_DATA_DIR to a folder.`);
  expect(await refusal(start())).toBe(`The data directory ${dataDir} cannot stand there (EEXIST): set USHER_DATA_DIR to a folder.`);
});

test.skipIf(asOther === null)('a data directory that this user may not write is named', async () => {
  await cp(used, dataDir, { recursive: true });
  await chmod(dataDir, 0o555);
  const before = await contents();
  const sentence = await refusal(start({}, { via: asOther! }));
  expect(sentence).toMatch(/^The data directory \S+ cannot be read and written by this user \((EACCES|EPERM)\): give the rights to it, or set USHER_DATA_DIR to another folder\.$/);
  expect(await contents()).toEqual(before);
});

// Only root can make them.
test.skipIf(!isRoot || asOther === null)('the files of another user in a folder that anybody may write are named', async () => {
  await cp(used, dataDir, { recursive: true });
  for (const path of [dataDir, join(dataDir, 'cache')]) await chmod(path, 0o777);
  expect(await refusal(start({}, { via: asOther! }))).toMatch(/^The (lock file|master key) \S+ cannot be read and written by this user \(.+\): give the rights to it, or set USHER_DATA_DIR to another folder\.$/);
});

test('a wrong master key is told, and with the right one everything is there', async () => {
  await cp(used, dataDir, { recursive: true });
  const before = await contents();
  expect(await refusal(start({ USHER_MASTER_KEY: OTHER_KEY }))).toMatch(/^The master key is not the one that this store was made with, .*Nothing was changed\. Give the right key \(USHER_MASTER_KEY, or the key file in the data directory\)\.$/);
  expect(await contents()).toEqual(before);
  await startsAgain({ USHER_MASTER_KEY: (await readFile(join(used, 'master-key'), 'utf8')).trim() });
});

test('a store without its master key is told, and no new key is made', async () => {
  await cp(used, dataDir, { recursive: true });
  await rm(join(dataDir, 'master-key'));
  const before = await contents();
  expect(await refusal(start())).toBe(
    `The store ${dataDir}/usher.db is there, but its master key ${dataDir}/master-key is not: put it back, or give it as USHER_MASTER_KEY; nothing was changed.`,
  );
  expect(await contents()).toEqual(before);
});

test('a damaged key or secret file is told', async () => {
  await cp(used, dataDir, { recursive: true });
  await writeFile(join(dataDir, 'master-key'), 'half of it');
  expect(await refusal(start())).toMatch(/^The master key in \S+ is damaged: put the right one back, or give it as USHER_MASTER_KEY; nothing was changed\.$/);
  await cp(join(used, 'master-key'), join(dataDir, 'master-key'));
  await writeFile(join(dataDir, 'client-secret'), '');
  expect(await refusal(start())).toMatch(/^The client secret in \S+ is damaged: put the right one back, or give one as USHER_CLIENT_SECRET, with its USHER_CLIENT_ID\.$/);
});

test('a store of a newer Usher is told and left as it is', async () => {
  await cp(used, dataDir, { recursive: true });
  const database = new DatabaseSync(join(dataDir, 'usher.db'));
  database.exec("insert into migration (name, applied_at) values ('9999-of-the-future', 0)");
  database.close();
  const before = await contents();
  expect(await refusal(start())).toMatch(/^The database was made by a newer Usher \(unknown migrations: 9999-of-the-future\)\. Nothing was changed\. Start the newer Usher again, or restore/);
  expect(await contents()).toEqual(before);
});

test('a store that is not a database is told and left as it is', async () => {
  await cp(used, dataDir, { recursive: true });
  await writeFile(join(dataDir, 'usher.db'), Buffer.alloc(8192, 'garbage'));
  const before = await contents();
  expect(await refusal(start())).toBe(
    `The store ${dataDir}/usher.db is damaged (file is not a database): restore the data directory from a backup, or set USHER_DATA_DIR to another folder; nothing was changed.`,
  );
  expect(await contents()).toEqual(before);
});

test('a role or an option that is not there is answered with the usage', async () => {
  for (const args of [['--role', 'dashboard'], ['--roll', 'api']]) {
    const usher = start({}, { args });
    expect(await usher.ended()).toBe(1);
    expect(usher.said()).toEqual([expect.stringContaining(args[1] === 'api' ? '--roll' : 'dashboard'), 'Usage: npm start [-- [--role all|api|worker] [--https]]']);
  }
});

test('everything that is wrong with the environment is told at once, without the values of secrets', async () => {
  const usher = start({ USHER_PORT: 'http', USHER_MASTER_KEY: 'canary-key', USHER_CLIENT_SECRET: 'canary-secret', USHER_LOG_LEVELS: 'info', TEMPORAL_PROFILE: 'mine' });
  expect(await usher.ended()).toBe(1);
  expect(usher.said()).toEqual([
    'Usher cannot start with this environment:',
    '  - USHER_LOG_LEVELS is not a variable of Usher; the nearest is USHER_LOG_LEVEL',
    expect.stringMatching(/^ {2}- USHER_PORT must be a port .*"http"$/),
    expect.stringMatching(/^ {2}- USHER_CLIENT_SECRET must be /),
    expect.stringMatching(/^ {2}- USHER_MASTER_KEY must be 32 bytes in base64/),
    expect.stringMatching(/^ {2}- TEMPORAL_PROFILE /),
  ]);
  expect(usher.stdout() + usher.stderr()).not.toContain('canary');
  // Nothing was made.
  await expect(stat(dataDir)).rejects.toThrow('ENOENT');
});

test('two roles that make a data directory at the same moment agree on its keys', async () => {
  const roles = ['api', 'worker'].map((role) => start({}, { args: ['--role', role] }));
  await roles[0]!.prints('the role api is ready');
  await roles[1]!.prints('the worker waits for Temporal');
  for (const role of roles) {
    role.child.kill('SIGTERM');
    expect(await role.ended()).toBe(0);
  }
  await startsAgain();
});
