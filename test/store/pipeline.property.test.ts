import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { DEFAULT_STEP_POLICY, type StepPolicy } from '../../src/domain/policy.ts';
import { describeEachStore, type EmptyStore } from '../helpers/each-store.ts';
import { bindActions, prepareStore, type TestStore } from '../helpers/stores.ts';
import { createWorld, type Move, type Parts } from './pipeline/world.ts';
import { MINUTE, SECOND } from './steps.ts';

/** On a machine that is busy fewer rounds are made. */
const AT_MOST_MS = 20_000;
/** With this one each of the broken pipelines is found out, in few rounds. */
const CONTROL_SEED = 7;
const ROUNDS = { sqlite: 150, postgres: 60 };

const RETRIES = { attempts: 2, firstDelayMs: 5 * SECOND, factor: 2, maxDelayMs: MINUTE };
const FEW: Partial<StepPolicy> = { quick: { ...RETRIES, budgetMs: 60 * MINUTE }, long: RETRIES };
const ACTIONS: Partial<StepPolicy>[] = [{ ...FEW, onFailure: 'wait' }, { ...FEW, concurrency: 1 }, { ...FEW, long: { ...DEFAULT_STEP_POLICY.long, attempts: 3 } }];

const worker = fc.constantFrom('a', 'b');
const registration = fc.nat(2);
const step = fc.nat(2);
const move = <const D extends Move['do'], T>(does: D, rest: { [K in keyof T]: fc.Arbitrary<T[K]> }): fc.Arbitrary<{ do: D } & T> =>
  fc.record(rest).map((values) => ({ do: does, ...(values as T) }));

const work = move('work', {
  workflow: fc.nat(5),
  worker,
  pick: fc.nat(2),
  hasRoom: often(true, false),
  outcome: fc.constantFrom('succeeded' as const, 'failed' as const, 'failed' as const, 'failed for good' as const, 'lost' as const),
  fate: often('goes on', 'dies before', 'dies after', 'unheard'),
  isHasty: fc.boolean(),
});
const dispatch = move('dispatch', {
  temporal: often('answers', 'is unreachable', 'refuses', 'dies after it has taken it'),
  /** `claimDue`, and for each registration a start and a mark. */
  calls: fc.oneof({ weight: 3, arbitrary: fc.constant(Infinity) }, { weight: 1, arbitrary: fc.nat(4) }),
});
/** May be made while others are. */
const made: fc.Arbitrary<Move> = fc.oneof(
  { weight: 30, arbitrary: work },
  { weight: 5, arbitrary: dispatch },
  { weight: 1, arbitrary: move('sweep', {}) },
  { weight: 2, arbitrary: move('release', {}) },
  { weight: 1, arbitrary: move('renew', { worker }) },
  { weight: 4, arbitrary: move('settle late', { attempt: fc.nat(5), outcome: fc.constantFrom('succeeded', 'failed') }) },
  { weight: 1, arbitrary: move('cancel', { registration }) },
  { weight: 1, arbitrary: move('skip', { registration, step }) },
  { weight: 2, arbitrary: move('retry now', { registration, step }) },
  { weight: 3, arbitrary: move('redrive', { registration, step, which: fc.constantFrom('failed', 'all', 'from'), version: fc.constantFrom('pinned', 'deployed') }) },
  { weight: 1, arbitrary: move('pause', { action: fc.nat(ACTIONS.length) }) },
  { weight: 1, arbitrary: move('resume', { action: fc.nat(ACTIONS.length) }) },
  { weight: 1, arbitrary: move('look', { registration }) },
);
const alone: fc.Arbitrary<Move> = fc.oneof(
  { weight: 3, arbitrary: move('sign up', {}) },
  { weight: 12, arbitrary: move('wait', { ms: fc.constantFrom(2 * SECOND, 10 * SECOND, 35 * SECOND, 4 * MINUTE) }) },
  { weight: 5, arbitrary: move('stall', { worker }) },
  { weight: 1, arbitrary: move('restart all', {}) },
  { weight: 1, arbitrary: move('lose Temporal', {}) },
  { weight: 1, arbitrary: move('lose looks', {}) },
  { weight: 3, arbitrary: move('double', { registration }) },
  { weight: 1, arbitrary: move('terminate', { registration }) },
  { weight: 1, arbitrary: move('cancel in the Web UI', { registration }) },
);
const moves = fc.oneof({ weight: 4, arbitrary: fc.tuple(made) }, { weight: 3, arbitrary: fc.tuple(made, made) }, { weight: 2, arbitrary: fc.tuple(alone) });

describeEachStore('pipeline', (fresh) => {
  test('every registration reaches one outcome per step by legal ways, whatever dies, is lost, doubled, paused or asked for', { timeout: 120_000 }, async () => {
    const store = await fresh();
    const usher = await withActions(store);
    await fc.assert(pipeline(usher), { numRuns: ROUNDS[store.dialect], interruptAfterTimeLimit: AT_MOST_MS });
  });
});

