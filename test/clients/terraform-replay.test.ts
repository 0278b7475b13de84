import { request } from 'node:http';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { until } from '../builds/harness.ts';
import { startRegistry, type TestRegistry } from '../builds/registry.ts';
import { bearer, startTestApp, type TestApp } from '../http/test-app.ts';

/*
 * A replay: Terraform itself is not run. These are the requests that the provider auth0/auth0 makes for its resources
 * auth0_action, auth0_trigger_actions and auth0_trigger_action, and how it makes its state of the answers, after
 * github.com/auth0/terraform-provider-auth0, folder internal/auth0/action: resource.go, resource_trigger_actions.go and
 * expand.go at commit 02c782a3, flatten.go at 04a1b141, resource_trigger_action.go at a431d54a; and after the requests
 * of go-auth0 1.0.2 that its test/data/recordings/TestAccTriggerActions.yaml at 0c29822e holds: the body `null` where
 * there is none, pages of 100, and a next page for as long as an answer has a `total`.
 */

interface ActionConfig {
  name: string;
  supported_triggers: { id: string; version: string }[];
  code: string;
  /** Null: whatever the server chooses. */
  runtime: 'node18' | 'node22' | null;
  dependencies: { name: string; version: string }[];
  secrets: { name: string; value: string }[];
  deploy: boolean;
}

interface ActionState extends Omit<ActionConfig, 'runtime' | 'secrets' | 'deploy'> {
  id: string;
  runtime: string;
  version_id: string | undefined;
}

interface BindingState {
  id: string;
  display_name: string;
}

// oxlint-disable-next-line typescript/no-explicit-any -- answers of many shapes
type Body = any;

const POST = 'post-user-registration';
/** A loop that no sound server lets it go round as often. */
const MAX_PAGES = 10;

let app: TestApp;
let registry: TestRegistry;
let headers: { authorization: string };
let sent: string[] = [];

beforeAll(async () => {
  registry = await startRegistry();
  await registry.publish('left-pad', '1.3.0');
  process.env['npm_config_registry'] = registry.url;
  app = await startTestApp();
  headers = await bearer(app);
});
afterAll(async () => {
  delete process.env['npm_config_registry'];
  await app?.close();
  await registry?.close();
});

/** As go-auth0 asks: `null` where there is nothing to say, also with GET; no body with DELETE. */
async function ask(method: string, path: string, body: unknown = null): Promise<Body> {
  sent.push(`${method} ${path}`);
  const text = method === 'DELETE' ? '' : JSON.stringify(body);
  const answer = await new Promise<{ status: number; text: string }>((resolve, reject) => {
    const asked = request(`${app.url}/api/v2/actions${path}`, { method, headers: { ...headers, 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) } }, (res) => {
      let received = '';
      res.setEncoding('utf8').on('data', (chunk: string) => (received += chunk));
      res.on('end', () => resolve({ status: res.statusCode ?? 0, text: received }));
    });
    asked.on('error', reject);
    asked.end(text);
  });
  if (answer.status >= 300) throw new Error(`${method} ${path}: ${answer.status} ${answer.text}`);
  return answer.text === '' ? undefined : JSON.parse(answer.text);
}

function expandAction({ name, supported_triggers, code, runtime, dependencies, secrets }: ActionConfig) {
  return { name, supported_triggers, code, dependencies, ...(runtime === null ? {} : { runtime: runtime === 'node18' ? 'node18-actions' : runtime }), secrets };
}

async function readAction(id: string): Promise<ActionState> {
  const { name, supported_triggers, code, dependencies, runtime, deployed_version: deployed } = await ask('GET', `/actions/${id}`);
  return { id, name, supported_triggers, code, dependencies, runtime: runtime === 'node18-actions' ? 'node18' : runtime, version_id: deployed?.id };
}

async function deployAction(id: string): Promise<void> {
  const { status } = await until(() => ask('GET', `/actions/${id}`), (action) => action.status === 'built' || action.status === 'failed');
  expect(status).toBe('built');
  await ask('POST', `/actions/${id}/deploy`);
}

async function createAction(config: ActionConfig): Promise<ActionState> {
  const { id } = await ask('POST', '/actions', expandAction(config));
  if (config.deploy) await deployAction(id);
  return await readAction(id);
}

async function updateAction(id: string, config: ActionConfig): Promise<ActionState> {
  // Refuses to go on when there is a secret that it does not know of.
  const { secrets } = await ask('GET', `/actions/${id}`);
  for (const { name } of secrets) expect(config.secrets.map((secret) => secret.name)).toContain(name);
  await ask('PATCH', `/actions/${id}`, expandAction(config));
  if (config.deploy) await deployAction(id);
  return await readAction(id);
}

/** What `terraform plan` would change. A set has no order, and what the configuration leaves open is as it is. */
function planAction(config: ActionConfig, state: ActionState): string[] {
  const set = (items: object[]) => JSON.stringify(items.map((item) => JSON.stringify(item)).toSorted());
  const changes: string[] = [];
  if (config.name !== state.name) changes.push('name');
  if (config.code !== state.code) changes.push('code');
  if (config.runtime !== null && config.runtime !== state.runtime) changes.push('runtime');
  if (JSON.stringify(config.supported_triggers) !== JSON.stringify(state.supported_triggers)) changes.push('supported_triggers');
  if (set(config.dependencies) !== set(state.dependencies)) changes.push('dependencies');
  return changes;
}

