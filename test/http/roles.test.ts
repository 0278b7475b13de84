import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { DEFAULT_CONNECTION } from '../../src/store/connections.ts';
import { type Answer, bearer, callApi, PASSWORD, startTestApp, type TestApp } from './test-app.ts';

let app: TestApp;
let token: { authorization: string };
let tests = 0;

beforeAll(async () => {
  app = await startTestApp();
  token = await bearer(app);
});
afterAll(() => app.close());
beforeEach(() => {
  tests++;
});

const call = async (method: string, path: string, body?: unknown, headers: Record<string, string> = token): Promise<Answer> =>
  await callApi(app, headers, method, path, body);
const noRole = { status: 404, body: { statusCode: 404, error: 'Not Found', message: 'The role does not exist.' } };
const noUser = { status: 404, body: { statusCode: 404, error: 'Not Found', message: 'The user does not exist.', errorCode: 'inexistent_user' } };
const names = (answer: Answer) => answer.body.map(({ name }: { name: string }) => name);

async function role(name: string): Promise<string> {
  const { status, body } = await call('POST', '/roles', { name: `${name} ${tests}` });
  expect(status).toBe(200);
  return body.id;
}

async function user(name: string): Promise<string> {
  const { status, body } = await call('POST', '/users', { connection: DEFAULT_CONNECTION, email: `${name}${tests}@example.com`, password: PASSWORD });
  expect(status).toBe(201);
  return body.user_id;
}

const at = (userId: string) => `/users/${encodeURIComponent(userId)}/roles`;

describe('roles', () => {
  test('a role is created, read, changed and deleted as on the wire', async () => {
    const created = await call('POST', '/roles', { name: `Admin ${tests}`, description: 'May all' });
    expect(created).toMatchObject({ status: 200, body: { id: expect.stringMatching(/^rol_\w{16}$/), name: `Admin ${tests}`, description: 'May all' } });
    const path = `/roles/${created.body.id}`;
    expect((await call('GET', path)).body).toEqual(created.body);
    expect((await call('PATCH', path, { description: 'Everything' })).body).toEqual({ ...created.body, description: 'Everything' });
    expect((await call('PATCH', path, {})).body).toEqual({ ...created.body, description: 'Everything' });
    expect(await call('GET', `${path}/permissions?include_totals=true`)).toMatchObject({ status: 200, body: { start: 0, limit: 50, total: 0, permissions: [] } });
    // Auth0's Go client sends a body.
    expect(await call('DELETE', path, {})).toMatchObject({ status: 200, body: {} });
    for (const [method, body] of [['GET'], ['PATCH', { name: 'x' }], ['DELETE']] as [string, object?][]) expect(await call(method, path, body)).toMatchObject(noRole);
    expect(await call('GET', `${path}/permissions`)).toMatchObject(noRole);
  });

  test('a role keeps permissions of APIs that there are, for who reads them back', async () => {
    const path = `/roles/${await role('Clerk')}/permissions`;
    const identifier = `https://orders${tests}.example.com`;
    await call('POST', '/resource-servers', { name: 'Orders', identifier, scopes: [{ value: 'read:orders', description: 'Read orders' }, { value: 'write:orders' }] });
    const read = { resource_server_identifier: identifier, permission_name: 'read:orders' };
    const management = { resource_server_identifier: `${app.url}/api/v2/`, permission_name: 'read:users' };

    expect(await call('POST', path, { permissions: [read, { ...read, permission_name: 'write:orders' }, management] })).toMatchObject({ status: 201 });
    expect(await call('POST', path, { permissions: [read] })).toMatchObject({ status: 201 });

    expect((await call('GET', `${path}?include_totals=true`)).body).toEqual({
      start: 0,
      limit: 50,
      total: 3,
      permissions: [
        { ...management, resource_server_name: 'Auth0 Management API' },
        { ...read, resource_server_name: 'Orders', description: 'Read orders' },
        { ...read, permission_name: 'write:orders', resource_server_name: 'Orders' },
      ],
    });
    expect(await call('POST', path, { permissions: [{ ...read, permission_name: 'burn:orders' }] })).toMatchObject({ status: 404, body: { message: expect.stringContaining('burn:orders') } });
    expect(await call('POST', path, { permissions: [{ ...read, resource_server_identifier: 'https://nobody.example.com' }] })).toMatchObject({ status: 404 });
    expect(await call('DELETE', path, { permissions: [{ ...read, resource_server_name: 'Orders' }] })).toMatchObject({ status: 204 });
    const thousand = Array.from({ length: 1000 }, (_, index) => ({ ...read, permission_name: `p${index}` }));
    expect(await call('DELETE', path, { permissions: thousand })).toMatchObject({ status: 204 });
    await call('DELETE', `/resource-servers/${encodeURIComponent(identifier)}`);
    expect((await call('GET', path)).body).toEqual([{ ...management, resource_server_name: 'Auth0 Management API' }]);
  });

  test('a name is there once', async () => {
    const id = await role('Editor');
    const other = await role('Reader');
    const taken = { status: 409, body: { statusCode: 409, error: 'Conflict', message: 'A role with the same name already exists.' } };
    expect(await call('POST', '/roles', { name: `Editor ${tests}` })).toMatchObject(taken);
    expect(await call('PATCH', `/roles/${other}`, { name: `Editor ${tests}` })).toMatchObject(taken);
    expect((await call('PATCH', `/roles/${id}`, { name: `Editor ${tests}` })).status).toBe(200);
  });

  test('the list is filtered by a part of the name in whatever case, and paged', async () => {
    await role('Ärzte filter');
    await role('ÄRZTE Filter 2');
    await role('Other');
    const filter = `name_filter=${encodeURIComponent('ärzte FILTER')}`;
    expect(new Set(names(await call('GET', `/roles?${filter}&type=tenant`)))).toEqual(new Set([`Ärzte filter ${tests}`, `ÄRZTE Filter 2 ${tests}`]));
    expect((await call('GET', `/roles?${filter}&per_page=1&page=1&include_totals=true`)).body).toMatchObject({ start: 1, limit: 1, total: 2, roles: [{ id: expect.any(String) }] });
    expect((await call('GET', '/roles?name_filter=%25')).body).toEqual([]);
  });
});

