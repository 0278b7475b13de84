import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { type Answer, bearer, callApi, send, signUp } from '../http/test-app.ts';
import { deployCli, readEverything, readTenant } from './deploy-cli.ts';
import { type HttpsUsher, startHttpsUsher } from './https-usher.ts';

const TENANT = new URL('fixtures/tenant', import.meta.url).pathname;
const KEYWORDS = { INVITATION: 'come in', CRM_KEY: 'crm secret', CONNECTIONS_GOOGLE_OAUTH2_SECRET: 'google secret' };
/** The client that the CLI itself uses: it exports it, and never changes it. */
const OWN = 'clients/First client.json';

type Body = Answer['body'];

// Each run of the CLI takes about 10 s of processor time, most of it for its own schemas.
vi.setConfig({ testTimeout: 400_000 });

let folder: string;
let usher: HttpsUsher;
let exporting: Promise<string> | undefined;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'usher-deploy-cli-'));
  usher = await startHttpsUsher();
  await deployCli(usher, 'import', TENANT, { keywords: KEYWORDS });
});

afterAll(async () => {
  await usher?.close();
  await rm(folder, { recursive: true, force: true });
});

/** A copy of the tenant's files to work in. */
async function copyOf(name: string, from = TENANT): Promise<string> {
  const path = join(folder, name);
  await cp(from, path, { recursive: true });
  return path;
}

/** The folder of the tenant's export, which is made once. */
async function exported(): Promise<string> {
  const path = join(folder, 'exported');
  await (exporting ??= deployCli(usher, 'export', path));
  return path;
}

async function edit(path: string, change: (content: Body) => void): Promise<void> {
  const content: Body = JSON.parse(await readFile(path, 'utf8'));
  change(content);
  await writeFile(path, JSON.stringify(content));
}

async function get(path: string, on = usher) {
  return (await send(`${on.app.url}/api/v2/${path}`, { headers: await bearer(on.app) })).body;
}

async function shop(fields: Record<string, unknown>) {
  const [{ client_id: id }] = await get('clients?app_type=spa');
  return await signUp(usher.app, { client_id: id, ...fields });
}

/** Without what each deploy of an unchanged Action changes: the CLI changes and deploys all of them each time. */
const withoutDeploys = (everything: unknown): unknown =>
  JSON.parse(JSON.stringify(everything, (key, value: Body) => {
    if (key === 'updated_at') return undefined;
    if (key !== 'deployed_version' && key !== 'current_version') return value;
    const { id: _id, number: _number, created_at: _created, built_at: _built, build_time: _time, ...content } = value;
    return content;
  }));

describe('a whole tenant, imported with the Deploy CLI', () => {
  test('is all there: what runs here runs, what does not is kept', async () => {
    const { actions } = await get('actions/actions');
    expect(Object.fromEntries(actions.map((action: Body) => [action.name, action.deployed_version?.deployed ?? false]))).toEqual({
      'Add claims': true,
      'Check the invitation': true,
      Count: true,
      Draft: false,
      'Note the plan': true,
      'Tell the CRM': true,
    });
    expect((await get('actions/modules')).modules).toMatchObject([{ name: 'invitations', latest_version_number: 1, actions_using_module_total: 1 }]);
    expect(actions.find((action: Body) => action.name === 'Add claims').secrets).toEqual([{ name: 'CLAIMS_KEY', updated_at: expect.any(String) }]);
    expect(await get('roles')).toMatchObject([{ name: 'Member' }]);
    expect((await get('connections?strategy=auth0')).map((connection: Body) => connection.name).toSorted()).toEqual(['Username-Password-Authentication', 'members']);
    expect(await shop({ invitation: 'none' })).toMatchObject({ status: 400, body: { error_description: 'You need an invitation.' } });
    expect(await shop({ invitation: 'come in' })).toMatchObject({ status: 200 });
  });

  test('binds its Actions in the order of the file', async () => {
    const names = async (trigger: string) => (await get(`actions/triggers/${trigger}/bindings`)).bindings.map((binding: Body) => [binding.action.name, binding.display_name]);
    expect(await names('pre-user-registration')).toEqual([['Note the plan', 'Note the plan'], ['Check the invitation', 'Check the invitation']]);
    expect(await names('post-user-registration')).toEqual([['Tell the CRM', 'Tell the CRM'], ['Count', 'Count them']]);
    expect(await names('post-login')).toEqual([['Add claims', 'Add claims']]);
  });

  test('imported again, changes nothing, and no policy either, of which its files know nothing', async () => {
    const path = 'actions/triggers/post-user-registration/bindings';
    const asRead = (await get(path)).bindings.map(({ id, display_name, usher: settings }: Body) => ({ ref: { type: 'binding_id', value: id }, display_name, usher: settings }));
    asRead[1].usher.timeout_ms = 120_000;
    const { status } = await callApi(usher.app, await bearer(usher.app), 'PATCH', `/${path}`, { bindings: asRead });
    expect(status).toBe(200);
    const before = withoutDeploys(await readEverything(usher));
    await deployCli(usher, 'import', TENANT, { keywords: KEYWORDS, allowDelete: true });
    expect(withoutDeploys(await readEverything(usher))).toEqual(before);
    expect((await get(path)).bindings[1].usher.timeout_ms).toBe(120_000);
  });

  test('is exported as the same files, which have no secrets', async () => {
    const files = await exported();
    const { [OWN]: own, ...others } = await readTenant(files);
    expect(own).toMatchObject({ name: 'First client' });
    expect(others).toEqual(expected(await readTenant(TENANT)));
    for (const secret of Object.values(KEYWORDS)) expect(JSON.stringify(others)).not.toContain(secret);
  });

  test('loses nothing when its export is imported: what is there stays, and so do the secrets', async () => {
    const before = withoutDeploys(await readEverything(usher));
    const { CONNECTIONS_GOOGLE_OAUTH2_SECRET } = KEYWORDS;
    await deployCli(usher, 'import', await exported(), { keywords: { CONNECTIONS_GOOGLE_OAUTH2_SECRET } });
    expect(withoutDeploys(await readEverything(usher))).toEqual(before);
    expect(await shop({ invitation: 'come in' })).toMatchObject({ status: 200 });
    expect(await shop({ invitation: 'undefined' })).toMatchObject({ status: 400 });
  });
});

