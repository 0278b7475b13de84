import { randomBytes } from 'node:crypto';
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { afterAll, beforeAll, describe } from 'vitest';
import { postgresMissing, type PostgresServer, startPostgres } from '../../examples/cluster/postgres.ts';
import { type Builder, createBuilder } from '../../src/builds/builder.ts';
import { createVersionCache, type VersionCache } from '../../src/builds/version-cache.ts';
import { actionsRoutes } from '../../src/http/actions/actions-routes.ts';
import { SCOPES } from '../../src/domain/scopes.ts';
import { createAuth } from '../../src/http/auth.ts';
import { bindingsRoutes } from '../../src/http/actions/bindings-routes.ts';
import { createApp } from '../../src/http/app.ts';
import { modulesRoutes } from '../../src/http/actions/modules-routes.ts';
import { triggersRoutes } from '../../src/http/actions/triggers-routes.ts';
import { versionsRoutes } from '../../src/http/actions/versions-routes.ts';
import { type ActionStore, createActionStore } from '../../src/store/actions.ts';
import { type BindingStore, createBindingStore } from '../../src/store/bindings.ts';
import type { Database } from '../../src/store/database.ts';
import { createKeyring, type Keyring } from '../../src/store/keyring.ts';
import { migrate } from '../../src/store/migrate.ts';
import { createModuleStore } from '../../src/store/modules.ts';
import { createSigningKeys } from '../../src/store/signing-keys.ts';
import { createVersionStore, type VersionStore } from '../../src/store/versions.ts';
import { mustSkip } from '../helpers/must-skip.ts';
import { openStore } from './open-store.ts';

/** A store of a test's own, with everything that Actions need around it. */
export interface ActionsWorld {
  dataDir: string;
  /** File or URL of the store. */
  place: string;
  database: Database;
  keyring: Keyring;
  actions: ActionStore;
  versions: VersionStore;
  bindings: BindingStore;
  /** Log lines of the builders, parsed. */
  logs: Record<string, unknown>[];
  newBuilder(options?: { alone?: boolean }): Builder;
  wakeBuilders(): void;
  newVersionCache(dataDir?: string): VersionCache;
  close(): Promise<void>;
}

/** Runs a suite on SQLite and on a real PostgreSQL. */
export function describeOnEachStore(title: string, suite: (newWorld: () => Promise<ActionsWorld>, dialect: Database['dialect']) => void): void {
  describe(`${title} (sqlite)`, () => suite(makeWorld, 'sqlite'));
  describe.skipIf(mustSkip(`${title} (postgres)`, postgresMissing()))(`${title} (postgres)`, () => {
    let server: PostgresServer;
    beforeAll(async () => {
      server = await startPostgres();
    });
    afterAll(() => server.stop());
    suite(async () => await makeWorld(await server.createDatabase()), 'postgres');
  });
}

/** @param url - of an empty PostgreSQL database; without it, the store is a SQLite file in the data directory. */
export async function makeWorld(url?: string): Promise<ActionsWorld> {
  const dataDir = await mkdtemp(join(tmpdir(), 'usher-actions-'));
  await chmod(dataDir, 0o711);
  const place = url ?? join(dataDir, 'usher.db');
  const database = openStore(place);
  await migrate(database);
  const keyring = createKeyring(database, randomBytes(32));
  await keyring.prepare();
  const logs: Record<string, unknown>[] = [];
  const logger = pino({ level: 'debug' }, { write: (line: string) => logs.push(JSON.parse(line)) });
  const builders: Builder[] = [];
  return {
    dataDir,
    place,
    database,
    keyring,
    actions: createActionStore({ database, keyring }),
    versions: createVersionStore({ database }),
    bindings: createBindingStore({ database, keyring }),
    logs,
    newBuilder({ alone = false } = {}) {
      const builder = createBuilder({ database, dataDir, logger, alone });
      builders.push(builder);
      return builder;
    },
    wakeBuilders() {
      for (const builder of builders) builder.wake();
    },
    newVersionCache: (dir = dataDir) => createVersionCache({ database, keyring, dataDir: dir }),
    async close() {
      await Promise.all(builders.map((builder) => builder.stop()));
      await database.close();
      await rm(dataDir, { recursive: true, force: true });
    },
  };
}