type Breaks = (usher: TestStore, parts: Parts) => Parts;

const CONTROLS: Record<string, { breaks: Breaks; rule: RegExp }> = {
  'a claim that overlooks who is alive': {
    breaks: ({ database: { db } }, parts) => ({
      ...parts,
      ledger: {
        ...parts.ledger,
        async claimStep(input) {
          const hidden = await db.updateTable('attempt').set({ ended_at: 1 }).where('step_id', '=', input.stepId).where('ended_at', 'is', null).returning('id').execute();
          const answer = await parts.ledger.claimStep(input);
          for (const { id } of hidden) await db.updateTable('attempt').set({ ended_at: null }).where('id', '=', id).execute();
          return answer;
        },
      },
    }),
    rule: /at most one attempt at a step is alive|no more attempts are alive/,
  },
  'a registration that is closed over an open step': {
    breaks: ({ database: { db } }, parts) => ({
      ...parts,
      ledger: {
        ...parts.ledger,
        async cancelRegistration(id) {
          await db.updateTable('registration').set({ state: 'closed', outcome: 'cancelled' }).where('id', '=', id).execute();
          return { outcome: 'cancelled', steps: [] };
        },
      },
    }),
    rule: /a closed registration has no open step|the outcome is that of the steps/,
  },
  'a success that is forgotten': {
    breaks: ({ database: { db } }, parts) => ({
      ...parts,
      ledger: {
        ...parts.ledger,
        async settleAttempt(end) {
          const settled = await parts.ledger.settleAttempt(end);
          if (settled.state !== 'succeeded') return settled;
          await db.updateTable('step').set({ state: 'pending' }).where('id', '=', (eb) => eb.selectFrom('attempt').select('step_id').where('id', '=', end.attemptId)).execute();
          return { state: 'retry', delayMs: 0 };
        },
      },
    }),
    rule: /what has succeeded runs again only with a new key|a step goes only where it may/,
  },
  'held steps that nobody lets go': {
    breaks: (_, parts) => ({ ...parts, releases: { ...parts.releases, round: () => Promise.resolve(0) } }),
    rule: /every registration reaches its outcome/,
  },
  'an outbox that forgets what it has claimed': {
    breaks: ({ database: { db } }, parts) => ({
      ...parts,
      outbox: {
        ...parts.outbox,
        async claimDue(options) {
          const claimed = await parts.outbox.claimDue(options);
          for (const { registrationId } of claimed) await db.updateTable('registration').set({ due_at: null, check_at: null }).where('id', '=', registrationId).execute();
          return claimed;
        },
      },
    }),
    rule: /every registration reaches its outcome|nothing due is left behind/,
  },
};

describeEachStore('the pipeline test', (fresh) => {
  test.each(Object.entries(CONTROLS))('notices %s', { timeout: 280_000 }, async (_, { breaks, rule }) => {
    const usher = await withActions(await fresh());
    const found = await fc.check(pipeline(usher, breaks), { numRuns: 60, seed: CONTROL_SEED, endOnFailure: true });
    expect(found.failed).toBe(true);
    expect(String(found.errorInstance)).toMatch(rule);
  });
}, ['sqlite']);

function pipeline(usher: TestStore, breaks: Breaks = (_, parts) => parts) {
  const world = createWorld(usher, (parts) => breaks(usher, parts));
  // So few that whoever tries for all, five minutes apart, is through within the time that `rest` gives.
  const phase = fc.record({ rounds: fc.array(moves, { minLength: 10, maxLength: 60, size: 'max' }), failuresLeft: fc.array(fc.nat(4), { minLength: ACTIONS.length, maxLength: ACTIONS.length }) });
  // The second finds what the first has brought to its end.
  return fc.asyncProperty(fc.constantFrom(0, 8), fc.array(phase, { minLength: 1, maxLength: 2 }), async (failures, phases) => {
    await world.begin(failures);
    for (const { rounds, failuresLeft } of phases) {
      for (const together of rounds) await world.act(...together);
      await world.rest(failuresLeft);
    }
  });
}

/** Nothing here is about power cuts, and a disk that others write to makes each commit wait. */
async function withActions(store: EmptyStore): Promise<TestStore> {
  const usher = await prepareStore(store.open({ isEachSynced: false }));
  await bindActions(usher, ACTIONS.map((policy, index) => ({ name: `Action ${index}`, policy })));
  return usher;
}

/** Mostly the first. */
function often<const T>(usual: T, ...rare: T[]): fc.Arbitrary<T> {
  return fc.oneof({ weight: 3, arbitrary: fc.constant(usual) }, { weight: 1, arbitrary: fc.constantFrom(...rare) });
}