describe('a tenant whose files change', () => {
  test('changes with them: code, order, properties, enabled clients', async () => {
    const files = await copyOf('changed');
    await writeFile(join(files, 'actions/Note the plan/code.js'), "exports.onExecutePreUserRegistration = async (event, api) => api.access.deny('x', 'Changed.');\n");
    await edit(join(files, 'triggers/triggers.json'), (triggers) => {
      triggers['pre-user-registration'] = triggers['pre-user-registration'].toReversed();
    });
    await edit(join(files, 'clients/Shop.json'), (client) => Object.assign(client, { description: 'Changed', client_metadata: { plan: 'silver' } }));
    await edit(join(files, 'database-connections/members/database.json'), (connection) => {
      connection.enabled_clients = ['Shop'];
      connection.options.passwordPolicy = 'low';
    });
    await edit(join(files, 'grants/Back office-Orders.json'), (grant) => Object.assign(grant, { scope: ['read:orders', 'write:orders'] }));
    await deployCli(usher, 'import', files, { keywords: KEYWORDS, allowDelete: true });

    expect(await shop({ invitation: 'none' })).toMatchObject({ body: { error_description: 'You need an invitation.' } });
    expect(await shop({ invitation: 'come in' })).toMatchObject({ body: { error_description: 'Changed.' } });
    expect(await get('clients?app_type=spa')).toMatchObject([{ description: 'Changed', client_metadata: { plan: 'silver' } }]);
    const [members] = await get('connections?name=members');
    expect(members).toMatchObject({ enabled_clients: [expect.any(String)], options: { passwordPolicy: 'low', requires_username: true } });
    expect(await get(`client-grants?audience=${encodeURIComponent('https://orders.example/v1/')}`)).toMatchObject([{ scope: ['read:orders', 'write:orders'] }]);
  });

  test('loses what is no longer there, but only when the CLI may delete', async () => {
    const files = await copyOf('smaller');
    await Promise.all(['actions/Count', 'actions/Count.json', 'clients/Back office.json', 'database-connections/members', 'resource-servers/Orders.json', 'connections/google-oauth2.json'].map((path) => rm(join(files, path), { recursive: true })));
    await rm(join(files, 'grants'), { recursive: true });
    await edit(join(files, 'triggers/triggers.json'), (triggers) => triggers['post-user-registration'].pop());
    await edit(join(files, 'roles/Member.json'), (role) => Object.assign(role, { permissions: [] }));
    await edit(join(files, 'database-connections/Username-Password-Authentication/database.json'), (connection) => Object.assign(connection, { enabled_clients: ['Shop'] }));
    const names = async () => {
      const [clients, connections, { actions }, servers] = await Promise.all([get('clients'), get('connections'), get('actions/actions'), get('resource-servers')]);
      return [...clients, ...connections, ...actions, ...servers].map((each: { name: string }) => each.name).toSorted();
    };
    const before = await names();
    await deployCli(usher, 'import', files, { keywords: KEYWORDS });
    expect(await names()).toEqual(before);
    await deployCli(usher, 'import', files, { keywords: KEYWORDS, allowDelete: true });
    expect(await names()).toEqual(before.filter((name) => !['Count', 'Back office', 'members', 'Orders', 'google-oauth2'].includes(name)));
    expect(await names()).toContain('First client');
  });
});

describe('Actions, their modules and triggers alone', () => {
  test('are imported into an empty Usher, and exported as the same files', async () => {
    const other = await startHttpsUsher();
    try {
      const included = ['actions', 'actionModules', 'triggers'];
      await deployCli(other, 'import', TENANT, { keywords: KEYWORDS, included });
      await deployCli(other, 'export', join(folder, 'actions-only'), { included });
      const only = Object.entries(expected(await readTenant(TENANT))).filter(([path]) => /^(actions|action-modules|triggers)\//.test(path));
      expect(await readTenant(join(folder, 'actions-only'))).toEqual(Object.fromEntries(only));
      expect(await get('clients', other)).toHaveLength(1);
    } finally {
      await other.close();
    }
  });
});

/** The files as the CLI exports them: secrets without values, and its own domain in place of the keyword. */
function expected(files: Record<string, unknown>): Record<string, unknown> {
  const text = JSON.stringify(files, (key, value: unknown) => (key === 'value' && String(value).startsWith('##') ? undefined : value));
  return JSON.parse(text.replaceAll('##DOMAIN##', usher.domain)) as Record<string, unknown>;
}
