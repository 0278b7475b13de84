import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Receiver, startReceiver } from '../../examples/receiver.ts';
import { deployCode } from './actions.ts';
import { changePolicy, openStore, readRegistration, type SeenAttempt } from './ledger-view.ts';
import { isAlive, kill9 } from './processes.ts';
import { until } from './until.ts';
import { startTestUsher, type TestUsher } from './usher.ts';

/** Tells the receiver that an attempt has begun, in which process, and then does what its first attempt does. */
const code = (firstAttempt: string): string => `exports.onExecutePostUserRegistration = async (event) => {
  const { attempt } = event.usher;
  await fetch(event.secrets.RECEIVER + '/begun', { method: 'POST', body: JSON.stringify({ email: event.user.email, attempt, pid: process.pid }) });
  if (attempt === 1) ${firstAttempt}
};`;
const ENDLESS_LOOP = code('for (;;);');
const HANGING_REQUEST = code("await fetch(event.secrets.RECEIVER + '/hangs');");

/** What an attempt has told the receiver, and which of the earlier ones lived when it did. */
interface Begun {
  email: string;
  attempt: number;
  pid: number;
  at: number;
  alive: number[];
}

/** Of the endless loop: its sandbox has to tell the receiver before. */
const TIMEOUT_MS = 10_000;
const LEASE_MS = 30_000;
const GO_ON_WITHIN_MS = 120_000;
/** A write waits 5 s for another process: eight, one after the other, take longer. */
const REFUSED_WITHIN_MS = 30_000;

let receiver: Receiver;
let usher: TestUsher;
const begun: Begun[] = [];

beforeAll(async () => {
  receiver = await startReceiver(({ path, body }) => {
    if (path === '/hangs') return { status: 200, delayMs: Infinity };
    const { email, attempt, pid } = JSON.parse(body) as Begun;
    const alive = begunFor(email).map((earlier) => earlier.pid).filter(isAlive);
    begun.push({ email, attempt, pid, at: Date.now(), alive });
    return { status: 200 };
  });
  usher = await startTestUsher();
  await usher.working();
});

afterAll(async () => {
  await usher?.close();
  await receiver?.close();
  // An endless loop that outlived its test would go on for ever.
  for (const { pid } of begun) if (isAlive(pid)) process.kill(pid, 'SIGKILL');
});

function begunFor(email: string): Begun[] {
  return begun.filter((each) => each.email === email);
}

function attemptsFor(email: string): SeenAttempt[] {
  return readRegistration(usher.dataDir, email)?.steps[0]?.attempts ?? [];
}

/** Binds one Action alone. */
async function bindOnly(name: string, action: string, policy: Parameters<typeof changePolicy>[2]): Promise<void> {
  const id = await deployCode(usher.management, receiver, name, action);
  await usher.management.bind('post-user-registration', [id]);
  changePolicy(usher.dataDir, id, policy);
}

async function firstAttemptOf(email: string): Promise<Begun> {
  expect((await usher.signUp(email)).status).toBe(200);
  return await until('the first attempt has begun', () => begunFor(email)[0]);
}

async function succeeded(email: string): Promise<void> {
  await until(`the registration of ${email} has succeeded`, () => readRegistration(usher.dataDir, email)?.outcome === 'succeeded', GO_ON_WITHIN_MS);
}

test('an Action in an endless loop is killed at its timeout, and only then its next attempt begins', async () => {
  const email = 'loop@example.com';
  await bindOnly('Loop', ENDLESS_LOOP, { timeoutMs: TIMEOUT_MS });

  await firstAttemptOf(email);
  await succeeded(email);

  const [first, second] = begunFor(email);
  expect(second).toMatchObject({ attempt: 2, alive: [] });
  expect(second!.pid).not.toBe(first!.pid);
  const attempts = attemptsFor(email);
  expect(attempts).toMatchObject([{ outcome: 'failed', errorType: 'ACTION_TIMED_OUT' }, { outcome: 'succeeded' }]);
  expect(attempts[0]!.endedAt! - attempts[0]!.startedAt).toBeGreaterThanOrEqual(TIMEOUT_MS);
  expect(attempts[1]!.startedAt).toBeGreaterThanOrEqual(attempts[0]!.endedAt!);
});

