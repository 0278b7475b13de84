import { expect, test } from 'vitest';
import { newId } from '../../src/domain/ids.ts';
import type { StepPolicy } from '../../src/domain/policy.ts';
import { createLedgerCommands, type CommandResult, type RedriveOptions } from '../../src/store/ledger-commands.ts';
import { describeEachStore } from '../helpers/each-store.ts';
import { bindActions, letTimePass, prepareStore, signUpOf, type TestStore, withStandingClock } from '../helpers/stores.ts';
import { endOf, failureOf, MINUTE, park, PATIENT, registered, THREW } from './steps.ts';

const BROKEN = { error: { ...THREW, retryable: false } };
const WAIT: Partial<StepPolicy> = { ...PATIENT, onFailure: 'wait' };

/** A store with the commands, each in a transaction of its own. */
async function withCommands(usher: TestStore) {
  const commands = createLedgerCommands({ database: usher.database });
  const { transaction } = usher.database;
  return {
    usher,
    cancel: (id: string) => transaction((tx) => commands.cancel(tx, id)),
    skip: (id: string, step: string) => transaction((tx) => commands.skip(tx, id, step)),
    retryNow: (id: string, step: string | null = null) => transaction((tx) => commands.retryNow(tx, id, step)),
    redrive: (id: string, steps: RedriveOptions['steps'], version: RedriveOptions['version'] = 'pinned') => transaction((tx) => commands.redrive(tx, id, { steps, version })),
    read: async (id: string) => (await usher.ledger.readRegistration(id))!,
    states: async (id: string) => (await usher.ledger.readRegistration(id))!.steps.map(({ state }) => state),
    /** As the dispatcher does it: whatever was due is with Temporal now. */
    handOver: async () => {
      for (const due of await usher.outbox.claimDue({ limit: 10, leaseMs: 1000 })) await usher.outbox.markHandedOver([due], { checkAfterMs: MINUTE });
    },
    hasBeenTold: async (id: string) => (await usher.ledger.readRegistration(id))!.dueAt !== null,
  };
}

type Commands = Awaited<ReturnType<typeof withCommands>>;
type Registered = Awaited<ReturnType<typeof registered>>;

/** Brings the one step of a registration into a state, as the ledger itself would. */
const REACHED: Record<string, (commands: Commands, made: Registered) => Promise<void>> = {
  untried: () => Promise.resolve(),
  running: async (_, { claimed }) => void (await claimed(0)),
  'waiting for a quick retry': async ({ usher }, { claimed }) => void (await usher.ledger.settleAttempt(failureOf(await claimed(0)))),
  parked: async ({ usher }, { claimed }) => void (await park(usher, claimed, 0)),
  'running, parked before': async ({ usher }, { claimed }) => {
    await park(usher, claimed, 0);
    await letTimePass(usher, 2 * MINUTE);
    await claimed(0, { phase: 'long' });
  },
  paused: async ({ usher: { database } }, { claim, steps }) => {
    const { action_id: actionId } = await database.db.selectFrom('step').select('action_id').where('id', '=', steps[0]!).executeTakeFirstOrThrow();
    await database.db.insertInto('flow').values({ id: `action/${actionId}`, paused_at: 1, failures: 0, updated_at: 1 }).execute();
    expect(await claim(0)).toMatchObject({ claim: 'held' });
  },
  succeeded: async ({ usher }, { registrationId, claimed }) => {
    await usher.ledger.settleAttempt(endOf(await claimed(0)));
    await usher.ledger.closeRegistration(registrationId);
  },
  failed: async ({ usher }, { registrationId, claimed }) => {
    await usher.ledger.settleAttempt(failureOf(await claimed(0), BROKEN));
    await usher.ledger.closeRegistration(registrationId);
  },
  cancelled: async ({ cancel }, { registrationId }) => void (await cancel(registrationId)),
  skipped: async ({ skip }, { registrationId, steps }) => void (await skip(registrationId, steps[0]!)),
};

const DONE = { changed: true };
const refused = (reason: RegExp) => ({ changed: false, reason: expect.stringMatching(reason) });
const NOTHING_OPEN = refused(/nothing to cancel/);
const NONE_FAILED = refused(/None of its Actions has failed/);

