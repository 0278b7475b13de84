import { setTimeout as pause } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Receiver, startReceiver } from '../../examples/receiver.ts';
import { bindTellingActions, deliveries } from './actions.ts';
import { type Aftermath, expectAllRanAndNothingElse, expectBindingOrder, expectNothingLost, expectOneKeyForEachStep } from './aftermath.ts';
import { type Kill, KINDS, strike } from './kills.ts';
import { changePolicy, readEmails, readRegistrations, type SeenAttempt, type SeenRegistration } from './ledger-view.ts';
import { createRandom } from './seeded-random.ts';
import { refusingNowAndThen, startSignUps } from './sign-up-load.ts';
import { until } from './until.ts';
import { startTestUsher, type TestUsher } from './usher.ts';

const ACTIONS = ['First', 'Second', 'Third'];
/** Fails now and then, but never so often in a row that its step is parked. */
const FLAKY = 'Second';
const KILLS_OF_A_KIND = 2;
const CLIENTS = 3;
/** How long after the last kill everything must be done, retries included. */
const DRAIN_MS = 60_000;
/** Temporal notices a dead worker after 10 s; then what has piled up is worked off, on a machine that may be busy. */
const GO_ON_WITHIN_MS = 30_000;

const seed = Number(process.env['E2E_SEED'] ?? Date.now() % 1_000_000);
/** Apart from the other chances, which come in another order each time, so that a seed repeats the kills. */
const killChance = createRandom(seed);
const chance = createRandom(seed + 1);

let receiver: Receiver;
let usher: TestUsher;
const kills: Kill[] = [];
let after: Aftermath;

beforeAll(async () => {
  process.stdout.write(`crash test: seed ${seed} (E2E_SEED=${seed} repeats the kills)\n`);
  receiver = await startReceiver(refusingNowAndThen(FLAKY, chance));
  usher = await startTestUsher();
  for (const id of await bindTellingActions(usher.management, receiver, ACTIONS)) {
    // What our crashes take is taken from this budget: with the usual 60 s, a step might be parked for a minute.
    changePolicy(usher.dataDir, id, { quick: { budgetMs: 600_000 } });
  }
  await usher.working();

  const load = startSignUps({ clients: CLIENTS, signUp: (email) => usher.signUp(email).catch(() => null), pauseMs: () => chance.between(200, 1_200) });
  for (const kind of killChance.shuffle(KINDS.flatMap((each) => Array.from({ length: KILLS_OF_A_KIND }, () => each)))) {
    await pause(killChance.between(1_000, 4_000));
    kills.push(await strike(usher, kind, killChance));
    if (kind === 'everything') await usher.start();
  }
  await pause(1_000);
  await load.stop();

  const open = (): SeenRegistration[] => readRegistrations(usher.dataDir).filter(({ state }) => state === 'open');
  await until('all registrations are closed', () => open().length === 0, DRAIN_MS).catch((error: unknown) => {
    process.stdout.write(`${usher.output()}\nKilled: ${JSON.stringify(kills)}\nOpen: ${JSON.stringify(open(), null, 1)}\n`);
    throw error;
  });
  after = { load, actions: ACTIONS, emails: readEmails(usher.dataDir), registrations: readRegistrations(usher.dataDir), received: deliveries(receiver) };
  report();
}, 300_000);

afterAll(async () => {
  await usher?.close();
  await receiver?.close();
});

/** Attempts that a kill cut short: their worker died, or their sandbox did. */
function cutShort(): { attempt: SeenAttempt; what: string }[] {
  return after.registrations.flatMap(({ email, steps }) =>
    steps.flatMap(({ action, attempts }) =>
      attempts
        .filter(({ outcome, errorType }) => outcome === 'lost' || errorType === 'ACTION_CRASHED')
        .map((attempt) => ({ attempt, what: `attempt ${attempt.number} of ${action} for ${email}: ${JSON.stringify(attempt)}` })),
    ),
  );
}

