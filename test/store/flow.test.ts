import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import type { StepPolicy } from '../../src/domain/policy.ts';
import type { Database } from '../../src/store/database.ts';
import { createFlowStore, type FlowStore } from '../../src/store/flow.ts';
import { type Claim, type ClaimInput, createLedger, type Ledger } from '../../src/store/ledger.ts';
import { roomLeft } from '../../src/store/let-go.ts';
import { createReleases, type Releases } from '../../src/store/releases.ts';
import type { Row } from '../../src/store/schema.ts';
import { describeEachStore } from '../helpers/each-store.ts';
import { bindActions, letTimePass, openFor, prepareStore, signUpOf, type TestStore, withStandingClock } from '../helpers/stores.ts';
import { endOf, failureOf, LEASE_MS, MINUTE, SECOND } from './steps.ts';

const HOUR = 60 * MINUTE;
const RUN_STEPS = new URL('processes/run-steps.ts', import.meta.url).pathname;

/** `count` registrations with one step each, all of one Action. */
interface Line {
  usher: TestStore;
  releases: Releases;
  flow: FlowStore;
  actionId: string;
  claim(index: number, options?: Partial<ClaimInput>, by?: Pick<Ledger, 'claimStep'>): Promise<Claim>;
  /** The store once more, as another process has it. */
  open(): Database;
  /** Claims them one after the other, a millisecond apart, so that each has its place in the queue. @returns why they wait. */
  hold(indexes: number[]): Promise<Claim[]>;
  succeed(index: number): Promise<void>;
  fail(index: number, error?: { retryable: boolean }): Promise<void>;
  /** Fails the first `n` once each. */
  failFirst(n: number): Promise<void>;
  steps(): Promise<Row<'step'>[]>;
  /** Indexes of those that were let go and have not begun. */
  letGo(): Promise<number[]>;
}

