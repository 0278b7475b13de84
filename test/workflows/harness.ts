import type { WorkflowHandle } from '@temporalio/client';
import type { TestWorkflowEnvironment } from '@temporalio/testing';
import { bundleWorkflowCode, DefaultLogger, Runtime, Worker, type WorkflowBundleWithSourceMap } from '@temporalio/worker';
import { sql } from 'kysely';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { randomBytes } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import { pino } from 'pino';
import { createActionActivities, createLedgerActivities } from '../../activities/index.ts';
import { createWatchAttempt } from '../../src/observe/attempts.ts';
import { createMetrics } from '../../src/observe/metrics.ts';
import { NO_TRACING } from '../../src/observe/tracing.ts';
import type { LeaseKeeper } from '../../activities/lease-keeper.ts';
import { createSandboxShares } from '../../activities/sandbox-shares.ts';
import { newId } from '../../src/domain/ids.ts';
import type { ActionError, Invocation, InvocationResult, OutgoingCall } from '../../src/domain/invocation.ts';
import { DEFAULT_STEP_POLICY, type StepPolicy } from '../../src/domain/policy.ts';
import { DEFAULT_WORKER_SANDBOXES, shareOfOneAction } from '../../src/domain/worker-slots.ts';
import type { Database, Queryable } from '../../src/store/database.ts';
import { createFlowStore, type FlowStore } from '../../src/store/flow.ts';
import { createKeyring } from '../../src/store/keyring.ts';
import { type CommandResult, createLedgerCommands, type LedgerCommands } from '../../src/store/ledger-commands.ts';
import { createLedger, type Ledger, type RegistrationRecord } from '../../src/store/ledger.ts';
import { FAILURE_CONVERTER_PATH } from '../../src/temporal/data-converter.ts';
import { migrate } from '../../src/store/migrate.ts';
import { createOutbox } from '../../src/store/outbox.ts';
import { createReleases } from '../../src/store/releases.ts';
import { openSqlite } from '../../src/store/sqlite.ts';
import type { userRegistration } from '../../workflows/index.ts';
import { ACTIONS_TASK_QUEUE, lookSignal, REGISTRATION_TASK_QUEUE, WORKFLOW_TYPE, workflowIdOf } from '../../workflows/messages.ts';
import { createTimeSkipping } from '../helpers/test-server.ts';

export const SECOND = 1_000;
export const MINUTE = 60 * SECOND;
export const HOUR = 60 * MINUTE;

/** What a scripted Action does at its n-th attempt (from 1); `now` is the workflow's clock, in milliseconds. */
export type Script = (call: { attempt: number; now: number; signal: AbortSignal }) => Partial<{ error: Partial<ActionError>; calls: Partial<OutgoingCall>[]; tookMs: number }> | Promise<InvocationResult> | 'not-run';

export const succeeds: Script = () => ({});
export const fails: Script = () => ({ error: {} });

/** An Action that runs until it is told to end, or is killed. */
export function hanging() {
  const seen = { killed: 0, succeed: () => undefined as void };
  const script: Script = ({ signal }) => new Promise<InvocationResult>((resolve) => {
    seen.succeed = () => resolve({ outcome: 'succeeded', startedAt: 0, durationMs: 0, logs: [], logsTruncated: false, calls: [], cacheChanges: [], commands: [] });
    signal.addEventListener('abort', () => {
      seen.killed++;
      resolve({ outcome: 'cancelled' });
    });
  });
  return { seen, script };
}

/** An attempt as it was made: which Action, and when by the workflow's clock since the start. */
export interface Made {
  action: string;
  attempt: number;
  atMs: number;
  /** As the ledger has decided at its end: until the next one. */
  delayMs?: number;
  idempotencyKey: string;
}

/**
 * The real workflow, activities and ledger under a clock that skips; only what the sandbox would run is a script.
 * The ledger's clock is that of the test server, so that hours pass for both.
 */
export interface Harness {
  env: TestWorkflowEnvironment;
  database: Database;
  ledger: Ledger;
  flow: FlowStore;
  /** Attempts in the order in which they began. */
  made: Made[];
  /** When each attempt at the Action was made, as in `made`. */
  attemptsOf(action: string): number[];
  /** After which each attempt at the Action was to be followed by the next, as in `made`. */
  delaysOf(action: string): number[];
  /** Commits a registration with these Actions bound, in order. */
  register(actions: { name: string; script: Script; policy?: Partial<StepPolicy> }[]): Promise<string>;
  start(registrationId: string): Promise<WorkflowHandle<typeof userRegistration>>;
  /** Starts it and waits for its end, failed or not. */
  run(registrationId: string): Promise<RegistrationRecord>;
  /** What the API does every second: lets held steps go, and sends a look for each registration that is due. */
  dispatch(): Promise<void>;
  /** Does what a person asks for, and sends its look. */
  ask(command: (commands: LedgerCommands, tx: Queryable) => Promise<CommandResult>): Promise<CommandResult>;
  /** Lets time pass, with what the API does meanwhile. */
  pass(ms: number): Promise<void>;
  /** Runs `hook` before each call of a ledger activity. */
  before(hook: ((activity: string) => Promise<void>) | null): void;
  /** Begins anew: no attempts have been made, no hook is set, the workflow's clock stands at 0, and nothing is known of receivers. */
  reset(): Promise<void>;
  close(): Promise<void>;
}