/** How long registrations stood still before each of their attempts, counted from the last kill before it if that is later. */
function standstills(): { ms: number; what: string }[] {
  return after.registrations.flatMap(({ email, createdAt, steps }) => {
    let since = createdAt;
    return steps.flatMap(({ action, attempts }) =>
      attempts.map(({ number, startedAt, endedAt, outcome }) => {
        const lastKill = Math.max(0, ...kills.map(({ at }) => at).filter((at) => at < startedAt));
        const ms = startedAt - Math.max(since, lastKill);
        // The end of one that was lost is when that was noticed.
        since = outcome === 'lost' ? startedAt : endedAt!;
        return { ms, what: `before attempt ${number} of ${action} for ${email}` };
      }),
    );
  });
}

function killDuring({ startedAt, endedAt }: SeenAttempt, kinds: Kill['kind'][]): Kill | undefined {
  return kills.find(({ kind, at, deadAt }) => kinds.includes(kind) && startedAt <= deadAt && at <= endedAt!);
}

function report(): void {
  const longest = standstills().reduce((one, other) => (other.ms > one.ms ? other : one));
  process.stdout.write(
    `crash test: ${after.load.acknowledged.length} sign-ups, ${after.received.length} deliveries, killed ${kills.map(({ kind }) => kind).join(' ')}; ` +
      `${cutShort().length} attempts cut short; the longest standstill ${(longest.ms / 1000).toFixed(1)} s, ${longest.what}\n`,
  );
}

test('control: each kind of kill struck as often as planned, and cut attempts short', () => {
  for (const kind of KINDS) expect(kills.filter((kill) => kill.kind === kind)).toHaveLength(KILLS_OF_A_KIND);
  expect(cutShort().length).toBeGreaterThan(0);
  expect(after.received.filter(({ status }) => status === 500).length).toBeGreaterThan(0);
});

test('no acknowledged sign-up is lost: each has its user, and every bound Action got through to the receiver', () => expectNothingLost(after));

test('every committed registration ran to its end, and nothing ran for anybody else', () => expectAllRanAndNothingElse(after));

test('first attempts come in binding order, each Action after the one before it got through', () => expectBindingOrder(after));

test('each duplicate delivery has the same key, and a kill explains it', () => {
  let duplicates = 0;
  for (const all of expectOneKeyForEachStep(after).values()) {
    const { email, action } = all[0]!;
    const attempts = after.registrations.find((each) => each.email === email)!.steps.find((each) => each.action === action)!.attempts;
    // A delivery that had been answered 200 is followed by another only when the first one's success was not recorded.
    for (const delivery of all.slice(0, -1).filter(({ status }) => status === 200)) {
      duplicates++;
      const attempt = attempts.find(({ number }) => number === delivery.attempt)!;
      expect(attempt.outcome).not.toBe('succeeded');
      expect(killDuring(attempt, ['everything', 'worker', 'sandbox']), `${email} ${action} ${JSON.stringify(attempt)}`).toBeDefined();
    }
  }
  process.stdout.write(`crash test: ${duplicates} duplicate deliveries, each explained by a kill\n`);
});

test('no attempt is lost or crashes without a kill, and none begins before the one before it is over', () => {
  for (const { attempt, what } of cutShort()) {
    // A sandbox that dies before the call has reached it has run nothing: that attempt does not count as the Action's failure.
    const kinds: Kill['kind'][] = attempt.outcome === 'lost' ? ['everything', 'worker', 'sandbox'] : ['sandbox'];
    expect(killDuring(attempt, kinds), what).toBeDefined();
  }
  for (const { steps } of after.registrations) {
    for (const { attempts } of steps) {
      expect(attempts.map(({ number }) => number)).toEqual(attempts.map((_, index) => index + 1));
      for (const [index, attempt] of attempts.slice(1).entries()) expect(attempt.startedAt).toBeGreaterThanOrEqual(attempts[index]!.endedAt!);
    }
  }
});

test('no registration stands still for long after a kill', () => {
  for (const { ms, what } of standstills()) expect(ms, what).toBeLessThan(GO_ON_WITHIN_MS);
});