/** What each command says to a registration whose one step is in that state. */
const SAID: Record<keyof typeof REACHED, [cancel: object, skip: object, retryNow: object, redriveFailed: object, redriveAll: object]> = {
  untried: [DONE, DONE, refused(/due already/), NONE_FAILED, refused(/waiting for its first attempt/)],
  running: [DONE, DONE, refused(/running now/), NONE_FAILED, DONE],
  'waiting for a quick retry': [DONE, DONE, DONE, NONE_FAILED, DONE],
  parked: [DONE, DONE, DONE, NONE_FAILED, DONE],
  'running, parked before': [DONE, DONE, refused(/running now/), NONE_FAILED, DONE],
  paused: [DONE, DONE, refused(/paused: resume/), NONE_FAILED, refused(/waiting for its first attempt/)],
  succeeded: [NOTHING_OPEN, refused(/is succeeded/), refused(/has ended/), NONE_FAILED, DONE],
  failed: [NOTHING_OPEN, DONE, refused(/has ended/), DONE, DONE],
  cancelled: [NOTHING_OPEN, refused(/is cancelled/), refused(/has ended/), DONE, DONE],
  skipped: [NOTHING_OPEN, refused(/is skipped/), refused(/has ended/), NONE_FAILED, DONE],
};

describeEachStore('ledger: what people ask for', (fresh) => {
  async function store(): Promise<Commands> {
    return await withCommands(await prepareStore(withStandingClock((await fresh()).open())));
  }

  test.each(Object.keys(REACHED))('what is asked of a step that is %s is done, or refused with the reason', async (state) => {
    const said: CommandResult[] = [];
    const asked: ((commands: Commands, made: Registered) => Promise<CommandResult>)[] = [
      ({ cancel }, { registrationId }) => cancel(registrationId),
      ({ skip }, { registrationId, steps }) => skip(registrationId, steps[0]!),
      ({ retryNow }, { registrationId, steps }) => retryNow(registrationId, steps[0]),
      ({ redrive }, { registrationId }) => redrive(registrationId, 'failed'),
      ({ redrive }, { registrationId }) => redrive(registrationId, 'all'),
    ];
    const commands = await store();
    for (const ask of asked) {
      await commands.usher.database.db.deleteFrom('user_account').execute();
      const made = await registered(commands.usher, [{ name: 'One', policy: PATIENT }]);
      await commands.handOver();
      await REACHED[state]!(commands, made);
      await commands.handOver();
      const before = await commands.read(made.registrationId);

      const answer = await ask(commands, made);

      said.push(answer);
      // What was changed reaches the workflow; what was not, is as it was.
      expect(await commands.hasBeenTold(made.registrationId)).toBe(answer.changed && !(state === 'failed' && said.length === 2));
      if (!answer.changed) expect(await commands.read(made.registrationId)).toEqual(before);
    }
    expect(said).toEqual(SAID[state]);
  });

  test('a second click changes nothing more', async () => {
    const { usher, redrive, cancel, skip, retryNow, read } = await store();
    const { registrationId, steps, claimed } = await registered(usher, [{ name: 'One', policy: PATIENT }, { name: 'Two', policy: PATIENT }]);
    await usher.ledger.settleAttempt(failureOf(await claimed(0), BROKEN));
    await park(usher, claimed, 1);
    const twice = async (command: () => Promise<CommandResult>) => (await Promise.all([command(), command()])).filter(({ changed }) => changed).length;

    expect(await twice(() => retryNow(registrationId))).toBe(1);
    expect(await twice(() => redrive(registrationId, 'failed'))).toBe(1);
    expect(await twice(() => redrive(registrationId, 'all'))).toBe(1);
    expect((await usher.database.db.selectFrom('step').select(['run', 'redrives']).orderBy('position').execute())).toEqual([{ run: 1, redrives: 1 }, { run: 1, redrives: 1 }]);
    expect(await twice(() => skip(registrationId, steps[0]!))).toBe(1);
    expect(await twice(() => cancel(registrationId))).toBe(1);
    expect(await read(registrationId)).toMatchObject({ state: 'closed', outcome: 'cancelled', steps: [{ state: 'skipped' }, { state: 'cancelled' }] });
  });

  test('cancelling closes at once, and its workflow is told even so', async () => {
    const { usher, cancel, read, handOver, hasBeenTold } = await store();
    const { registrationId, claimed } = await registered(usher, [{ name: 'One' }, { name: 'Two' }]);
    await handOver();
    const { stepId, attempt } = await claimed(0);

    expect(await cancel(registrationId)).toEqual(DONE);

    expect(await read(registrationId)).toMatchObject({ state: 'closed', outcome: 'cancelled', steps: [{ state: 'cancelled', nextAt: null }, { state: 'cancelled' }] });
    expect(await usher.ledger.isStepOpen(stepId)).toBe(false);
    expect(await hasBeenTold(registrationId)).toBe(true);
    await handOver();
    // Nobody asks Temporal about what is closed.
    await letTimePass(usher, 60 * MINUTE);
    expect(await usher.outbox.claimForCheck({ limit: 10, leaseMs: 1000 })).toEqual([]);
    await usher.ledger.settleAttempt(endOf({ attempt } as never, { outcome: 'cancelled' }));
    expect(await read(registrationId)).toMatchObject({ state: 'closed', outcome: 'cancelled' });
  });

  test('skipping lets go on what waited for its success, as far as nothing else stops it', async () => {
    const { usher, skip, read, states, hasBeenTold, handOver } = await store();
    const { registrationId, steps, claimed } = await registered(usher, [{ name: 'A', policy: WAIT }, { name: 'B', policy: WAIT }, { name: 'C' }]);
    await usher.ledger.settleAttempt(failureOf(await claimed(0), BROKEN));
    await usher.ledger.closeRegistration(registrationId);
    await handOver();
    expect(await states(registrationId)).toEqual(['failed', 'blocked', 'blocked']);

    // B is blocked itself: C still waits for A.
    expect(await skip(registrationId, steps[1]!)).toEqual(DONE);
    expect(await states(registrationId)).toEqual(['failed', 'skipped', 'blocked']);
    expect(await read(registrationId)).toMatchObject({ state: 'closed', outcome: 'failed' });
    expect(await hasBeenTold(registrationId)).toBe(false);

    expect(await skip(registrationId, steps[0]!)).toEqual(DONE);
    expect(await states(registrationId)).toEqual(['skipped', 'skipped', 'pending']);
    expect(await read(registrationId)).toMatchObject({ state: 'open', outcome: null, closedAt: null });
    expect(await hasBeenTold(registrationId)).toBe(true);

    await usher.ledger.settleAttempt(endOf(await claimed(2)));
    expect(await usher.ledger.closeRegistration(registrationId)).toMatchObject({ result: { outcome: 'succeeded', steps: ['A v3: skipped', 'B v3: skipped', 'C v3: succeeded'] } });
  });

  test('skipping the only one that failed makes the outcome a success, skipping the last open one closes', async () => {
    const { usher, skip, read } = await store();
    const { registrationId, steps, claimed } = await registered(usher, [{ name: 'A' }, { name: 'B' }]);
    await usher.ledger.settleAttempt(failureOf(await claimed(0), BROKEN));
    await skip(registrationId, steps[1]!);
    const closed = await read(registrationId);
    expect(closed).toMatchObject({ state: 'closed', outcome: 'failed' });

    await skip(registrationId, steps[0]!);

    expect(await read(registrationId)).toMatchObject({ state: 'closed', outcome: 'succeeded', closedAt: closed.closedAt });
  });

  test('retrying now keeps the phase and what has counted', async () => {
    const { usher, retryNow, read } = await store();
    const { registrationId, steps, claimed, claim } = await registered(usher, [{ name: 'One', policy: PATIENT }]);
    await park(usher, claimed, 0);
    expect(await claim(0, { phase: 'long' })).toMatchObject({ claim: 'held' });
    const [before] = await usher.ledger.loadOpenSteps(registrationId);

    expect(await retryNow(registrationId, steps[0])).toEqual(DONE);

    const [after] = await usher.ledger.loadOpenSteps(registrationId);
    expect(after).toMatchObject({ phase: 'long', delayMs: 0, wish: (before!.wish ?? 0) + 1 });
    expect(after!.redriven).toBeUndefined();
    const attempt = await claimed(0, { phase: 'long' });
    expect(attempt.attempt).toMatchObject({ number: 6, run: 1 });
    expect(await usher.ledger.settleAttempt(failureOf(attempt))).toEqual({ state: 'retry', delayMs: 2 * MINUTE });
    expect(await read(registrationId)).toMatchObject({ steps: [{ state: 'parked', phase: 'long' }] });
  });

  test('what succeeded runs again under a new key, what failed under its old one', async () => {
    const { usher, redrive } = await store();
    const { registrationId, steps, claimed } = await registered(usher, [{ name: 'A' }, { name: 'B' }]);
    const keys = [(await claimed(0)).attempt, (await claimed(1)).attempt].map(({ idempotencyKey }) => idempotencyKey);
    const ids = await usher.database.db.selectFrom('attempt').select('id').orderBy('started_at').orderBy('id').execute();
    await usher.ledger.settleAttempt(endOf({ attempt: ids[0] } as never));
    await usher.ledger.settleAttempt(failureOf({ attempt: ids[1] } as never, BROKEN));
    await usher.ledger.closeRegistration(registrationId);

    await redrive(registrationId, 'failed');
    expect((await usher.ledger.loadOpenSteps(registrationId)).map(({ stepId, redriven }) => [stepId, redriven])).toEqual([[steps[1], true]]);
    const failed = await claimed(1);
    expect(failed.attempt).toMatchObject({ number: 2, run: 1, idempotencyKey: keys[1] });
    await usher.ledger.settleAttempt(endOf(failed));
    await usher.ledger.closeRegistration(registrationId);

    await redrive(registrationId, { from: steps[0]! });
    const [first, second] = [await claimed(0), await claimed(1)];
    expect([first.attempt.run, second.attempt.run]).toEqual([2, 2]);
    expect([first.attempt.idempotencyKey, second.attempt.idempotencyKey]).not.toEqual(keys);
  });

  test('redriving from a step leaves those before it alone, and is refused behind one that must succeed first', async () => {
    const { usher, redrive, skip, states } = await store();
    const { registrationId, steps, claimed } = await registered(usher, [{ name: 'A' }, { name: 'B', policy: WAIT }, { name: 'C' }]);
    await usher.ledger.settleAttempt(endOf(await claimed(0)));
    await usher.ledger.settleAttempt(failureOf(await claimed(1), BROKEN));
    await usher.ledger.closeRegistration(registrationId);

    expect(await redrive(registrationId, { from: steps[2]! })).toEqual(refused(/waits for the success of 'B', which is failed/));
    expect(await redrive(registrationId, { from: steps[1]! })).toEqual(DONE);
    expect(await states(registrationId)).toEqual(['succeeded', 'pending', 'pending']);

    await usher.ledger.settleAttempt(failureOf(await claimed(1), BROKEN));
    expect(await states(registrationId)).toEqual(['succeeded', 'failed', 'blocked']);
    await skip(registrationId, steps[1]!);
    expect(await redrive(registrationId, { from: steps[2]! })).toEqual(refused(/waiting for its first attempt/));
  });

  test('redriving what waits and failed of one Action lets go on what it blocked, and leaves the others', async () => {
    const { usher, redrive, states } = await store();
    const { registrationId, claimed } = await registered(usher, [{ name: 'A', policy: PATIENT }, { name: 'B', policy: WAIT }, { name: 'C' }]);
    await park(usher, claimed, 0);
    await usher.ledger.settleAttempt(failureOf(await claimed(1), BROKEN));
    const [parked, failed] = (await usher.ledger.readRegistration(registrationId))!.steps;

    expect(await redrive(registrationId, { waitingAndFailedOf: failed!.actionId })).toEqual(DONE);
    expect(await states(registrationId)).toEqual(['parked', 'pending', 'pending']);
    expect(await redrive(registrationId, { waitingAndFailedOf: parked!.actionId })).toEqual(DONE);
    expect(await states(registrationId)).toEqual(['pending', 'pending', 'pending']);
    expect(await redrive(registrationId, { waitingAndFailedOf: 'another' })).toEqual(refused(/neither waits nor has failed/));
  });

  test('redriving moves to the version, name and binding secrets of now, where that is wished for', async () => {
    const { usher, redrive, read } = await store();
    const { registrationId, claimed } = await registered(usher, [{ name: 'One' }]);
    await usher.ledger.settleAttempt(failureOf(await claimed(0), BROKEN));
    await usher.ledger.closeRegistration(registrationId);
    const { db } = usher.database;
    const old = await db.selectFrom('action_version').selectAll().executeTakeFirstOrThrow();
    const next = newId();
    await db.insertInto('action_version').values({ ...old, id: next, number: 4 }).execute();
    await db.updateTable('action').set({ deployed_version_id: next, name: 'Renamed' }).execute();
    await db.insertInto('binding_secrets').values({ id: 'secrets', binding_id: 'any', secret_names: '[]', secrets_sealed: '', key_id: '' }).execute();
    await db.updateTable('binding').set({ secrets_id: 'secrets' }).execute();

    await redrive(registrationId, 'failed', 'pinned');
    expect((await read(registrationId)).steps[0]).toMatchObject({ versionNumber: 3, actionName: 'One' });
    // It has not been tried since, and still has to move.
    expect(await redrive(registrationId, 'all', 'deployed')).toEqual(DONE);
    const step = await claimed(0);
    expect(step).toMatchObject({ versionId: next, versionNumber: 4, actionName: 'Renamed', bindingSecretsId: 'secrets', attempt: { number: 2, run: 1 } });
  });

  test.each([
    ['deleted', async ({ database: { db } }: TestStore) => {
      await bindActions({ database: { db } } as TestStore, []);
      await db.deleteFrom('action').execute();
    }],
    ['not deployed', async ({ database: { db } }: TestStore) => void (await db.updateTable('action').set({ deployed_version_id: null }).execute())],
    ['deployed for another trigger', async ({ database: { db } }: TestStore) => void (await db.updateTable('action_version').set({ trigger_id: 'post-login' }).execute())],
  ])('redriving with what is deployed now is refused when the Action is %s, with the pinned version it goes', async (_, change) => {
    const { usher, redrive } = await store();
    const { registrationId, claimed } = await registered(usher, [{ name: 'One' }]);
    await usher.ledger.settleAttempt(failureOf(await claimed(0), BROKEN));
    await usher.ledger.closeRegistration(registrationId);
    await change(usher);

    expect(await redrive(registrationId, 'failed', 'deployed')).toEqual(refused(/'One' is gone, not deployed/));
    expect(await redrive(registrationId, 'failed', 'pinned')).toEqual(DONE);
  });

  test('an attempt that is alive is never doubled, whatever is asked for meanwhile', async () => {
    const { usher, redrive, cancel, claim, states, registrationId, claimed } = await (async () => {
      const commands = await store();
      return { ...commands, ...(await registered(commands.usher, [{ name: 'One', policy: PATIENT }])) };
    })();
    const running = await claimed(0);

    await redrive(registrationId, 'all');
    expect(await claim(0, { workerId: 'worker-2' })).toMatchObject({ claim: 'held', reason: 'attempt 1 may still be running' });
    await cancel(registrationId);
    await redrive(registrationId, 'all');
    expect(await claim(0, { workerId: 'worker-2' })).toMatchObject({ claim: 'held' });

    // Its success counts: it was of the same run.
    expect(await usher.ledger.settleAttempt(endOf(running))).toEqual({ state: 'succeeded' });
    expect(await states(registrationId)).toEqual(['succeeded']);
  });

  test('an attempt that was left behind by an earlier run says nothing about the new one', async () => {
    const { usher, redrive, states } = await store();
    const { registrationId, claimed } = await registered(usher, [{ name: 'One', policy: PATIENT }]);
    const lost = await claimed(0);
    await letTimePass(usher, MINUTE);
    await usher.ledger.settleAttempt(endOf(await claimed(0)));
    await usher.ledger.closeRegistration(registrationId);
    await redrive(registrationId, 'all');

    await usher.ledger.settleAttempt(endOf(lost));

    expect(await states(registrationId)).toEqual(['pending']);
    expect((await claimed(0)).attempt.run).toBe(2);
  });

  test('one that had nothing bound, and ids that nobody has', async () => {
    const { usher, redrive, cancel, skip, retryNow } = await store();
    await bindActions(usher, []);
    const { registrationId } = await usher.register(signUpOf('ann@example.com'));

    expect(await redrive(registrationId, 'all')).toEqual(refused(/No Action was bound/));
    expect(await cancel(registrationId)).toEqual(NOTHING_OPEN);
    await expect(cancel('nobody')).rejects.toThrow(/no registration nobody/);
    await expect(skip(registrationId, 'nothing')).rejects.toThrow(/no step nothing/);
    await expect(retryNow(registrationId, 'nothing')).rejects.toThrow(/no step nothing/);
    await expect(redrive(registrationId, { from: 'nothing' })).rejects.toThrow(/no step nothing/);
  });
});
