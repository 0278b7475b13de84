import { ManagementClient } from 'auth0';
import { ManagementClient as ManagementClient4 } from 'auth0-4';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { DEFAULT_CONNECTION } from '../../src/store/connections.ts';
import { CLIENT_ID, CLIENT_SECRET, PASSWORD } from '../http/test-app.ts';
import { type HttpsUsher, startHttpsUsher } from './https-usher.ts';
import { expectEveryOperation } from './sdk-coverage.ts';

let usher: HttpsUsher;
let names = 0;

beforeAll(async () => {
  usher = await startHttpsUsher();
});
afterAll(() => usher?.close());
beforeEach(() => {
  names++;
});

const credentials = () => ({ domain: usher.domain, clientId: CLIENT_ID, clientSecret: CLIENT_SECRET });
const newUser = (name = 'ada') => ({ connection: DEFAULT_CONNECTION, email: `${name}${names}@example.com`, password: PASSWORD });
const permission = () => ({ resource_server_identifier: `https://${usher.domain}/api/v2/`, permission_name: 'read:users' });
const NO_USER = { statusCode: 404, body: { message: 'The user does not exist.', errorCode: 'inexistent_user' } };

describe('npm auth0, the current major', () => {
  let client: ManagementClient;
  beforeAll(() => {
    client = new ManagementClient(credentials());
  });

  test('a user is created, read, changed and deleted', async () => {
    const created = await client.users.create({ ...newUser(), app_metadata: { plan: 'full' }, verify_email: false });
    expect(created).toMatchObject({ email: `ada${names}@example.com`, email_verified: false, app_metadata: { plan: 'full' }, identities: [{ provider: 'auth0', isSocial: false }] });
    const id = created.user_id!;
    expect(await client.users.get(id)).toEqual(created);
    expect(await client.users.get(id, { fields: 'user_id,name', include_fields: true })).toEqual({ user_id: id, name: created.name });

    const changed = await client.users.update(id, { app_metadata: { plan: null, seats: 3 }, nickname: null, blocked: true });
    expect(changed).toMatchObject({ app_metadata: { seats: 3 }, blocked: true });
    expect(changed).not.toHaveProperty('nickname');
    expect((await client.users.logs.list(id)).data).toMatchObject([{ type: 'ss', user_id: id }]);

    await client.users.delete(id);
    await expect(client.users.get(id)).rejects.toMatchObject(NO_USER);
    await client.users.delete(id);
  });

  test('what is refused is the error that the SDK has for it', async () => {
    await client.users.create(newUser());
    await expect(client.users.create(newUser())).rejects.toMatchObject({ name: 'ConflictError', statusCode: 409, body: { message: 'The user already exists.' } });
    await expect(client.users.create({ ...newUser('weak'), password: 'weak' })).rejects.toMatchObject({ name: 'BadRequestError', body: { message: 'PasswordStrengthError: Password is too weak' } });
    await expect(client.users.list({ q: 'name:(' })).rejects.toMatchObject({ name: 'BadRequestError', body: { errorCode: 'invalid_query_string' } });
  });

  test('users are found by e-mail and by a search, over its pages', async () => {
    for (const name of ['a', 'b', 'c']) await client.users.create({ ...newUser(name), user_metadata: { group: `g${names}` } });
    expect(await client.users.listUsersByEmail({ email: `b${names}@example.com` })).toMatchObject([{ email: `b${names}@example.com` }]);

    const search = { q: `user_metadata.group:"g${names}"`, sort: 'email:-1', search_engine: 'v3', per_page: 2 } as const;
    const page = await client.users.list(search);
    expect(page.response).toMatchObject({ start: 0, limit: 2, length: 2, total: 3 });
    const found: unknown[] = [];
    for await (const { email } of page) found.push(email);
    expect(found).toEqual(['c', 'b', 'a'].map((name) => `${name}${names}@example.com`));
  });

  test('roles are made, changed, listed, given, taken and deleted', async () => {
    const created = await client.roles.create({ name: `Admin ${names}`, description: 'All' });
    const id = created.id!;
    expect(await client.roles.get(id)).toEqual(created);
    expect(await client.roles.update(id, { description: 'Everything' })).toEqual({ ...created, description: 'Everything' });
    expect((await client.roles.list({ name_filter: `admin ${names}`, type: 'tenant' })).data).toMatchObject([{ id, name: `Admin ${names}` }]);
    await client.roles.permissions.add(id, { permissions: [permission()] });
    expect((await client.roles.permissions.list(id)).data).toEqual([{ ...permission(), resource_server_name: 'Auth0 Management API' }]);
    await client.roles.permissions.delete(id, { permissions: [permission()] });
    expect((await client.roles.permissions.list(id)).data).toEqual([]);
    await expect(client.roles.create({ name: `Admin ${names}` })).rejects.toMatchObject({ name: 'ConflictError' });

    const users = await Promise.all(['a', 'b', 'c'].map(async (name) => (await client.users.create(newUser(name))).user_id!));
    await client.users.roles.assign(users[0]!, { roles: [id] });
    expect((await client.users.roles.list(users[0]!)).data).toMatchObject([{ id, name: `Admin ${names}` }]);
    await client.roles.users.assign(id, { users: users.slice(1) });
    const found: unknown[] = [];
    for await (const { user_id: userId } of await client.roles.users.list(id, { take: 2 })) found.push(userId);
    expect(found).toEqual(users.toSorted());
    await client.users.roles.delete(users[0]!, { roles: [id] });
    expect((await client.roles.users.list(id)).data).toHaveLength(2);

    await client.roles.delete(id);
    expect((await client.users.roles.list(users[1]!)).data).toEqual([]);
    await expect(client.roles.get(id)).rejects.toMatchObject({ statusCode: 404, body: { message: 'The role does not exist.' } });
  });

  test('log entries are searched and read; tickets verify an address and change a password', async () => {
    const { user_id: id = '' } = await client.users.create(newUser());
    const { data, response } = await client.logs.list({ search: `type:ss AND user_id:"${id}"`, sort: 'date:1', per_page: 1 });
    expect(response).toMatchObject({ start: 0, limit: 1, total: 1 });
    expect(data).toMatchObject([{ type: 'ss', user_id: id }]);
    expect(await client.logs.get(data[0]!.log_id!)).toEqual(data[0]);

    const { ticket } = await client.tickets.verifyEmail({ user_id: id, ttl_sec: 60 });
    await fetch(ticket);
    expect(await client.users.get(id)).toMatchObject({ email_verified: true });
    const change = await client.tickets.changePassword({ user_id: id });
    expect((await fetch(change.ticket)).status).toBe(200);
  });
});

