import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { OTP } from '../authentication/login-app.ts';
import { until } from '../e2e/until.ts';
import { startTestUsher, type TestUsher } from '../e2e/usher.ts';
import { type MailServer, startMailServer } from '../messages/mail-server.ts';

/** Planted through the real thing: none may be found where it has no place. */
const SECRET = 'canary-secret-6b1f';
const PASSWORD = 'Canary-Password-77';
const PERSONAL = ['canary-ann@example.com', 'Canary-Given-Name', 'canary-user-metadata'];
/** Put together when it runs: the code itself is not sealed. */
const LOGGED = 'canary-logged-by-action';

const CODE = `exports.onExecutePostUserRegistration = async (event) => {
  console.log('canary-logged-' + 'by-action', event.user.email, event.secrets.KEY);
  await fetch(event.secrets.USHER + '/healthz?who=' + event.user.email);
  if (event.usher.attempt < 3 || event.user.email.includes('unlucky')) throw new Error('no: ' + event.user.email + event.secrets.KEY);
};`;
const PRE_CODE = `exports.onExecutePreUserRegistration = async (event, api) => {
  console.log(event.user.email);
  if (event.user.email.includes('denied')) api.access.deny('no', 'not for ' + event.user.email);
};`;

let mail: MailServer;
let usher: TestUsher;
let token: string;
/** Everything that was answered, but tokens to who asks for them. */
const answers: string[] = [];
/** What lets somebody in: the administrator's token, tickets in mails, tokens of who logs in. */
const tokens: string[] = [];
let userId: string;
let registrationId: string;

/** What the answers have that is looked at here. */
interface Body {
  access_token: string;
  id_token: string;
  _id: string;
  id: string;
  status: string;
  ended_at: string | null;
  codec: { endpoint: string };
  payloads: WebPayload[];
}

interface Answer {
  status: number;
  body: Body;
  headers: Headers;
}

async function call(method: string, path: string, body?: object, headers: Record<string, string> = { authorization: `Bearer ${token}` }): Promise<Answer> {
  const response = await fetch(usher.api + path, { method, headers: { ...headers, ...(body === undefined ? {} : { 'content-type': 'application/json' }) }, ...(body === undefined ? {} : { body: JSON.stringify(body) }) });
  const text = await response.text();
  if (path !== '/oauth/token' || !response.ok) answers.push(text);
  return { status: response.status, body: JSON.parse(text) as Body, headers: response.headers };
}

/** Files of a folder with everything in them; the sandbox's packages are none of ours. */
function filesOf(folder: string): { name: string; content: string }[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .map((name) => ({ name, content: readFileSync(name, 'latin1') }));
}

function filesWith(folder: string, text: string): string[] {
  return filesOf(folder).filter(({ content }) => content.includes(text)).map(({ name }) => name.slice(folder.length + 1));
}

/** Tables of the development server that have a text in one of their rows; its file still has what was in rows that are deleted. */
function temporalTablesWith(text: string): string[] {
  using database = new DatabaseSync(join(usher.dataDir, 'temporal', 'temporal.db'), { readOnly: true, timeout: 5_000 });
  const tables = database.prepare("select name from sqlite_master where type = 'table'").all().map(({ name }) => String(name));
  const has = (value: unknown) => (value instanceof Uint8Array ? Buffer.from(value).toString('latin1') : String(value)).includes(text);
  return tables.filter((table) => database.prepare(`select * from "${table}"`).all().some((row) => Object.values(row).some(has)));
}

interface WebPayload {
  metadata?: Record<string, string>;
  data?: string;
}

/** What Temporal's Web UI is told. @param path below the namespace */
async function askTemporal(path: string): Promise<{ status: number; body: unknown }> {
  const response = await fetch(`${running().webUi}/api/v1/namespaces/default${path}`);
  return { status: response.status, body: await response.json() };
}

function workflowPath(id: string): string {
  return `/workflows/${encodeURIComponent(`user-registration/${id}`)}`;
}