describe('roles of users', () => {
  test('are given, listed and taken away; twice is fine', async () => {
    const [one, two, id] = [await role('One'), await role('Two'), await user('ada')];
    expect((await call('POST', at(id), { roles: [one, two, one] })).status).toBe(204);
    expect((await call('POST', at(id), { roles: [one] })).status).toBe(204);
    expect(names(await call('GET', at(id))).toSorted()).toEqual([`One ${tests}`, `Two ${tests}`]);
    expect((await call('GET', `${at(id)}?include_totals=true&per_page=1`)).body).toMatchObject({ start: 0, limit: 1, total: 2, roles: [{}] });
    expect((await call('DELETE', at(id), { roles: [one, 'rol_unknown'] })).status).toBe(204);
    expect(names(await call('GET', at(id)))).toEqual([`Two ${tests}`]);
  });

  test('all or none: one that is not there gives nothing', async () => {
    const [one, id] = [await role('One'), await user('ada')];
    expect(await call('POST', at(id), { roles: [one, 'rol_none'] })).toMatchObject(noRole);
    expect(await call('POST', `/roles/${one}/users`, { users: [id, 'auth0|none'] })).toMatchObject(noUser);
    expect((await call('GET', at(id))).body).toEqual([]);
    expect(await call('POST', at('auth0|none'), { roles: [one] })).toMatchObject(noUser);
    expect(await call('DELETE', at('auth0|none'), { roles: [one] })).toMatchObject(noUser);
    expect(await call('GET', at('auth0|none'))).toMatchObject(noUser);
    expect(await call('POST', at(id), { roles: [] })).toMatchObject({ status: 400 });
  });

  test("a role's users are listed by page and by checkpoint", async () => {
    const id = await role('Member');
    const users = [await user('a'), await user('b'), await user('c')].toSorted();
    expect(await call('POST', `/roles/${id}/users`, { users })).toMatchObject({ status: 200, body: {} });
    const { body } = await call('GET', `/roles/${id}/users`);
    expect(body.map((each: Answer['body']) => each.user_id)).toEqual(users);
    expect(Object.keys(body[0]).toSorted()).toEqual(['email', 'name', 'picture', 'user_id']);
    expect((await call('GET', `/roles/${id}/users?include_totals=true&per_page=2&page=1`)).body).toMatchObject({ start: 2, limit: 2, total: 3, users: [{ user_id: users[2] }] });

    const first = (await call('GET', `/roles/${id}/users?take=2`)).body;
    expect(first).toMatchObject({ users: [{ user_id: users[0] }, { user_id: users[1] }], next: users[1] });
    const last = (await call('GET', `/roles/${id}/users?take=2&from=${encodeURIComponent(first.next)}`)).body;
    expect(last).toEqual({ users: [expect.objectContaining({ user_id: users[2] })] });
    expect(await call('GET', '/roles/rol_none/users')).toMatchObject(noRole);
  });

  test('go with the role, and with the user', async () => {
    const [one, two, id] = [await role('One'), await role('Two'), await user('ada')];
    await call('POST', at(id), { roles: [one, two] });
    await call('DELETE', `/roles/${one}`);
    expect(names(await call('GET', at(id)))).toEqual([`Two ${tests}`]);
    await call('DELETE', `/users/${encodeURIComponent(id)}`);
    expect((await call('GET', `/roles/${two}/users`)).body).toEqual([]);
  });
});

test('each endpoint asks for its scope', async () => {
  const none = await bearer(app, 'read:clients');
  const expected: [string, string, string, unknown?][] = [
    ['GET', '/roles', 'read:roles'],
    ['POST', '/roles', 'create:roles', { name: 'x' }],
    ['GET', '/roles/x', 'read:roles'],
    ['PATCH', '/roles/x', 'update:roles', {}],
    ['DELETE', '/roles/x', 'delete:roles'],
    ['GET', '/roles/x/users', 'read:users,read:roles,read:role_members'],
    ['POST', '/roles/x/users', 'create:role_members,update:roles', { users: ['x'] }],
    ['GET', '/roles/x/permissions', 'read:roles'],
    ['POST', '/roles/x/permissions', 'update:roles', { permissions: [{ permission_name: 'x', resource_server_identifier: 'x' }] }],
    ['DELETE', '/roles/x/permissions', 'update:roles', { permissions: [{ permission_name: 'x', resource_server_identifier: 'x' }] }],
    ['GET', '/users/x/roles', 'read:users,read:roles'],
    ['POST', '/users/x/roles', 'update:users,create:role_members', { roles: ['x'] }],
    ['DELETE', '/users/x/roles', 'update:users,delete:role_members', { roles: ['x'] }],
  ];
  for (const [method, path, scopes, body] of expected) {
    expect((await call(method, path, body, none)).body.message, `${method} ${path}`).toBe(`Insufficient scope, expected any of: ${scopes}`);
  }
});
