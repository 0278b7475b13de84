import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type ClientStore, createClientStore } from '../../src/store/clients.ts';
import type { Database } from '../../src/store/database.ts';
import { migrate } from '../../src/store/migrate.ts';
import { openSqlite } from '../../src/store/sqlite.ts';

let folder: string;
let database: Database;
let clients: ClientStore;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'usher-clients-'));
  database = openSqlite(join(folder, 'usher.sqlite'));
  await migrate(database);
  clients = createClientStore({ database });
});

afterEach(async () => {
  await database.close();
  await rm(folder, { recursive: true, force: true });
});

describe('the first client', () => {
  it('is made once, with an id like those of Auth0 and all scopes', async () => {
    expect(await clients.hasFirst()).toBe(false);
    const id = await clients.ensureFirst({ clientId: null, clientSecret: 'secret' });
    expect(id).toMatch(/^[\w-]{32}$/);
    expect(await clients.hasFirst()).toBe(true);
    expect(await clients.ensureFirst({ clientId: null, clientSecret: null })).toBe(id);
    expect(await clients.first()).toMatchObject({ id, scopes: expect.arrayContaining(['create:actions', 'read:logs']) });
    expect(await clients.authenticate(id, 'secret')).toMatchObject({ id });
    expect(await clients.authenticate(id, 'Secret')).toBeNull();
  });

  it('takes over an id and a secret that are given later', async () => {
    const before = await clients.ensureFirst({ clientId: null, clientSecret: 'old' });
    expect(await clients.ensureFirst({ clientId: 'mine', clientSecret: 'new' })).toBe('mine');
    expect(await clients.authenticate('mine', 'new')).toMatchObject({ id: 'mine' });
    expect(await clients.authenticate('mine', 'old')).toBeNull();
    expect(await clients.find(before)).toBeNull();
  });

  it('cannot be made without a secret', async () => {
    await expect(clients.ensureFirst({ clientId: 'mine', clientSecret: null })).rejects.toThrow('secret');
    expect(await clients.hasFirst()).toBe(false);
  });
});
