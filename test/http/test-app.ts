import { once } from 'node:events';
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { randomBytes } from 'node:crypto';
import type { Express } from 'express';
import { pino } from 'pino';
import { createBuilder } from '../../src/builds/builder.ts';
import { LIMITS } from '../../src/domain/limits.ts';
import type { RateLimits } from '../../src/domain/rate-limits.ts';
import type { TriggerId } from '../../src/domain/triggers.ts';
import { createApp } from '../../src/http/app.ts';
import type { Readiness } from '../../src/http/health-routes.ts';
import { createOpenRequests } from '../../src/http/open-requests.ts';
import { createSenders, type MessageTransports } from '../../src/messages/senders.ts';
import { createServices } from '../../src/roles/services.ts';
import { createMetrics } from '../../src/observe/metrics.ts';
import { NO_TRACING } from '../../src/observe/tracing.ts';
import { createSandboxPool, type SandboxPool } from '../../src/sandbox/pool.ts';
import { createActionStore } from '../../src/store/actions.ts';
import { createBindingStore } from '../../src/store/bindings.ts';
import { createCodecKeys } from '../../src/store/codec-keys.ts';
import { createClientStore } from '../../src/store/clients.ts';
import { type ConnectionOptions, createConnectionStore, DEFAULT_CONNECTION } from '../../src/store/connections.ts';
import type { Database } from '../../src/store/database.ts';
import { createKeyring, type Keyring } from '../../src/store/keyring.ts';
import { createLedger, type Ledger } from '../../src/store/ledger.ts';
import { createMessageStore } from '../../src/store/messages.ts';
import { openAppStore } from '../helpers/app-store.ts';

export const CLIENT_ID = 'test-client';
export const CLIENT_SECRET = 'test-client-secret-of-more-than-32-characters';
const NO_RATE_LIMITS: RateLimits = { signUp: null, token: null, passwordless: null, management: null };
export const PASSWORD = 'correct-Horse-7-battery';

export interface TestAction {
  name: string;
  code: string;
  secrets?: Record<string, string>;
  onError?: 'deny' | 'allow';
}

export interface TestAppOptions {
  trustedProxies?: string[];
  /** @default none */
  rateLimits?: RateLimits;
  readiness?: () => Promise<Readiness>;
  preUserRegistrationMs?: number;
  /** How old an entry of the tenant log is before a checkpoint gives it. @default 30 s */
  logDelayMs?: number;
  /** Where mails and text messages go. @default they are kept */
  transports?: Partial<MessageTransports>;
  publicUrl?: string;
}

/** The API on real parts: a store of its own (see `openAppStore`), real sandboxes, a socket on loopback. */
export interface TestApp {
  url: string;
  express: Express;
  database: Database;
  keyring: Keyring;
  ledger: Ledger;
  sandbox: SandboxPool;
  folder: string;
  /** Everything that was logged, as text. */
  logText(): string;
  /** Builds, deploys and binds these Actions in place of those that were bound. */
  bind(triggerId: TriggerId, actions: TestAction[]): Promise<void>;
  setConnectionOptions(options: ConnectionOptions): Promise<void>;
  /** How many registrations have woken the dispatcher. */
  wakeUps(): number;
  close(): Promise<void>;
}