Runtime.install({ logger: new DefaultLogger('ERROR'), telemetryOptions: { logging: { filter: { core: 'ERROR', other: 'ERROR' }, forward: {} } } });

/** Of the skipped time. */
const DISPATCH_EVERY_MS = 5_000;

let bundle: Promise<WorkflowBundleWithSourceMap> | undefined;

export function workflowBundle(): Promise<WorkflowBundleWithSourceMap> {
  return (bundle ??= bundleWorkflowCode({ workflowsPath: fileURLToPath(new URL('../../workflows/index.ts', import.meta.url)), failureConverterPath: FAILURE_CONVERTER_PATH, logger: new DefaultLogger('WARN') }));
}

/**
 * @param options.share attempts of one Action at once. @default as in a worker
 * @param options.openStore a store with its tables; what it keeps in files goes into the folder. @default SQLite
 * @param options.createEnv @default a clock that skips
 */
export async function createHarness(options: {
  share?: number;
  openStore?: (folder: string) => Promise<Database>;
  createEnv?: () => Promise<TestWorkflowEnvironment>;
} = {}): Promise<Harness> {
  const { openStore = openSqliteStore, createEnv = createTimeSkipping } = options;
  const env = await createEnv();
  const dir = await mkdtemp(join(tmpdir(), 'usher-workflow-'));
  const store = await openStore(dir);
  let now = await env.currentTimeMs();
  let startedAt = now;
  const database = { ...store, get now() { return sql<number>`cast(${now} as bigint)`; } };
  const keyring = createKeyring(database, randomBytes(32));
  await keyring.prepare();
  const madeById = new Map<string, Made>();
  const { settleAttempt, ...others } = createLedger({ database, keyring });
  const ledger: Ledger = {
    ...others,
    async settleAttempt(end) {
      const settled = await settleAttempt(end);
      const attempt = madeById.get(end.attemptId);
      if (attempt !== undefined && 'delayMs' in settled) attempt.delayMs = settled.delayMs;
      return settled;
    },
  };
  const releases = createReleases({ database });
  await database.db.insertInto('connection')
    .values({ id: 'con_1', name: 'Username-Password-Authentication', strategy: 'auth0', options: '{}', metadata: '{}', created_at: now })
    .execute();

  const made: Made[] = [];
  const scripts = new Map<string, Script>();
  let hook: ((activity: string) => Promise<void>) | null = null;

  async function atCurrentTime<T>(activity: string, work: () => Promise<T>): Promise<T> {
    now = await env.currentTimeMs();
    await hook?.(activity);
    now = await env.currentTimeMs();
    return await work();
  }

  async function run(invocation: Invocation, options: { signal?: AbortSignal } = {}): Promise<InvocationResult> {
    const usher = invocation.event['usher'] as { attempt: number; idempotency_key: string };
    const begun: Made = { action: invocation.version.actionName, attempt: usher.attempt, atMs: now - startedAt, idempotencyKey: usher.idempotency_key };
    made.push(begun);
    madeById.set(invocation.id, begun);
    const step = await scripts.get(invocation.version.id)!({ attempt: usher.attempt, now: now - startedAt, signal: options.signal ?? new AbortController().signal });
    if (step === 'not-run') return { outcome: 'not-run', reason: 'no free slot', delayMs: 30_000 };
    if ('outcome' in step) return step;
    const { error, calls = [], tookMs = 0 } = step;
    if (tookMs > 0) now += tookMs;
    const report = {
      startedAt: now,
      durationMs: tookMs,
      logs: [],
      logsTruncated: false,
      calls: calls.map((call) => ({ method: 'POST', host: 'receiver.example', startedAt: now, durationMs: 1, ...call })),
      cacheChanges: [],
      commands: [],
    };
    if (error === undefined) return { outcome: 'succeeded', ...report };
    return { outcome: 'failed', error: { type: 'ACTION_THREW', name: 'Error', message: 'no', retryable: true, ...error }, ...report };
  }

  const leases: LeaseKeeper = { beforeClaim: () => ({ monotonicMs: 0, wallMs: 0 }), keep: () => ({ signal: new AbortController().signal, release: () => undefined }), start: () => undefined, stop: () => undefined };
  const logger = pino({ level: 'silent' });
  const ledgerActivities = createLedgerActivities(ledger);
  const actionActivities = createActionActivities({
    ledger,
    leases,
    shares: createSandboxShares(options.share ?? shareOfOneAction(DEFAULT_WORKER_SANDBOXES)),
    watchAttempt: createWatchAttempt({ metrics: createMetrics({ role: 'worker', version: 'test' }), tracing: NO_TRACING, logger, shownUserId: (userId) => userId }),
    watchLost: () => undefined,
    workerId: 'worker',
    logger,
    sandbox: { run },
    versions: {
      load: (id) => Promise.resolve({ runnable: { id, actionName: id, triggerId: 'post-user-registration', code: '', dependenciesDir: null }, secrets: {} }),
    },
  });
  const workers = await Promise.all([
    Worker.create({
      connection: env.nativeConnection,
      taskQueue: REGISTRATION_TASK_QUEUE,
      workflowBundle: await workflowBundle(),
      activities: Object.fromEntries(
        Object.entries(ledgerActivities).map(([name, activity]) => [name, (input: never) => atCurrentTime(name, () => (activity as (input: never) => Promise<unknown>)(input))]),
      ),
    }),
    Worker.create({
      connection: env.nativeConnection,
      taskQueue: ACTIONS_TASK_QUEUE,
      activities: { runAction: (input: never) => atCurrentTime('runAction', () => actionActivities.runAction(input)) },
      maxHeartbeatThrottleInterval: '100 milliseconds',
    }),
  ]);
  const running = Promise.all(workers.map((worker) => worker.run()));

  async function start(registrationId: string): Promise<WorkflowHandle<typeof userRegistration>> {
    return await env.client.workflow.signalWithStart<typeof userRegistration>(WORKFLOW_TYPE, {
      workflowId: workflowIdOf(registrationId),
      taskQueue: REGISTRATION_TASK_QUEUE,
      workflowIdConflictPolicy: 'USE_EXISTING',
      signal: lookSignal,
      args: [{ v: 1, registrationId }],
    });
  }

  async function dispatch(): Promise<void> {
    now = await env.currentTimeMs();
    await releases.round();
    // Made anew, because it keeps the clock's expression.
    const outbox = createOutbox({ database });
    for (const due of await outbox.claimDue({ limit: 100, leaseMs: MINUTE })) {
      await start(due.registrationId);
      await outbox.markHandedOver([due], { checkAfterMs: MINUTE });
    }
  }

  return {
    env,
    database,
    ledger,
    flow: createFlowStore({ database, keyring }),
    made,
    attemptsOf: (action) => made.filter((each) => each.action === action).map(({ atMs }) => atMs),
    delaysOf: (action) => made.flatMap((each) => (each.action === action ? (each.delayMs ?? []) : [])),
    async register(actions) {
      const registrationId = newId();
      await database.transaction(async (tx) => {
        const keyId = await keyring.newDataKey(tx);
        await tx.insertInto('registration').values({
          id: registrationId,
          source: 'signup',
          user_id: 'auth0|1',
          connection_id: 'con_1',
          connection_name: 'Username-Password-Authentication',
          event_sealed: await keyring.sealJson(keyId, `registration/${registrationId}/event`, { user: {} }, tx),
          key_id: keyId,
          state: 'open',
          due_at: now,
          due_seq: 1,
          dispatch_failures: 0,
          created_at: now,
        }).execute();
        for (const [position, { name, script, policy }] of actions.entries()) {
          const versionId = newId();
          scripts.set(versionId, script);
          await tx.insertInto('step').values({
            id: newId(),
            registration_id: registrationId,
            position,
            action_id: `action-${position}`,
            action_name: name,
            binding_id: `binding-${position}`,
            version_id: versionId,
            version_number: 1,
            policy: JSON.stringify({ ...DEFAULT_STEP_POLICY, ...policy }),
            run: 1,
            state: 'pending',
            phase: 'quick',
            counted: 0,
            last_attempt: 0,
          }).execute();
        }
      });
      return registrationId;
    },
    start,
    dispatch,
    async ask(command) {
      now = await env.currentTimeMs();
      const commands = createLedgerCommands({ database });
      const result = await database.transaction((tx) => command(commands, tx));
      await dispatch();
      return result;
    },
    async pass(ms) {
      for (const end = (await env.currentTimeMs()) + ms; ;) {
        await dispatch();
        const left = end - (await env.currentTimeMs());
        if (left <= 0) return;
        await env.sleep(Math.min(left, DISPATCH_EVERY_MS));
      }
    },
    async run(registrationId) {
      const handle = await start(registrationId);
      // A registration with an Action that failed for good fails its workflow; what became of it is in the ledger.
      await handle.result().catch(() => undefined);
      return (await ledger.readRegistration(registrationId))!;
    },
    before(next) {
      hook = next;
    },
    async reset() {
      made.length = 0;
      hook = null;
      startedAt = await env.currentTimeMs();
      await database.db.deleteFrom('flow').execute();
    },
    async close() {
      for (const worker of workers) worker.shutdown();
      await running;
      await env.teardown();
      await store.close();
      await rm(dir, { recursive: true });
    },
  };
}

async function openSqliteStore(folder: string): Promise<Database> {
  const database = openSqlite(join(folder, 'usher.db'));
  await migrate(database);
  return database;
}