/** What the Web UI is told of the registration's workflow, as text, with every payload in it. */
async function historyOf(id: string): Promise<{ text: string; payloads: WebPayload[] }> {
  const answers = await Promise.all(['', '/history'].map(async (part) => (await askTemporal(workflowPath(id) + part)).body));
  const payloads: WebPayload[] = [];
  let text = '';
  JSON.stringify(answers, (name, value: unknown) => {
    if (typeof value === 'string') text += `${value}\n${name === 'data' ? Buffer.from(value, 'base64').toString('latin1') : ''}\n`;
    if (typeof value === 'object' && value !== null && 'metadata' in value && 'data' in value) payloads.push(value as WebPayload);
    return value;
  });
  return { text, payloads };
}

/** What the payloads say to whoever has the address for it. */
async function decode(payloads: WebPayload[]): Promise<{ headers: Headers; plain: string }> {
  const { endpoint } = (await call('GET', '/usher/keys')).body.codec;
  const encrypted = payloads.filter(({ metadata }) => metadata!['encryption-key-id'] !== undefined);
  const { headers, body } = await call('POST', new URL(`${endpoint}/decode`).pathname, { payloads: encrypted }, { origin: 'http://127.0.0.1:8233', 'x-namespace': 'default' });
  return { headers, plain: body.payloads.map(({ data }) => Buffer.from(data!, 'base64').toString()).join('\n') };
}

async function metricsOf(): Promise<string[]> {
  return await Promise.all(Object.values(running().ops).map(async (address) => await (await fetch(`${address}/metrics`)).text()));
}

/** The registration of a user, once it is at its end. */
async function finalRegistrationOf(id: string): Promise<string> {
  const executions = await until('the sign-up is in the log', async () => {
    const logs = (await call('GET', `/api/v2/users/${encodeURIComponent(id)}/logs`)).body as unknown as { type: string; details: { actions: { executions: string[] } } }[];
    return logs.find(({ type }) => type === 'ss')?.details.actions.executions;
  });
  const execution = executions.at(-1)!;
  await until('the registration has succeeded', async () => (await call('GET', `/api/v2/actions/executions/${execution}`)).body.status === 'final', 90_000);
  return execution;
}

beforeAll(async () => {
  mail = await startMailServer();
  usher = await startTestUsher({ USHER_LOG_LEVEL: 'debug', USHER_SMTP_URL: mail.url, USHER_MAIL_FROM: 'no-reply@example.com' });
  await usher.working();
  const { clientId } = running();
  const secret = readFileSync(join(usher.dataDir, 'client-secret'), 'utf8');
  token = (await call('POST', '/oauth/token', { grant_type: 'client_credentials', client_id: clientId, client_secret: secret, audience: `${usher.api}/api/v2/` }, {})).body.access_token;
  tokens.push(token);
  const secrets = [{ name: 'KEY', value: SECRET }, { name: 'USHER', value: usher.api }];
  await usher.management.bind('post-user-registration', [await usher.management.deployAction({ name: 'Tell the CRM', triggerId: 'post-user-registration', code: CODE, secrets })]);
  await usher.management.bind('pre-user-registration', [await usher.management.deployAction({ name: 'Check', triggerId: 'pre-user-registration', code: PRE_CODE, secrets })]);
});
afterAll(async () => {
  await usher?.close();
  await mail?.close();
});