describeEachStore('holding steps back', (fresh) => {
  async function line(count: number, policy: Partial<StepPolicy> = {}): Promise<Line> {
    const { open } = await fresh();
    const usher = await prepareStore(withStandingClock(open()));
    const { database, keyring, ledger } = usher;
    await bindActions(usher, [{ name: 'Notify Slack', policy }]);
    const ids: string[] = [];
    for (let index = 0; index < count; index++) ids.push((await usher.register(signUpOf(`user-${index}@example.com`))).registrationId);
    const steps = async () => {
      const rows = await database.db.selectFrom('step').selectAll().execute();
      return ids.map((id) => rows.find((row) => row.registration_id === id)!);
    };
    const first = await steps();
    const claim: Line['claim'] = (index, options = {}, by = ledger) =>
      by.claimStep({ registrationId: ids[index]!, stepId: first[index]!.id, phase: first[index]!.phase, workerId: 'worker-1', leaseMs: LEASE_MS, ...options });
    const claimed = async (index: number) => {
      const { phase } = (await steps())[index]!;
      const answer = await claim(index, { phase });
      if (answer.claim !== 'claimed') throw new Error(`not claimed: ${JSON.stringify(answer)}`);
      return answer.step;
    };
    const fail: Line['fail'] = async (index, { retryable } = { retryable: true }) => {
      await ledger.settleAttempt(failureOf(await claimed(index), { error: { type: 'ACTION_THREW', name: 'Error', message: 'no luck', retryable } }));
    };
    return {
      usher,
      releases: createReleases({ database }),
      flow: createFlowStore({ database, keyring }),
      actionId: first[0]!.action_id,
      claim,
      open: () => ({ ...open(), now: database.now }),
      async hold(indexes) {
        const claims: Claim[] = [];
        for (const index of indexes) {
          claims.push(await claim(index));
          await letTimePass(usher, 1);
        }
        return claims;
      },
      succeed: async (index) => void (await ledger.settleAttempt(endOf(await claimed(index)))),
      fail,
      failFirst: async (n) => {
        for (let index = 0; index < n; index++) await fail(index);
      },
      steps,
      letGo: async () => (await steps()).flatMap((step, index) => (step.let_go_at !== null && step.held_reason === null && step.held_at !== null ? [index] : [])),
    };
  }

  test('a claim that meets nothing to wait for writes nothing about the flow, nor does a success', async () => {
    const { usher, succeed } = await line(1);
    await succeed(0);
    expect(await usher.database.db.selectFrom('flow').selectAll().execute()).toEqual([]);
  });

  test('several workers never run more attempts of an Action at once than its binding allows, and run them all', { timeout: 60_000 }, async () => {
    const store = await fresh();
    const usher = await prepareStore(store.open());
    await bindActions(usher, [{ name: 'Notify Slack', policy: { concurrency: 3 } }]);
    for (let index = 0; index < 60; index++) await usher.register(signUpOf(`user-${index}@example.com`));

    const seen = await Promise.all(['a', 'b', 'c'].map((worker) => promisify(execFile)(process.execPath, [RUN_STEPS, store.place, worker], { timeout: 50_000 })));

    const most = Math.max(...seen.map(({ stdout }) => Number(stdout)));
    expect(most).toBeLessThanOrEqual(3);
    // They did run side by side.
    expect(most).toBeGreaterThan(1);
    const states = await usher.database.db.selectFrom('step').select('state').distinct().execute();
    expect(states).toEqual([{ state: 'succeeded' }]);
  });

  test('when an attempt ends, the step that waits for longest is let go, with its registration due and its room kept', async () => {
    const { usher, claim, letGo, steps, hold } = await line(4, { concurrency: 1 });
    const first = await claim(0);
    if (first.claim !== 'claimed') throw new Error('not claimed');
    for (const each of await hold([2, 1])) expect(each).toMatchObject({ claim: 'held', reason: expect.stringContaining('binding') });
    await usher.outbox.claimDue({ limit: 10, leaseMs: 60_000 });
    const before = (await steps())[2]!;

    await usher.ledger.settleAttempt(endOf(first.step));

    expect(await letGo()).toEqual([2]);
    expect((await steps())[2]!.wish).toBe(before.wish + 1);
    expect((await usher.outbox.claimDue({ limit: 10, leaseMs: 60_000 })).map((due) => due.registrationId)).toEqual([before.registration_id]);
    // Whoever comes new does not get before it.
    expect(await claim(3)).toMatchObject({ claim: 'held' });
    expect(await claim(2)).toMatchObject({ claim: 'claimed' });
    expect((await steps())[2]).toMatchObject({ held_reason: null, held_at: null, let_go_at: null });
  });

  test('the room of an attempt that was lost, and of a step whose workflow never comes, goes to the next one', async () => {
    const { usher, claim, letGo, releases, hold } = await line(3, { concurrency: 1 });
    expect(await claim(0)).toMatchObject({ claim: 'claimed' });
    await hold([1, 2]);
    expect(await releases.round()).toBe(0);

    await letTimePass(usher, LEASE_MS + SECOND);
    expect(await releases.round()).toBe(1);
    expect(await letGo()).toEqual([1]);
    expect(await releases.round()).toBe(0);
    await letTimePass(usher, 31 * SECOND);
    expect(await releases.round()).toBe(1);
    expect(await letGo()).toEqual([1, 2]);

    // The late one does not make two of them.
    expect(await claim(1)).toMatchObject({ claim: 'held' });
    expect(await claim(2)).toMatchObject({ claim: 'claimed' });
    expect(await claim(1)).toMatchObject({ claim: 'held' });
  });

  test('an Action with its share of a worker waits there, and is let go when one of its attempts ends', async () => {
    const { usher, claim, letGo, actionId } = await line(3);
    const first = await claim(0);
    if (first.claim !== 'claimed') throw new Error('not claimed');
    const asked: string[] = [];
    const full = { takeShare: (id: string) => asked.push(id) < 0 };
    expect(await claim(1, full)).toMatchObject({ claim: 'held', reason: expect.stringContaining('share') });
    expect(asked).toEqual([actionId]);

    await usher.ledger.settleAttempt(endOf(first.step));
    expect(await letGo()).toEqual([1]);
    expect(await claim(1, { takeShare: () => true })).toMatchObject({ claim: 'claimed' });
  });

  test('after failures in ten registrations in a row the receiver is taken to be down: what is due is parked without an attempt, or held where others wait for it', async () => {
    const { usher, claim, failFirst, flow, steps, actionId, releases } = await line(11);
    await failFirst(9);
    expect(await releases.down()).toEqual([]);
    expect(await flow.actions()).toEqual([]);
    await letTimePass(usher, 5 * SECOND);
    // The same step once more is no news.
    await usher.ledger.settleAttempt(failureOf((await claim(8) as Extract<Claim, { claim: 'claimed' }>).step));
    expect(await flow.actions()).toEqual([]);
    await usher.ledger.settleAttempt(failureOf((await claim(9) as Extract<Claim, { claim: 'claimed' }>).step));

    expect(await releases.down()).toEqual(['Notify Slack']);
    expect(await claim(10)).toEqual({ claim: 'recorded', state: { state: 'parked', delayMs: HOUR } });
    expect((await steps())[10]).toMatchObject({ state: 'parked', phase: 'long', held_reason: 'down', counted: 0, last_attempt: 0 });
    expect(await flow.actions()).toMatchObject([{ actionId, name: 'Notify Slack', paused: null, down: { failures: 10 }, held: 1, parked: 1 }]);

    await usher.database.db.updateTable('step').set({ state: 'pending', phase: 'quick', policy: JSON.stringify({ onFailure: 'wait' }) }).where('id', '=', (await steps())[10]!.id).execute();
    expect(await claim(10)).toMatchObject({ claim: 'held', delayMs: HOUR });
    expect((await steps())[10]).toMatchObject({ state: 'pending', held_reason: 'down' });
  });

  test('what no retry can mend, and attempts that were lost, say nothing about the receiver', async () => {
    const { usher, claim, fail, flow } = await line(21);
    for (let index = 0; index < 10; index++) await fail(index, { retryable: false });
    for (let index = 10; index < 20; index++) {
      const answer = await claim(index);
      if (answer.claim === 'claimed') await usher.ledger.settleAttempt(endOf(answer.step, { outcome: 'lost' }));
    }
    expect(await flow.actions()).toEqual([]);
    expect(await claim(20)).toMatchObject({ claim: 'claimed' });
  });

  test('a few registrations that an Action cannot digest are no outage, however often they fail by turns', async () => {
    const { usher, claim, fail, flow } = await line(3);
    for (let failures = 0; failures < 12; failures++) {
      await fail(failures % 2);
      await letTimePass(usher, HOUR);
    }
    expect(await flow.actions()).toEqual([]);
    expect(await claim(2)).toMatchObject({ claim: 'claimed' });
  });

  test('a success in between begins the count anew', async () => {
    const { succeed, fail, flow } = await line(20);
    for (let index = 0; index < 9; index++) await fail(index);
    await succeed(9);
    for (let index = 10; index < 19; index++) await fail(index);
    expect(await flow.actions()).toEqual([]);
  });

  test('of all that ask while the receiver is down, one tries; when it fails, the next one tries later, ever more rarely', async () => {
    const { usher, claim, failFirst } = await line(40);
    await failFirst(10);
    const tries = async (from: number) => {
      const answers = await Promise.all([0, 1, 2, 3, 4].map((n) => claim(from + n, { phase: 'long' })));
      return answers.flatMap((answer) => (answer.claim === 'claimed' ? [answer.step] : []));
    };
    expect(await tries(10)).toEqual([]);
    let from = 15;
    for (const delayMs of [30 * SECOND, MINUTE, 2 * MINUTE, 4 * MINUTE, 5 * MINUTE]) {
      await letTimePass(usher, delayMs - 5 * SECOND);
      expect(await tries(from)).toEqual([]);
      await letTimePass(usher, 5 * SECOND);
      const probes = await tries(from);
      expect(probes).toHaveLength(1);
      expect(await tries(from)).toEqual([]);
      await usher.ledger.settleAttempt(failureOf(probes[0]!));
      from += 5;
    }
  });

  test('where nobody asks, the step that is held for longest is let go to try; one that dies is replaced', async () => {
    const { usher, claim, failFirst, releases, letGo, hold } = await line(13);
    await failFirst(10);
    await hold([11, 10, 12]);
    expect(await releases.round()).toBe(0);
    await letTimePass(usher, 30 * SECOND);

    expect(await releases.round()).toBe(1);
    expect(await letGo()).toEqual([11]);
    expect(await releases.round()).toBe(0);
    expect(await claim(12, { phase: 'long' })).toMatchObject({ claim: 'held' });
    expect(await claim(11, { phase: 'long' })).toMatchObject({ claim: 'claimed' });

    // Its worker dies. The default timeout is 30 s.
    await letTimePass(usher, 50 * SECOND);
    expect(await releases.round()).toBe(0);
    await letTimePass(usher, 11 * SECOND);
    expect(await releases.round()).toBe(1);
    expect(await letGo()).toEqual([10]);
  });

  test('once one succeeds, the others go out oldest first, twenty a second, and what comes new at once; after new failures no more go', async () => {
    const { usher, claim, succeed, fail, failFirst, releases, letGo, flow, hold } = await line(80);
    await failFirst(10);
    const order = Array.from({ length: 50 }, (_, index) => 60 - index);
    await hold(order);
    await letTimePass(usher, 30 * SECOND);
    await succeed(61);
    expect(await flow.actions()).toMatchObject([{ down: null, recoveringSince: expect.any(Number), held: 50 }]);

    expect(await releases.round()).toBe(20);
    expect((await letGo()).toSorted((a, b) => b - a)).toEqual(order.slice(0, 20));
    expect(await releases.round()).toBe(0);
    await letTimePass(usher, SECOND);
    expect(await releases.round()).toBe(20);
    await succeed(62);

    for (let index = 63; index < 73; index++) await fail(index);
    await letTimePass(usher, SECOND);
    expect(await releases.round()).toBe(0);
    expect(await flow.actions()).toMatchObject([{ down: { failures: 10 }, recoveringSince: null, held: 10 }]);
    expect(await claim(60, { phase: 'long' })).toMatchObject({ claim: 'held' });
    // It keeps its place in the queue.
    await letTimePass(usher, 30 * SECOND);
    expect(await releases.round()).toBe(1);
    expect(await letGo()).toContain(60);
  });

  test('recovery ends when nothing is held any more, and not while a step was only passed over', async () => {
    const { usher, succeed, failFirst, releases, flow, steps, hold } = await line(13);
    await failFirst(10);
    await hold([10, 11]);
    await letTimePass(usher, 30 * SECOND);
    await succeed(12);
    if (usher.database.dialect === 'postgres') {
      const { registration_id: id } = (await steps())[10]!;
      await usher.database.transaction(async (tx) => {
        await tx.selectFrom('registration').select('id').where('id', '=', id).forUpdate().execute();
        expect(await releases.round()).toBe(1);
        await letTimePassForFlow(usher, SECOND);
        expect(await releases.round()).toBe(0);
      });
      await letTimePass(usher, SECOND);
      expect(await releases.round()).toBe(1);
    } else expect(await releases.round()).toBe(2);
    await letTimePass(usher, SECOND);
    expect(await releases.round()).toBe(0);
    expect(await flow.actions()).toEqual([]);
  });

  test('a paused Action waits without using up attempts, and goes on in order at a limited rate', async () => {
    const { usher, claim, releases, letGo, flow, actionId, steps, hold } = await line(30);
    await flow.pauseAction(actionId, 'client1');
    const held = await hold(Array.from({ length: 30 }, (_, index) => 29 - index));
    for (const each of held) expect(each).toMatchObject({ claim: 'held', delayMs: HOUR, reason: 'it is paused' });
    expect((await steps()).every((step) => step.state === 'pending' && step.last_attempt === 0)).toBe(true);
    expect(await flow.actions()).toMatchObject([{ paused: { by: 'client1' }, held: 30 }]);
    expect(await releases.round()).toBe(0);

    await flow.resumeAction(actionId, 'client1');
    expect(await releases.round()).toBe(20);
    expect(await letGo()).toEqual(Array.from({ length: 20 }, (_, index) => index + 10));
    await letTimePass(usher, SECOND);
    expect(await releases.round()).toBe(10);
    expect(await claim(0)).toMatchObject({ claim: 'claimed' });
  });

  test('a paused trigger holds every Action; what it lets go does not pass an Action that is paused by itself', async () => {
    const { usher, claim, releases, flow, actionId, letGo } = await line(2);
    await flow.pauseAction(actionId, 'client1');
    await flow.pauseTrigger('client2');
    await flow.pauseTrigger('client3');
    expect((await flow.trigger()).paused?.by).toBe('client2');
    expect(await claim(0)).toMatchObject({ claim: 'held' });

    await flow.resumeAction(actionId, 'client1');
    expect(await releases.round()).toBe(0);
    await flow.pauseAction(actionId, 'client1');
    await flow.resumeTrigger('client1');
    expect(await releases.round()).toBe(0);
    expect(await claim(1)).toMatchObject({ claim: 'held' });
    await flow.resumeAction(actionId, 'client1');
    await letTimePass(usher, SECOND);
    expect(await releases.round()).toBe(2);
    expect(await letGo()).toEqual([0, 1]);
  });

  test('a trigger is resumed once what it held is let go, although an Action is still paused by itself', async () => {
    const { claim, releases, flow, actionId } = await line(1);
    await flow.pauseAction(actionId, 'client1');
    await claim(0);
    await flow.pauseTrigger('client1');
    await flow.resumeTrigger('client1');
    expect((await flow.trigger()).recoveringSince).not.toBeNull();
    expect(await releases.round()).toBe(0);
    expect(await flow.trigger()).toMatchObject({ paused: null, recoveringSince: null, held: 1 });
  });

  test('however many steps of an Action wait for their retries, a claim under its limit reads only those that were let go', async () => {
    const { usher, claim } = await line(1, { concurrency: 1 });
    const { db, dialect } = usher.database;
    // Whose plans are made without knowing the rows.
    if (dialect !== 'sqlite') return;
    const [registration, step] = [await db.selectFrom('registration').selectAll().executeTakeFirstOrThrow(), (await db.selectFrom('step').selectAll().executeTakeFirstOrThrow())];
    for (let from = 0; from < 20_000; from += 500) {
      const ids = Array.from({ length: 500 }, (_, index) => `copy-${from + index}`);
      await db.insertInto('registration').values(ids.map((id) => ({ ...registration, id, due_at: null }))).execute();
      await db.insertInto('step').values(ids.map((id) => ({ ...step, id, registration_id: id, state: 'parked' as const }))).execute();
    }
    const fastest = async (work: () => Promise<unknown>): Promise<number> => {
      let best = Infinity;
      for (let times = 0; times < 5; times++) {
        const startedAt = performance.now();
        await work();
        best = Math.min(best, performance.now() - startedAt);
      }
      return best;
    };
    const readAll = await fastest(() => db.selectFrom('step').select(({ fn }) => fn.max('let_go_at').as('last')).where('action_id', '=', step.action_id).execute());
    expect(await fastest(() => roomLeft(usher.database, db, step.action_id, 1))).toBeLessThan(readAll / 4);
    expect(await claim(0)).toMatchObject({ claim: 'claimed' });
  });

  test('a step that comes while its pause ends is let go, or begins', async () => {
    const { usher, claim, releases, flow, actionId, steps, open } = await line(40);
    await flow.pauseAction(actionId, 'client1');
    const ledgers = (await openFor(40, open)).map((database) => createLedger({ ...usher, database }));
    await Promise.all([...Array.from({ length: 40 }, (_, index) => claim(index, {}, ledgers[index % ledgers.length])), flow.resumeAction(actionId, 'client1')]);
    for (let rounds = 0; rounds < 5; rounds++) {
      await releases.round();
      await letTimePass(usher, SECOND);
    }
    expect((await steps()).filter((step) => step.held_reason !== null)).toEqual([]);
    expect(await flow.actions()).toEqual([]);
  });

  test('resuming an Action also ends the waiting for a receiver that is down', async () => {
    const { claim, failFirst, flow, releases, actionId, letGo } = await line(11);
    await failFirst(10);
    await claim(10);
    await flow.resumeAction(actionId, 'client1');
    expect(await releases.round()).toBe(1);
    expect(await letGo()).toEqual([10]);
    expect(await claim(10, { phase: 'long' })).toMatchObject({ claim: 'claimed' });
  });
});

/** Only there: the registrations are locked. */
async function letTimePassForFlow({ database: { db } }: TestStore, ms: number): Promise<void> {
  await db.updateTable('flow').set((eb) => ({ next_release_at: eb('next_release_at', '-', ms) })).execute();
}