export interface Answer {
  status: number;
  // The tests look into bodies of many shapes.
  // oxlint-disable-next-line typescript/no-explicit-any
  body: any;
  text: string;
}

/** The Management API over real HTTP, with a token for the given scopes. */
export interface Api {
  call(method: string, path: string, body?: unknown): Promise<Answer>;
  withScopes(scopes: readonly string[]): Promise<Api>;
  close(): Promise<void>;
}

export async function serve(world: ActionsWorld, builder: Builder): Promise<Api> {
  const auth = createAuth({ signingKeys: createSigningKeys(world) });
  const deps = { ...world, wakeBuilder: () => builder.wake() };
  const routes = [...actionsRoutes(deps), ...versionsRoutes(deps), ...triggersRoutes(), ...bindingsRoutes(deps), ...modulesRoutes({ modules: createModuleStore(world) })];
  const app = createApp({ logger: pino({ level: 'silent' }), auth, routes, trustedProxies: [], rateLimits: { limits: { signUp: null, token: null, passwordless: null, management: null }, counters: null }, checkAnswers: true });
  const server = await new Promise<Server>((resolve) => {
    const listening = app.listen(0, '127.0.0.1', () => resolve(listening));
  });
  const base = `http://127.0.0.1:${(server.address() as AddressInfo).port}/api/v2/actions`;

  async function apiFor(scopes: readonly string[]): Promise<Api> {
    const token = await auth.issueToken({ clientId: 'test', scopes: [...scopes], audience: `${base}/api/v2/`.replace('/api/v2/actions', ''), issuer: 'http://test/' });
    return {
      async call(method, path, body) {
        const headers = { authorization: `Bearer ${token}`, ...(body === undefined ? {} : { 'content-type': 'application/json' }) };
        const response = await fetch(base + path, { method, headers, body: body === undefined ? null : JSON.stringify(body) });
        const text = await response.text();
        return { status: response.status, text, body: text === '' ? undefined : JSON.parse(text) };
      },
      withScopes: apiFor,
      close: () => new Promise((resolve) => server.close(() => resolve())),
    };
  }
  return await apiFor(SCOPES);
}

/** Waits for a condition of the store or the API, for at most half a minute. */
export async function until<T>(read: () => Promise<T>, holds: (value: T) => boolean): Promise<T> {
  const deadline = Date.now() + 30_000;
  for (;;) {
    const value = await read();
    if (holds(value)) return value;
    if (Date.now() > deadline) throw new Error(`waited in vain; last seen: ${JSON.stringify(value)}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** Waits until the draft is built or has failed. */
export async function built(world: ActionsWorld, id: string) {
  world.wakeBuilders();
  const { action } = await until(() => world.actions.find(id), ({ action }) => action.build_status === 'built' || action.build_status === 'failed');
  return { status: action.build_status, errors: JSON.parse(action.build_errors), dependencies: JSON.parse(action.dependencies), action };
}

/** A draft for `ActionStore.create`. */
export function draft(over: Partial<Parameters<ActionStore['create']>[0]> = {}) {
  return {
    name: 'Notify',
    trigger: { id: 'post-user-registration', version: 'v2' },
    code: 'exports.onExecutePostUserRegistration = async () => {};',
    runtime: 'node22',
    dependencies: [],
    secrets: [],
    modules: [],
    ...over,
  };
}

/** A step of some registration that is pinned to the version. */
export async function stepFor(world: ActionsWorld, versionId: string): Promise<void> {
  const { db } = world.database;
  const id = versionId;
  await db.insertInto('registration').values({
    id, source: 'test', user_id: 'auth0|1', connection_id: 'con_1', connection_name: 'test', client_id: null, event_sealed: '', key_id: '', state: 'open',
    outcome: null, due_at: null, due_seq: 0, claimed_until: null, dispatch_failures: 0, dispatch_error: null, check_at: null, created_at: 0, closed_at: null,
  }).execute();
  await db.insertInto('step').values({
    id, registration_id: id, position: 0, action_id: '', action_name: '', binding_id: '', version_id: versionId, version_number: 1, policy: '{}', run: 1,
    state: 'pending', phase: 'quick', counted: 0, last_attempt: 0, phase_started_at: null, next_at: null, ended_at: null,
  }).execute();
}