test('secrets, passwords and what is personal stand only where they must', async () => {
  const signUp = await call('POST', '/dbconnections/signup', {
    connection: 'Username-Password-Authentication',
    email: PERSONAL[0],
    password: PASSWORD,
    given_name: PERSONAL[1],
    user_metadata: { note: PERSONAL[2] },
  }, {});
  expect(signUp.status).toBe(200);
  userId = `auth0|${signUp.body._id}`;
  expect((await usher.signUp('canary-denied@example.com')).status).toBe(400);

  registrationId = await finalRegistrationOf(userId);
  const verification = await until('the mail has come', () => mail.to(PERSONAL[0]!)[0]);
  tokens.push(/ticket=([\w-]+)/.exec(verification.text)![1]!);

  // The controls: an answer shows what the Action has logged, and the file of the store has the user's row.
  const shown = await call('GET', `/api/v2/actions/executions/${registrationId}`);
  expect(JSON.stringify(shown.body)).toContain(LOGGED);
  expect(filesWith(usher.dataDir, PERSONAL[0]!).filter((name) => !name.startsWith('usher.db'))).toEqual([]);
  expect(filesWith(usher.dataDir, PERSONAL[0]!)).not.toEqual([]);
  for (const canary of [SECRET, PASSWORD, LOGGED, ...tokens, 'canary-denied']) expect(filesWith(usher.dataDir, canary), canary).toEqual([]);

  for (const canary of [SECRET, PASSWORD, LOGGED, ...tokens, 'canary-denied', ...PERSONAL]) expect(usher.output(), canary).not.toContain(canary);
  expect(usher.output()).toContain(registrationId);
  for (const metrics of await metricsOf()) {
    expect(metrics).toContain('usher_');
    expect(metrics).not.toMatch(/canary/i);
    for (const each of tokens) expect(metrics).not.toContain(each);
  }

  const { text, payloads } = await historyOf(registrationId);
  for (const canary of [SECRET, PASSWORD, LOGGED, ...tokens, ...PERSONAL]) expect(text, canary).not.toContain(canary);
  // A person finds the registration and its Actions without any key; nothing else is readable.
  expect(text).toContain('Tell the CRM v1');
  expect(text).toContain(userId);
  expect(text).toContain('Encoded failure');
  expect(text).not.toContain('"registrationId"');
  const encodings = payloads.map(({ metadata }) => Buffer.from(metadata!['encoding']!, 'base64').toString());
  expect(new Set(encodings)).toEqual(new Set(['json/plain', 'binary/encrypted']));
  expect(filesWith(join(usher.dataDir, 'temporal'), '"registrationId"')).toEqual([]);
  expect(filesWith(join(usher.dataDir, 'temporal'), registrationId)).not.toEqual([]);

  // With the address that Usher tells, the Web UI reads them.
  const settings = (await (await fetch(`${running().webUi}/api/v1/settings`)).json()) as { Codec: { Endpoint: string } };
  expect(settings.Codec.Endpoint).toBe((await call('GET', '/usher/keys')).body.codec.endpoint);
  const { headers, plain } = await decode(payloads);
  expect(headers.get('access-control-allow-origin')).toBe('*');
  expect(plain).toContain(`{"v":1,"registrationId":"${registrationId}"}`);
  expect(plain).toContain('ACTION_THREW');
  expect(plain).not.toContain('canary');
  for (const each of tokens) expect(plain).not.toContain(each);
}, 180_000);

test('a code stands in the mail to the one who asked for it, tokens in the answer to the one who has it, and nowhere else', async () => {
  const { clientId } = running();
  await call('POST', '/api/v2/connections', { name: 'email', strategy: 'email', enabled_clients: [clientId] });
  await call('PATCH', `/api/v2/clients/${clientId}`, { grant_types: ['client_credentials', OTP] });
  const clientSecret = readFileSync(join(usher.dataDir, 'client-secret'), 'utf8').trim();
  const email = 'canary-coded@example.com';
  expect((await call('POST', '/passwordless/start', { client_id: clientId, client_secret: clientSecret, connection: 'email', email, send: 'code' }, {})).status).toBe(200);
  const { text } = await until('the mail has come', () => mail.to(email)[0]);
  const code = /\b\d{6}\b/.exec(text)![0];
  // Not as a part of a longer number, or of an id.
  const alone = new RegExp(`(?<![0-9A-Za-z])${code}(?![0-9A-Za-z])`);

  const hasIt = () => filesOf(usher.dataDir).filter(({ content }) => alone.test(content)).map(({ name }) => name.slice(usher.dataDir.length + 1));
  expect(hasIt(), 'while it is good').toEqual([]);
  const wrong = code === '111111' ? '222222' : '111111';
  for (const otp of [wrong, code]) {
    const login = await call('POST', '/oauth/token', { grant_type: OTP, client_id: clientId, client_secret: clientSecret, realm: 'email', username: email, otp, scope: 'openid' }, {});
    expect(login.status, otp === code ? 'the right one' : 'a wrong one').toBe(otp === code ? 200 : 403);
    if (otp === code) tokens.push(login.body.access_token, login.body.id_token);
  }
  const { sub } = JSON.parse(Buffer.from(tokens.at(-1)!.split('.')[1]!, 'base64url').toString()) as { sub: string };
  const { text: history, payloads } = await historyOf(await finalRegistrationOf(sub));
  const { plain } = await decode(payloads);
  // The control: it is what the workflow was given, and what became of it.
  expect(plain).toContain('ACTION_THREW');

  expect(hasIt(), 'when it was used').toEqual([]);
  for (const each of tokens) expect(filesWith(usher.dataDir, each)).toEqual([]);
  for (const place of [usher.output(), history, plain, ...(await metricsOf()), ...answers]) {
    expect(place).not.toMatch(alone);
    for (const each of tokens) expect(place).not.toContain(each);
  }
}, 180_000);