async function readBindings(trigger: string): Promise<BindingState[]> {
  const found: BindingState[] = [];
  for (let page = 0; page < MAX_PAGES; page++) {
    const { bindings, total = 0 } = await ask('GET', `/triggers/${trigger}/bindings?page=${page}&per_page=100`);
    found.push(...bindings.map((binding: Body) => ({ id: binding.action.id, display_name: binding.display_name })));
    if (total === 0) return found;
  }
  throw new Error('the pages of the bindings have no end');
}

async function applyTriggerActions(trigger: string, actions: BindingState[]): Promise<BindingState[]> {
  await ask('PATCH', `/triggers/${trigger}/bindings`, { bindings: actions.map(({ id, display_name }) => ({ display_name, ref: { type: 'action_id', value: id } })) });
  return await readBindings(trigger);
}

/** auth0_trigger_action: one binding more at the end, whatever else is bound. */
async function createTriggerAction(trigger: string, actionId: string): Promise<void> {
  const bound = await readBindings(trigger);
  const { name } = await ask('GET', `/actions/${actionId}`);
  await applyTriggerActions(trigger, [...bound, { id: actionId, display_name: name }]);
}

async function deleteTriggerAction(trigger: string, actionId: string): Promise<void> {
  const bound = await readBindings(trigger);
  await applyTriggerActions(trigger, bound.filter(({ id }) => id !== actionId));
}

let names = 0;
const config = (over: Partial<ActionConfig> = {}): ActionConfig => ({
  name: `Managed ${names++}`,
  supported_triggers: [{ id: POST, version: 'v2' }],
  code: 'exports.onExecutePostUserRegistration = async () => {};\n',
  runtime: 'node22',
  dependencies: [],
  secrets: [],
  deploy: true,
  ...over,
});

test.each([
  ['with a package at `latest` and with secrets', { dependencies: [{ name: 'left-pad', version: 'latest' }], secrets: [{ name: 'KEY', value: 'v' }] }],
  ['on node18, which is node18-actions on the wire', { runtime: 'node18' as const }],
  ['without a runtime', { runtime: null }],
  ['that is not deployed', { deploy: false }],
  ['of a trigger that does not run here', { supported_triggers: [{ id: 'post-login', version: 'v3' }], code: 'exports.onExecutePostLogin = async () => {};' }],
])('auth0_action %s: the second plan is empty, after its creation and after a change', async (_what, over) => {
  const first = config(over);
  const created = await createAction(first);
  expect(planAction(first, created)).toEqual([]);
  const refreshed = await readAction(created.id);
  expect(refreshed).toEqual(created);
  expect(planAction(first, refreshed)).toEqual([]);

  const second = { ...first, code: `${first.code}// changed\n` };
  expect(planAction(second, refreshed)).toEqual(['code']);
  const updated = await updateAction(created.id, second);
  expect(planAction(second, updated)).toEqual([]);
  const again = await readAction(created.id);
  expect(again).toEqual(updated);
  expect(again.version_id !== undefined).toBe(first.deploy);
  if (first.deploy) expect(again.version_id).not.toBe(created.version_id);
  await ask('DELETE', `/actions/${created.id}`);
});

test('auth0_trigger_actions: the second plan is empty, after its creation and after a new order', async () => {
  const [a, b] = [await createAction(config()), await createAction(config())];
  const wanted = [{ id: a.id, display_name: 'First' }, { id: b.id, display_name: 'Second' }];
  sent = [];
  expect(await applyTriggerActions(POST, wanted)).toEqual(wanted);
  // As it is in the recording.
  const page = (number: number) => `GET /triggers/${POST}/bindings?page=${number}&per_page=100`;
  expect(sent).toEqual([`PATCH /triggers/${POST}/bindings`, page(0), page(1)]);
  expect(await readBindings(POST)).toEqual(wanted);

  const turned = wanted.toReversed();
  expect(await applyTriggerActions(POST, turned)).toEqual(turned);
  expect(await readBindings(POST)).toEqual(turned);

  await ask('PATCH', `/triggers/${POST}/bindings`, { bindings: [] });
  expect(await readBindings(POST)).toEqual([]);
  for (const { id } of [a, b]) await ask('DELETE', `/actions/${id}`);
});

test('auth0_trigger_action: each adds itself at the end, is found again, and leaves the others when it goes', async () => {
  const [a, b] = [await createAction(config()), await createAction(config())];
  await createTriggerAction(POST, a.id);
  await createTriggerAction(POST, b.id);
  const both = [{ id: a.id, display_name: a.name }, { id: b.id, display_name: b.name }];
  expect(await readBindings(POST)).toEqual(both);
  await deleteTriggerAction(POST, a.id);
  expect(await readBindings(POST)).toEqual([both[1]]);
  await deleteTriggerAction(POST, b.id);
  for (const { id } of [a, b]) await ask('DELETE', `/actions/${id}`);
});

test('a resource whose Action somebody has deleted is told so, and made anew', async () => {
  const first = config();
  const { id } = await createAction(first);
  await ask('DELETE', `/actions/${id}`);
  await expect(readAction(id)).rejects.toThrow(': 404 {"statusCode":404,"error":"Not Found"');
  expect(planAction(first, await createAction(first))).toEqual([]);
});
