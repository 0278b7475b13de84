import { ManagementClient } from 'auth0';
import { ManagementClient as ManagementClient4 } from 'auth0-4';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { CLIENT_ID, CLIENT_SECRET } from '../http/test-app.ts';
import { type HttpsUsher, startHttpsUsher } from './https-usher.ts';
import { expectEveryOperation } from './sdk-coverage.ts';

let usher: HttpsUsher;

beforeAll(async () => {
  usher = await startHttpsUsher();
});
afterAll(() => usher?.close());

const credentials = () => ({ domain: usher.domain, clientId: CLIENT_ID, clientSecret: CLIENT_SECRET });
const audience = () => `https://${usher.domain}/api/v2/`;

const namesOf = (items: { name?: string | undefined }[]) => items.map(({ name = '' }) => name).toSorted();

/** Every item of a list, page after page, as the client itself turns them. */
async function everything<T>(first: AsyncIterable<T>): Promise<T[]> {
  const items: T[] = [];
  for await (const item of first) {
    items.push(item);
    if (items.length > 100) throw new Error('the pages do not end');
  }
  return items;
}

describe('npm auth0, the current major', () => {
  let management: ManagementClient;
  beforeAll(() => {
    management = new ManagementClient(credentials());
  });

  test('clients are created, read, listed page after page, changed, given a new secret and deleted', async () => {
    const made = await Promise.all(['a', 'b', 'c'].map((name) => management.clients.create({ name, app_type: 'native', client_metadata: { team: name } })));
    const [{ client_id: id = '', client_secret: secret }] = made as [{ client_id?: string; client_secret?: string }];
    expect(await management.clients.get(id)).toMatchObject({ client_id: id, client_secret: secret, client_metadata: { team: 'a' } });
    expect(await management.clients.get(id, { fields: 'name', include_fields: true })).toEqual({ name: 'a' });
    const listed = await everything(await management.clients.list({ app_type: 'native', per_page: 2 }));
    expect(namesOf(listed)).toEqual(['a', 'b', 'c']);
    expect(await management.clients.update(id, { description: 'changed' })).toMatchObject({ description: 'changed', name: 'a' });
    expect((await management.clients.rotateSecret(id)).client_secret).not.toBe(secret);
    await Promise.all(made.map((client) => management.clients.delete(client.client_id!)));
    await expect(management.clients.get(id)).rejects.toMatchObject({ statusCode: 404, body: { errorCode: 'inexistent_client' } });
  });

  test('connections are created, read, listed from checkpoints, changed, enabled for clients and deleted', async () => {
    const made = await Promise.all(['x', 'y', 'z'].map((name) => management.connections.create({ name, strategy: 'auth0', options: { passwordPolicy: 'fair' } })));
    const id = made[0]!.id!;
    expect(await management.connections.get(id)).toMatchObject({ name: 'x', options: { passwordPolicy: 'fair' }, enabled_clients: [] });
    const listed = await everything(await management.connections.list({ strategy: ['auth0', 'email'], take: 2 }));
    expect(namesOf(listed)).toEqual(['Username-Password-Authentication', 'x', 'y', 'z']);
    expect((await management.connections.list({ name: 'y', strategy: ['auth0'] })).data).toMatchObject([{ name: 'y' }]);
    expect(await management.connections.update(id, { options: { passwordPolicy: 'low' }, display_name: 'X' })).toMatchObject({ options: { passwordPolicy: 'low' }, display_name: 'X' });

    await management.connections.clients.update(id, [{ client_id: CLIENT_ID, status: true }]);
    expect((await management.connections.clients.get(id)).data).toEqual([{ client_id: CLIENT_ID }]);
    await management.connections.users.deleteByEmail(id, { email: 'nobody@example.com' });
    await Promise.all(made.map((connection) => management.connections.delete(connection.id!)));
    await expect(management.connections.get(id)).rejects.toMatchObject({ statusCode: 404, body: { errorCode: 'inexistent_connection' } });
  });

  test('resource servers and client grants are created, read, listed, changed and deleted, and tokens follow them', async () => {
    const identifier = 'https://orders.example/';
    const server = await management.resourceServers.create({ identifier, name: 'Orders', scopes: [{ value: 'read:orders' }] });
    expect(await management.resourceServers.get(identifier)).toEqual(server);
    expect(await management.resourceServers.update(server.id!, { token_lifetime: 60 })).toMatchObject({ token_lifetime: 60 });
    const servers = await everything(await management.resourceServers.list({ per_page: 1 }));
    expect(servers.map(({ name }) => name)).toEqual(['Auth0 Management API', 'Orders']);
    expect((await management.resourceServers.list({ identifiers: [identifier] })).data).toHaveLength(1);

    const { client_id: clientId = '', client_secret: clientSecret = '' } = await management.clients.create({ name: 'machine', app_type: 'non_interactive' });
    const grant = await management.clientGrants.create({ client_id: clientId, audience: audience(), scope: ['read:clients'] });
    expect(await management.clientGrants.get(grant.id!)).toEqual(grant);
    expect((await management.clientGrants.list({ client_id: clientId, audience: audience() })).data).toEqual([grant]);
    expect((await everything(await management.clientGrants.list({ take: 1 }))).map(({ id }) => id)).toContain(grant.id);

    const machine = new ManagementClient({ domain: usher.domain, clientId, clientSecret });
    expect((await machine.clients.list()).data.map((client) => client.client_id)).toContain(clientId);
    await expect(machine.connections.list()).rejects.toMatchObject({ statusCode: 403, body: { errorCode: 'insufficient_scope' } });
    expect(await management.clientGrants.update(grant.id!, { scope: ['read:connections'] })).toMatchObject({ scope: ['read:connections'] });
    const again = new ManagementClient({ domain: usher.domain, clientId, clientSecret });
    expect((await again.connections.list()).data).toHaveLength(1);

    await management.clientGrants.delete(grant.id!);
    await management.resourceServers.delete(server.id!);
    await management.clients.delete(clientId);
    await expect(management.resourceServers.get(server.id!)).rejects.toMatchObject({ statusCode: 404 });
  });

  test('tenant settings are read and changed', async () => {
    await management.tenants.settings.update({ flags: { enable_public_signup_user_exists_error: false } });
    expect(await management.tenants.settings.get()).toMatchObject({ flags: { enable_public_signup_user_exists_error: false } });
  });
});