test('no answer repeats a secret, a password or a token', () => {
  // The control: they are answers about what was planted.
  expect(answers.some((answer) => answer.includes(LOGGED))).toBe(true);
  for (const answer of answers) for (const canary of [SECRET, PASSWORD, ...tokens]) expect(answer, canary).not.toContain(canary);
});

test('who is erased is in no file, no line and no history any more, and what was open for him ends', async () => {
  const bob = 'canary-unlucky@example.com';
  const { body } = await usher.signUp(bob);
  const bobsId = `auth0|${String(body['_id'])}`;
  const [bobsRegistration] = await until('his workflow runs', async () => {
    const running = await workflowsBy(`ExecutionStatus = 'Running'`);
    return running.length === 1 && running;
  });
  const theirs = [registrationId, bobsRegistration!];
  // The controls: Temporal has both, the one that runs and the one that has ended.
  for (const id of theirs) expect((await askTemporal(workflowPath(id))).status).toBe(200);
  for (const id of [userId, bobsId]) expect(temporalTablesWith(id)).toContain('executions_visibility');
  for (const id of theirs) expect(temporalTablesWith(id)).toEqual(expect.arrayContaining(['executions', 'current_executions', 'history_node', 'executions_visibility']));

  const erasures: string[] = [];
  for (const id of [userId, bobsId]) {
    const erase = await call('POST', `/usher/users/${encodeURIComponent(id)}/erase`);
    expect(erase.status).toBe(202);
    erasures.push(erase.body.id);
  }
  for (const id of erasures) await until('the erasure is done', async () => (await call('GET', `/usher/erasures/${id}`)).body.status === 'done', 150_000);

  for (const canary of [...PERSONAL, bob]) {
    expect(filesWith(usher.dataDir, canary), canary).toEqual([]);
    expect(usher.output(), canary).not.toContain(canary);
  }
  for (const id of theirs) {
    for (const part of ['', '/history']) expect((await askTemporal(workflowPath(id) + part)).status, part).toBe(404);
    expect(await workflowsBy(`WorkflowId = 'user-registration/${id}'`)).toEqual([]);
  }
  for (const id of [userId, bobsId]) expect(temporalTablesWith(id), id).toEqual([]);
  // In its queues the id of a registration stands until the time of the task has come.
  for (const id of theirs) expect(temporalTablesWith(id).filter((table) => /execution|history/.test(table)), id).toEqual([]);
  for (const id of [userId, bobsId]) expect(filesWith(usher.dataDir, id).filter((name) => name.startsWith('usher.db')), id).toEqual([]);
  expect((await call('GET', `/api/v2/users/${encodeURIComponent(bobsId)}`)).status).toBe(404);
  expect((await call('GET', `/api/v2/users/${encodeURIComponent(bobsId)}/logs`)).body).toEqual([]);
}, 240_000);

function running(): { webUi: string; clientId: string; ops: Record<string, string> } {
  return JSON.parse(readFileSync(join(usher.dataDir, 'running.json'), 'utf8')) as ReturnType<typeof running>;
}

/** Registrations whose workflows a query of Temporal's finds. */
async function workflowsBy(query: string): Promise<string[]> {
  const { executions = [] } = (await askTemporal(`/workflows?query=${encodeURIComponent(query)}`)).body as { executions?: { execution: { workflowId: string } }[] };
  return executions.map(({ execution }) => execution.workflowId.split('/')[1]!);
}