test('a worker killed with -9 takes an endless loop with it, and the next attempt begins within seconds', async () => {
  const email = 'worker-killed@example.com';
  await bindOnly('Loop for long', ENDLESS_LOOP, { timeoutMs: 60_000 });

  const first = await firstAttemptOf(email);
  expect(isAlive(first.pid)).toBe(true);
  await kill9(usher.processes().worker!);
  const killedAt = Date.now();
  await until('the sandbox of the killed worker is dead', () => !isAlive(first.pid), 2_000);
  await succeeded(email);

  const second = begunFor(email)[1]!;
  expect(second.alive).toEqual([]);
  expect(second.at - killedAt).toBeLessThan(GO_ON_WITHIN_MS);
  expect(attemptsFor(email)).toMatchObject([{ outcome: 'lost' }, { outcome: 'succeeded' }]);
});

test('while the store cannot be written, sign-ups are refused with 503, and the running attempt is killed before its lease runs out and runs again afterwards', async () => {
  const email = 'store-gone@example.com';
  await bindOnly('Hanging', HANGING_REQUEST, { timeoutMs: 4 * LEASE_MS });
  const first = await firstAttemptOf(email);

  const blocker = await blockStore(usher.dataDir);
  try {
    const refused = Promise.all(Array.from({ length: 8 }, (_, n) => usher.signUp(`refused-${n}@example.com`)));
    const leasedUntil = leaseOf(email);
    expect(leasedUntil).toBeGreaterThan(Date.now());
    await until('the running attempt is killed', () => !isAlive(first.pid), LEASE_MS + 5_000);
    const [, killedAt] = await until('its worker tells it', () => /"time":"([^"]+)"[^\n]*"attempt killed: its lease could not be kept"/.exec(usher.output()));
    expect(Date.parse(killedAt!)).toBeLessThan(leasedUntil);
    for (const { status, ms } of await refused) {
      expect(status).toBe(503);
      expect(ms, 'those that come at once do not wait for one another').toBeLessThan(REFUSED_WITHIN_MS);
    }
    expect((await usher.readyz()).status).toBe(503);
    await until('the lease has run out', () => Date.now() > leasedUntil + 5_000, LEASE_MS);
    expect(attemptsFor(email)).toHaveLength(1);
    expect(begunFor(email)).toHaveLength(1);
  } finally {
    blocker.kill('SIGKILL');
    await once(blocker, 'exit');
  }

  await succeeded(email);
  expect(begunFor(email)[1]).toMatchObject({ attempt: 2, alive: [] });
  expect(attemptsFor(email)).toMatchObject([{ outcome: 'lost' }, { outcome: 'succeeded' }]);
  expect((await usher.signUp('refused-0@example.com')).status).toBe(200);
});

/** Another process that takes the store's write lock and keeps it until it is killed. */
async function blockStore(dataDir: string): Promise<ChildProcess> {
  const hold = `
    const store = new (require('node:sqlite').DatabaseSync)(process.argv[1], { timeout: 20000 });
    store.exec('BEGIN IMMEDIATE');
    console.log('held');
    process.stdin.resume();`;
  const child = spawn(process.execPath, ['--eval', hold, join(dataDir, 'usher.db')], { stdio: ['pipe', 'pipe', 'inherit'] });
  await once(child.stdout, 'data');
  return child;
}

function leaseOf(email: string): number {
  using store = openStore(usher.dataDir, { readOnly: true });
  const attempt = store
    .prepare('SELECT a.leased_until AS until FROM attempt a JOIN registration r ON r.id = a.registration_id JOIN user_account u ON u.id = r.user_id WHERE u.email = ?')
    .get(email) as { until: number };
  return attempt.until;
}