describe('npm auth0 4', () => {
  let management: ManagementClient4;
  beforeAll(() => {
    management = new ManagementClient4(credentials());
  });

  test('clients are created, read, listed, changed, given a new secret and deleted', async () => {
    const { data: made } = await management.clients.create({ name: 'four', app_type: 'spa' });
    const by = { client_id: made.client_id };
    expect((await management.clients.get(by)).data).toEqual(made);
    const { data: page } = await management.clients.getAll({ app_type: 'spa', page: 0, per_page: 5, include_totals: true });
    expect(page).toMatchObject({ start: 0, limit: 5, total: 1, clients: [{ name: 'four' }] });
    expect((await management.clients.getAll({ fields: 'client_id', include_fields: true })).data).toContainEqual(by);
    expect((await management.clients.update(by, { description: 'changed' })).data).toMatchObject({ description: 'changed' });
    expect((await management.clients.rotateClientSecret(by)).data.client_secret).not.toBe(made.client_secret);
    await management.clients.delete(by);
    await expect(management.clients.get(by)).rejects.toMatchObject({ statusCode: 404, errorCode: 'inexistent_client' });
  });

  test('connections are created, read, listed, changed, enabled for clients and deleted', async () => {
    const { data: made } = await management.connections.create({ name: 'four', strategy: 'email', enabled_clients: [CLIENT_ID] });
    const by = { id: made.id };
    expect((await management.connections.get(by)).data).toEqual(made);
    expect((await management.connections.getAll({ strategy: ['email', 'sms'] })).data).toMatchObject([{ name: 'four' }]);
    expect((await management.connections.getAll({ take: 1 })).data).toMatchObject({ connections: [{}], next: expect.any(String) });
    expect((await management.connections.update(by, { options: { totp: { length: 8, time_step: 60 } } })).data).toMatchObject({ options: { totp: { length: 8 } } });
    await management.connections.updateEnabledClients(by, [{ client_id: CLIENT_ID, status: false }]);
    expect((await management.connections.getEnabledClients(by)).data).toEqual({ clients: [] });
    await management.connections.deleteUserByEmail({ ...by, email: 'nobody@example.com' });
    await management.connections.delete(by);
    await expect(management.connections.get(by)).rejects.toMatchObject({ statusCode: 404 });
  });

  test('resource servers, client grants and tenant settings are created, read, changed and deleted', async () => {
    const { data: server } = await management.resourceServers.create({ identifier: 'urn:four', name: 'Four' });
    expect((await management.resourceServers.get({ id: server.id })).data).toEqual(server);
    expect((await management.resourceServers.getAll({ include_totals: true })).data).toMatchObject({ total: 2 });
    expect((await management.resourceServers.update({ id: server.id }, { scopes: [{ value: 'a' }] })).data).toMatchObject({ scopes: [{ value: 'a' }] });
    const { data: client } = await management.clients.create({ name: 'grantee' });
    const { data: grant } = await management.clientGrants.create({ client_id: client.client_id, audience: 'urn:four', scope: ['a'] });
    expect((await management.clientGrants.getAll({ client_id: client.client_id })).data).toEqual([grant]);
    expect((await management.clientGrants.update({ id: grant.id }, { scope: [] })).data).toMatchObject({ scope: [] });
    await management.clientGrants.delete({ id: grant.id });
    await management.resourceServers.delete({ id: server.id });
    await management.tenants.updateSettings({ friendly_name: 'Four' });
    expect((await management.tenants.getSettings()).data).toMatchObject({ friendly_name: 'Four' });
  });
});

test('each SDK has asked for every operation on clients, connections, grants, APIs and the tenant', async () => {
  await expectEveryOperation(usher, 'applications');
});