export async function startTestApp(options: TestAppOptions = {}): Promise<TestApp> {
  const folder = await mkdtemp(join(tmpdir(), 'usher-http-'));
  // Sandboxes of another user read packages there.
  await chmod(folder, 0o711);
  const database = await openAppStore(folder);
  const keyring = createKeyring(database, randomBytes(32));
  await keyring.prepare();
  const lines: string[] = [];
  const logger = pino({ level: 'trace' }, { write: (line: string) => void lines.push(line) });

  const clients = createClientStore({ database });
  await clients.ensureFirst({ clientId: CLIENT_ID, clientSecret: CLIENT_SECRET });
  await createConnectionStore({ database }).ensureDefault();
  const ledger = createLedger({ database, keyring });
  const builder = createBuilder({ database, dataDir: folder, logger, alone: true });
  await builder.start();
  const actions = createActionStore({ database, keyring });
  const bindings = createBindingStore({ database, keyring });
  const sandbox = await createSandboxPool({ slots: 4, egress: { allow: [], loopbackOpen: true }, logger });

  const senders = createSenders({ smtp: null, smsGateway: null, ...options.transports, messages: createMessageStore({ database, keyring }), alone: true, logger });
  await senders.start();
  const own = { url: '' };

  let wakeUps = 0;
  const openRequests = createOpenRequests();
  const { auth, origins, routes, jobRunner, bulkRunner } = createServices({
    database,
    background: database,
    keyring,
    dataDir: folder,
    logger,
    metrics: createMetrics({ role: 'api', version: 'test' }),
    tracing: NO_TRACING,
    sandbox,
    testSandbox: sandbox,
    answersFirst: openRequests.answered,
    wakeBuilder: () => builder.wake(),
    wakeDispatcher: () => void wakeUps++,
    wakeSender: () => senders.wake(),
    wakeUpkeep: () => undefined,
    codecKeys: createCodecKeys({ database, keyring }),
    origin: () => own.url,
    publicUrl: options.publicUrl ?? null,
    webUi: 'http://127.0.0.1:8233/namespaces/default',
    readiness: options.readiness ?? (() => Promise.resolve({ ready: true, degraded: {} })),
    fingerprintHeaders: { ja3: 'x-ja3', ja4: 'x-ja4' },
    ...(options.preUserRegistrationMs === undefined ? {} : { preUserRegistrationMs: options.preUserRegistrationMs }),
    ...(options.logDelayMs === undefined ? {} : { logDelayMs: options.logDelayMs }),
  });
  const app = createApp({ logger, auth, routes, origins, trustedProxies: options.trustedProxies ?? [], rateLimits: { limits: options.rateLimits ?? NO_RATE_LIMITS, counters: null }, openRequests, checkAnswers: true });
  const server = createServer({ maxHeaderSize: LIMITS.requestHeaderBytes }, app);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  jobRunner.start();
  bulkRunner.start();
  own.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;

  /** Waits until the builder has built and deployed an Action. */
  async function deployed(id: string): Promise<void> {
    const giveUpAt = Date.now() + 30_000;
    for (;;) {
      const { action } = await actions.find(id);
      if (action.deployed_version_id !== null) return;
      if (action.build_status === 'failed' || Date.now() > giveUpAt) throw new Error(`not built: ${action.build_errors}`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  return {
    url: own.url,
    express: app,
    database,
    keyring,
    ledger,
    sandbox,
    folder,
    logText: () => lines.join(''),
    wakeUps: () => wakeUps,

    async bind(triggerId, wanted) {
      const refs = [];
      for (const { name, code, secrets = {}, onError } of wanted) {
        const { action } = await actions.create(
          {
            // Names are unique, and a test may bind another Action of the same name as one before.
            name: `${name} ${randomBytes(3).toString('hex')}`,
            trigger: { id: triggerId, version: 'v2' },
            code,
            runtime: 'node22',
            dependencies: [],
            modules: [],
            secrets: Object.entries(secrets).map(([secretName, value]) => ({ name: secretName, value })),
          },
          { deploy: true },
        );
        builder.wake();
        await deployed(action.id);
        refs.push({ ref: { type: 'action_id' as const, value: action.id }, displayName: name, onError });
      }
      await bindings.replace(triggerId, refs);
    },

    async setConnectionOptions(connectionOptions) {
      await database.db.updateTable('connection').set({ options: JSON.stringify(connectionOptions) }).where('name', '=', DEFAULT_CONNECTION).execute();
    },

    async close() {
      server.closeAllConnections();
      server.close();
      await jobRunner.stop();
      await bulkRunner.stop();
      await builder.stop();
      await senders.stop();
      await sandbox.close({ graceMs: 0 });
      await database.close();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

export interface Answer {
  status: number;
  headers: Headers;
  // oxlint-disable-next-line typescript/no-explicit-any -- tests look into bodies of many shapes
  body: any;
}

export async function send(url: string, init: RequestInit = {}): Promise<Answer> {
  const response = await fetch(url, { signal: AbortSignal.timeout(60_000), ...init });
  const text = await response.text();
  return { status: response.status, headers: response.headers, body: text === '' ? undefined : JSON.parse(text) };
}

export async function postJson(url: string, body: unknown, headers: Record<string, string> = {}): Promise<Answer> {
  return await send(url, { method: 'POST', headers: { 'content-type': 'application/json', ...headers }, body: JSON.stringify(body) });
}

/** A request to the Management API. @param path below `/api/v2` */
export async function callApi(app: TestApp, headers: Record<string, string>, method: string, path: string, body?: unknown): Promise<Answer> {
  return await send(`${app.url}/api/v2${path}`, {
    method,
    headers: { 'content-type': 'application/json', ...headers },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
}

let signUps = 0;

/** A sign-up that is right in every field, with an e-mail of its own. */
export function validSignUp(): { client_id: string; email: string; password: string; connection: string } {
  signUps += 1;
  return { client_id: CLIENT_ID, email: `person${signUps}@example.com`, password: PASSWORD, connection: DEFAULT_CONNECTION };
}

export async function signUp(app: TestApp, fields: Record<string, unknown> = {}, headers: Record<string, string> = {}): Promise<Answer> {
  return await postJson(`${app.url}/dbconnections/signup`, { ...validSignUp(), ...fields }, headers);
}

/** A bearer header with all scopes, or those given. */
export async function bearer(app: TestApp, scope?: string): Promise<{ authorization: string }> {
  const { body } = await postJson(`${app.url}/oauth/token`, {
    grant_type: 'client_credentials',
    client_id: CLIENT_ID,
    client_secret: CLIENT_SECRET,
    ...(scope === undefined ? {} : { scope }),
  });
  return { authorization: `Bearer ${body.access_token}` };
}

/** The newest entry of the tenant log of this type. */
export async function newestLog(app: TestApp, type: string): Promise<Answer['body']> {
  const { body } = await send(`${app.url}/api/v2/logs?per_page=100`, { headers: await bearer(app) });
  return body.find((item: { type: string }) => item.type === type);
}