describe('npm auth0, 4.x', () => {
  let client: ManagementClient4;
  beforeAll(() => {
    client = new ManagementClient4(credentials());
  });

  test('a user is created, read, changed and deleted', async () => {
    const { status, data: created } = await client.users.create({ ...newUser(), user_metadata: { color: 'blue' } });
    expect(status).toBe(201);
    const id = created.user_id;
    expect((await client.users.get({ id })).data).toEqual(created);
    const { data: changed } = await client.users.update({ id }, { user_metadata: { size: 1 }, given_name: 'Ada' });
    expect(changed).toMatchObject({ user_metadata: { color: 'blue', size: 1 }, given_name: 'Ada' });
    expect((await client.usersByEmail.getByEmail({ email: created.email })).data).toEqual([changed]);
    expect((await client.users.getLogs({ id })).data).toMatchObject([{ type: 'ss' }]);
    expect((await client.users.getLogs({ id, include_totals: true })).data).toMatchObject({ total: 1, logs: [{ type: 'ss' }] });
    expect((await client.users.delete({ id })).status).toBe(204);
    await expect(client.users.get({ id })).rejects.toMatchObject({ statusCode: 404, errorCode: 'inexistent_user', msg: 'The user does not exist.' });
  });

  test('users are listed and searched', async () => {
    for (const name of ['a', 'b']) await client.users.create({ ...newUser(name), app_metadata: { group: `h${names}` } });
    const search = { q: `app_metadata.group:"h${names}"`, sort: 'email:1', page: 0, per_page: 1 };
    expect((await client.users.getAll(search)).data).toMatchObject([{ email: `a${names}@example.com` }]);
    expect((await client.users.getAll({ ...search, page: 1, include_totals: true })).data).toMatchObject({ start: 1, limit: 1, length: 1, total: 2, users: [{ email: `b${names}@example.com` }] });
  });

  test('roles are made, changed, listed, given, taken and deleted', async () => {
    const { status, data: created } = await client.roles.create({ name: `Editor ${names}`, description: 'Writes' });
    expect(status).toBe(200);
    const { id } = created;
    expect((await client.roles.get({ id })).data).toEqual(created);
    expect((await client.roles.update({ id }, { name: `Writer ${names}` })).data).toMatchObject({ name: `Writer ${names}`, description: 'Writes' });
    expect((await client.roles.getAll({ name_filter: `writer ${names}` })).data).toMatchObject([{ id }]);
    expect((await client.roles.getAll({ name_filter: `writer ${names}`, include_totals: true })).data).toMatchObject({ start: 0, limit: 50, total: 1, roles: [{ id }] });
    expect((await client.roles.addPermissions({ id }, { permissions: [permission()] })).status).toBe(201);
    expect((await client.roles.getPermissions({ id })).data).toMatchObject([permission()]);
    expect((await client.roles.deletePermissions({ id }, { permissions: [permission()] })).status).toBe(204);
    expect((await client.roles.getPermissions({ id, include_totals: true })).data).toMatchObject({ total: 0, permissions: [] });

    const [one, two] = (await Promise.all(['a', 'b'].map((name) => client.users.create(newUser(name))))).map(({ data }) => data.user_id);
    expect((await client.users.assignRoles({ id: one! }, { roles: [id] })).status).toBe(204);
    expect((await client.roles.assignUsers({ id }, { users: [two!] })).status).toBe(200);
    expect((await client.users.getRoles({ id: one! })).data).toMatchObject([{ id }]);
    expect(new Set((await client.roles.getUsers({ id })).data.map(({ user_id: userId }) => userId))).toEqual(new Set([one, two]));
    expect((await client.roles.getUsers({ id, include_totals: true, per_page: 1 })).data).toMatchObject({ start: 0, limit: 1, total: 2 });
    expect((await client.roles.getUsers({ id, take: 1 })).data).toMatchObject({ next: expect.any(String), users: [{}] });
    expect((await client.users.deleteRoles({ id: one! }, { roles: [id] })).status).toBe(204);
    expect((await client.users.getRoles({ id: one!, include_totals: true })).data).toMatchObject({ total: 0, roles: [] });
    expect((await client.roles.delete({ id })).status).toBe(200);
  });

  test('log entries are searched and read; tickets verify an address and change a password', async () => {
    const { data: { user_id: id } } = await client.users.create(newUser());
    const search = { q: `type:ss AND user_id:"${id}"`, sort: 'date:1' };
    const { data } = await client.logs.getAll(search);
    expect(data).toMatchObject([{ type: 'ss', user_id: id }]);
    expect((await client.logs.getAll({ ...search, include_totals: true })).data).toMatchObject({ start: 0, total: 1, logs: data });
    expect((await client.logs.get({ id: data[0]!.log_id })).data).toEqual(data[0]);

    const { data: { ticket } } = await client.tickets.verifyEmail({ user_id: id });
    await fetch(ticket);
    expect((await client.users.get({ id })).data).toMatchObject({ email_verified: true });
    const { data: change } = await client.tickets.changePassword({ user_id: id });
    expect((await fetch(change.ticket)).status).toBe(200);
  });
});

test('each SDK has asked for every operation on users, roles, logs and tickets', async () => {
  await expectEveryOperation(usher, 'users');
});
