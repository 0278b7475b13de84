import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';

/** What the store says about a registration, read beside the running Usher. Times in milliseconds since the epoch. */
export interface SeenRegistration {
  id: string;
  email: string;
  state: string;
  outcome: string | null;
  createdAt: number;
  /** In binding order. */
  steps: SeenStep[];
}

export interface SeenStep {
  action: string;
  state: string;
  run: number;
  versionNumber: number;
  attempts: SeenAttempt[];
}

export interface SeenAttempt {
  number: number;
  /** The process id of the worker that made it. */
  workerPid: number;
  startedAt: number;
  endedAt: number | null;
  outcome: string | null;
  errorType: string | null;
}

/** Reads every registration, oldest first. */
export function readRegistrations(dataDir: string): SeenRegistration[] {
  using store = openStore(dataDir, { readOnly: true });
  const attempts = rows(store, 'SELECT * FROM attempt ORDER BY number');
  const steps = rows(store, 'SELECT * FROM step ORDER BY position');
  const registrations = rows(store, 'SELECT r.*, u.email FROM registration r JOIN user_account u ON u.id = r.user_id ORDER BY r.id');
  const attemptsOf = Map.groupBy(attempts, (row) => row['step_id']);
  const stepsOf = Map.groupBy(steps, (row) => row['registration_id']);
  return registrations.map((row) => ({
    id: row['id'] as string,
    email: row['email'] as string,
    state: row['state'] as string,
    outcome: row['outcome'] as string | null,
    createdAt: row['created_at'] as number,
    steps: (stepsOf.get(row['id']) ?? []).map((step) => ({
      action: step['action_name'] as string,
      state: step['state'] as string,
      run: step['run'] as number,
      versionNumber: step['version_number'] as number,
      attempts: (attemptsOf.get(step['id']) ?? []).map((attempt) => ({
        number: attempt['number'] as number,
        workerPid: pidOfWorker(attempt['worker_id'] as string),
        startedAt: attempt['started_at'] as number,
        endedAt: attempt['ended_at'] as number | null,
        outcome: attempt['outcome'] as string | null,
        errorType: attempt['error_type'] as string | null,
      })),
    })),
  }));
}

/** A worker's id is its host, its process id and a random part. */
export function pidOfWorker(workerId: string): number {
  return Number(workerId.split('-').at(-2));
}

/** The registration of one e-mail, or undefined. */
export function readRegistration(dataDir: string, email: string): SeenRegistration | undefined {
  return readRegistrations(dataDir).find((registration) => registration.email === email);
}

/** Every user's e-mail. */
export function readEmails(dataDir: string): string[] {
  using store = openStore(dataDir, { readOnly: true });
  return rows(store, 'SELECT email FROM user_account').map((row) => row['email'] as string);
}

/** What of a `StepPolicy` the tests shorten, so that they need not wait for minutes. */
export interface PolicyChange {
  timeoutMs?: number;
  quick?: Record<string, number>;
  long?: Record<string, number>;
  onFailure?: 'continue' | 'wait';
}

/** Changes the policy of an Action's binding, also to times that the API refuses as too short. Registrations from now on have it. */
export function changePolicy(dataDir: string, actionId: string, change: PolicyChange): void {
  using store = openStore(dataDir, { readOnly: false });
  const [binding] = rows(store, 'SELECT policy FROM binding WHERE action_id = ?', actionId);
  if (binding === undefined) throw new Error(`The Action ${actionId} is not bound.`);
  const policy = JSON.parse(binding['policy'] as string) as Required<PolicyChange>;
  const changed = { ...policy, ...change, quick: { ...policy.quick, ...change.quick }, long: { ...policy.long, ...change.long } };
  store.prepare('UPDATE binding SET policy = ? WHERE action_id = ?').run(JSON.stringify(changed), actionId);
}

/** Opens the store's file beside Usher. */
export function openStore(dataDir: string, { readOnly }: { readOnly: boolean }): DatabaseSync {
  return new DatabaseSync(join(dataDir, 'usher.db'), { readOnly, timeout: 5_000 });
}

type StoreRow = Record<string, unknown>;

function rows(store: DatabaseSync, sql: string, ...values: string[]): StoreRow[] {
  return store.prepare(sql).all(...values);
}
