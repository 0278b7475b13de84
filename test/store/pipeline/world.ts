import { pino } from 'pino';
import { createDispatcher } from '../../../src/registration/dispatcher.ts';
import { createSweep } from '../../../src/registration/sweep.ts';
import { createFlowStore } from '../../../src/store/flow.ts';
import { createLedgerCommands, type RedriveOptions } from '../../../src/store/ledger-commands.ts';
import type { Ledger } from '../../../src/store/ledger.ts';
import type { Outbox } from '../../../src/store/outbox.ts';
import { createReleases, type Releases } from '../../../src/store/releases.ts';
import { removeRegistrations } from '../../../src/store/remove-registrations.ts';
import type { RegistrationStarter } from '../../../src/temporal/registration-starter.ts';
import { letTimePass, signUpOf, type TestStore } from '../../helpers/stores.ts';
import { LEASE_MS, MINUTE } from '../steps.ts';
import { type Cause, checkAtRest, checkChange, type Snapshot, takeSnapshot } from './rules.ts';
import { type Circumstances, endOf, goOn, newWorkflow, sleeps, type Workflow } from './workflows.ts';

/** Numbers choose among what there is at that moment. */
export type Move =
  | { do: 'sign up' }
  | ({ do: 'work'; workflow: number; outcome: 'succeeded' | 'failed' | 'failed for good' | 'lost' } & Pick<Circumstances, 'worker' | 'pick' | 'hasRoom' | 'fate' | 'isHasty'>)
  | { do: 'dispatch'; temporal: 'answers' | 'is unreachable' | 'refuses' | 'dies after it has taken it'; calls: number }
  | { do: 'sweep' | 'release' | 'lose Temporal' | 'lose looks' | 'restart all' }
  | { do: 'renew' | 'stall'; worker: string }
  | { do: 'settle late'; attempt: number; outcome: 'succeeded' | 'failed' }
  | { do: 'cancel' | 'terminate' | 'cancel in the Web UI' | 'double' | 'look'; registration: number }
  | { do: 'skip' | 'retry now'; registration: number; step: number }
  | { do: 'redrive'; registration: number; step: number; which: 'failed' | 'all' | 'from'; version: RedriveOptions['version'] }
  | { do: 'pause' | 'resume'; action: number }
  | { do: 'wait'; ms: number };

/** The parts that a control can break. */
export interface Parts {
  ledger: Ledger;
  outbox: Outbox;
  releases: Releases;
}

const MAX_REGISTRATIONS = 3;
/** Together below the hour after which a held step asks by itself. */
const HOPS = 45;
const UNREACHABLE = new Error('Temporal is unreachable');
const DEAD = new Error('this process is dead');
const logger = pino({ level: 'silent' });
let signUps = 0;

/** A store with Usher's own ledger, outbox, dispatcher, sweep, releases and commands, and with a Temporal and workers that are played. */
export function createWorld(usher: TestStore, breakParts: (parts: Parts) => Parts = (parts) => parts) {
  const { database } = usher;
  const commands = createLedgerCommands({ database });
  const flow = createFlowStore({ database, keyring: usher.keyring });
  const parts = breakParts({ ledger: usher.ledger, outbox: usher.outbox, releases: createReleases({ database }) });
  const { outbox, releases } = parts;

  let causes: Cause[] = [];
  const because = <A extends unknown[], R>(cause: Cause, call: (...args: A) => R) => (...args: A): R => {
    causes.push(cause);
    return call(...args);
  };
  const ledger: Ledger = {
    ...parts.ledger,
    claimStep: because('claim', parts.ledger.claimStep),
    settleAttempt: because('settle', parts.ledger.settleAttempt),
    settleUnrecorded: because('settle', parts.ledger.settleUnrecorded),
    closeRegistration: because('close', parts.ledger.closeRegistration),
    cancelRegistration: because('cancel', parts.ledger.cancelRegistration),
    recordCancelledByOperator: because('cancel', parts.ledger.recordCancelledByOperator),
  };

  let registrations: { id: string; steps: string[] }[] = [];
  let workflows: Workflow[] = [];
  let actionIds: string[] = [];
  let givenUp: string[] = [];
  let lives = 0;
  let now = 0;
  let last: Snapshot;

  const starter: RegistrationStarter = {
    start({ registrationId }) {
      const running = workflows.filter((each) => each.registrationId === registrationId && each.status === 'running');
      for (const workflow of running) workflow.looked = true;
      if (running.length === 0) workflows.push(newWorkflow(registrationId));
      return Promise.resolve();
    },
    describe(registrationId) {
      const workflow = workflows.findLast((each) => each.registrationId === registrationId);
      if (workflow?.status === 'running' && sleeps(workflow, now)) return Promise.resolve({ status: 'idle', endedAt: null });
      return Promise.resolve({ status: workflow?.status ?? 'unknown', endedAt: Date.now() });
    },
    namespaceId: () => Promise.resolve('namespace'),
    isUnreachable: (error) => error === UNREACHABLE,
  };

  /** One batch of a real dispatcher, which dies after so many calls. */
  async function dispatch({ temporal, calls }: Move & { do: 'dispatch' }): Promise<void> {
    let left = calls;
    const mortal = <A extends unknown[], R>(call: (...args: A) => Promise<R>) => (...args: A): Promise<R> => (left-- > 0 ? call(...args) : Promise.reject(DEAD));
    const start = mortal(async (due: Parameters<RegistrationStarter['start']>[0]) => {
      if (temporal === 'is unreachable') throw UNREACHABLE;
      if (temporal === 'refuses') throw new Error('refused');
      await starter.start(due);
      if (temporal === 'dies after it has taken it') throw UNREACHABLE;
    });
    const dispatcher = createDispatcher({
      outbox: { ...outbox, claimDue: mortal(outbox.claimDue), markHandedOver: mortal(outbox.markHandedOver), releaseClaims: mortal(outbox.releaseClaims), backOff: mortal(outbox.backOff) },
      starter: { ...starter, start, isUnreachable: (error) => error === UNREACHABLE || error === DEAD },
      look: () => Promise.resolve(),
      answersFirst: () => Promise.resolve(),
      logger,
    });
    dispatcher.start();
    // It ends after the batch under way.
    await dispatcher.stop();
  }

  /** One round of a real sweep. */
  async function sweep(): Promise<void> {
    const { promise: asked, resolve } = Promise.withResolvers<void>();
    const claimForCheck: Outbox['claimForCheck'] = (options) => {
      resolve();
      return outbox.claimForCheck(options);
    };
    const round = createSweep({ outbox: { ...outbox, claimForCheck }, ledger, starter, histories: { remove: () => Promise.resolve(true) }, wake() {}, logger, intervalMs: 1 });
    round.start();
    await asked;
    await round.stop();
  }

  /** Temporal gives these attempts up; they may still come to an end of their own. */
  function giveUp(worker: (id: string) => boolean): void {
    for (const { lanes } of workflows) {
      for (const lane of lanes.values()) {
        if (lane.attempt === null || !worker(lane.attempt.worker)) continue;
        givenUp.push(lane.attempt.id);
        lane.attempt = null;
      }
    }
  }

  async function renew(worker: string): Promise<void> {
    const lanes = workflows.flatMap((workflow) => [...workflow.lanes.values()]);
    const kept = lanes.flatMap((lane) => (lane.attempt?.worker === worker ? [{ lane, id: lane.attempt.id }] : []));
    if (kept.length === 0) return;
    const held = await ledger.renewLeases({ attemptIds: kept.map(({ id }) => id), leaseMs: LEASE_MS });
    for (const { lane, id } of kept) {
      // It may have ended meanwhile.
      if (held.has(id) || lane.attempt?.id !== id) continue;
      lane.attempt = null;
      await ledger.settleAttempt(endOf(id, 'lost'));
    }
  }

  function running(): Workflow[] {
    return workflows.filter(({ status }) => status === 'running');
  }

  const command = async (cause: Cause, run: (tx: Parameters<typeof commands.cancel>[0]) => Promise<unknown>) => {
    causes.push(cause);
    await database.transaction(run);
  };

  async function make(move: Move): Promise<void> {
    const registration = 'registration' in move ? registrations[move.registration % registrations.length] : undefined;
    if ('registration' in move && registration === undefined) return;
    const id = registration?.id ?? '';
    const step = registration !== undefined && 'step' in move ? registration.steps[move.step % registration.steps.length]! : '';
    switch (move.do) {
      case 'sign up': {
        if (registrations.length >= MAX_REGISTRATIONS) return;
        const { registrationId } = await usher.register(signUpOf(`user-${signUps++}@example.com`));
        registrations.push({ id: registrationId, steps: (await ledger.loadOpenSteps(registrationId)).map(({ stepId }) => stepId) });
        return;
      }
      case 'work': {
        const workflow = running()[move.workflow % running().length];
        if (workflow !== undefined) await goOn(ledger, workflow, { ...move, worker: `${move.worker}-${lives}`, outcome: () => move.outcome, now });
        return;
      }
      case 'dispatch':
        return await dispatch(move);
      case 'sweep':
        return await sweep();
      case 'release':
        return void (await releases.round());
      case 'look':
        return await outbox.makeDue(id);
      case 'lose Temporal':
        giveUp(() => true);
        workflows = [];
        return void (await outbox.makeAllOpenDue());
      case 'lose looks':
        // As a Temporal that was put back to a moment before them.
        for (const workflow of running()) workflow.looked = false;
        return;
      case 'restart all':
        giveUp(() => true);
        givenUp = [];
        lives++;
        // The lock of the embedded store proves that no other worker lives.
        if (database.dialect === 'sqlite') await ledger.endLostAttempts({ exceptWorkerId: `a-${lives}` });
        return;
      case 'renew':
        return await renew(`${move.worker}-${lives}`);
      case 'stall':
        return giveUp((worker) => worker === `${move.worker}-${lives}`);
      case 'settle late': {
        const attemptId = givenUp[move.attempt % givenUp.length];
        if (attemptId !== undefined) await ledger.settleAttempt(endOf(attemptId, move.outcome));
        return;
      }
      case 'double': {
        // A Temporal that was restored knows an older moment of the same workflow.
        if (workflows.filter((each) => each.registrationId === id).length < 3) workflows.push(newWorkflow(id));
        return;
      }
      case 'terminate':
        for (const workflow of running()) if (workflow.registrationId === id) workflow.status = 'terminated';
        return;
      case 'cancel in the Web UI':
        await ledger.cancelRegistration(id);
        for (const workflow of running()) if (workflow.registrationId === id) workflow.status = 'cancelled';
        return;
      case 'cancel':
        return await command('cancel', (tx) => commands.cancel(tx, id));
      case 'skip':
        return await command('skip', (tx) => commands.skip(tx, id, step));
      case 'retry now':
        return await command('retry now', (tx) => commands.retryNow(tx, id, step));
      case 'redrive':
        return await command('redrive', (tx) => commands.redrive(tx, id, { steps: move.which === 'from' ? { from: step } : move.which, version: move.version }));
      case 'pause':
      case 'resume':
        return await (move.do === 'pause' ? pause(move.action) : resume(move.action));
      case 'wait':
        now += move.ms;
        return await letTimePass(usher, move.ms);
    }
  }

  /** One beyond the Actions is their trigger. */
  async function pause(action: number): Promise<void> {
    if (action < actionIds.length) await flow.pauseAction(actionIds[action]!, 'client');
    else await flow.pauseTrigger('client');
  }

  async function resume(action: number): Promise<void> {
    causes.push('resume');
    if (action < actionIds.length) await flow.resumeAction(actionIds[action]!, 'client');
    else await flow.resumeTrigger('client');
  }

  /** Does several things at once, as other processes would, and checks the rules. @returns what they returned. */
  async function together<T>(works: (() => Promise<T>)[]): Promise<T[]> {
    causes = [];
    // All have ended before anything is said about one that failed.
    const done = await Promise.allSettled(works.map((work) => work()));
    const results = done.map((each) => {
      if (each.status === 'rejected') throw each.reason;
      return each.value;
    });
    const after = await takeSnapshot(database);
    checkChange(last, after, causes);
    last = after;
    return results;
  }

  async function act(...moves: Move[]): Promise<void> {
    await together(moves.map((move) => () => make(move)));
  }

  return {
    act,

    /** An empty pipeline. @param failures that each receiver has had in a row already. */
    async begin(failures: number): Promise<void> {
      await database.transaction((tx) => removeRegistrations(tx, registrations.map(({ id }) => id)));
      await database.db.deleteFrom('flow').execute();
      registrations = [];
      workflows = [];
      givenUp = [];
      now = 0;
      lives++;
      const bound = await database.db.selectFrom('binding').select('action_id').orderBy('position').execute();
      actionIds = bound.map((each) => each.action_id);
      if (failures > 0) await database.db.insertInto('flow').values(actionIds.map((id) => ({ id: `action/${id}`, failures, updated_at: 0 }))).execute();
      last = await takeSnapshot(database);
      await act({ do: 'sign up' });
    },

    /**
     * Everything is resumed and works, and time passes, until nothing is left to do; then every registration must be at its end.
     *
     * @param failuresLeft attempts of each Action that still fail.
     */
    async rest(failuresLeft: number[]): Promise<void> {
      const left = new Map(actionIds.map((id, index) => [id, failuresLeft[index] ?? 0]));
      const outcome: Circumstances['outcome'] = ({ actionId }) => {
        const failures = left.get(actionId) ?? 0;
        left.set(actionId, failures - 1);
        return failures > 0 ? 'failed' : 'succeeded';
      };
      const how = { worker: `a-${lives}`, hasRoom: true, outcome, fate: 'goes on', isHasty: false } as const;
      await act(...[...actionIds, 'trigger'].map((_, action): Move => ({ do: 'resume', action })));
      for (let hop = 0; hop < HOPS; hop++) {
        for (let works = true, turns = 0; works && turns < 100; turns++) {
          await act({ do: 'release' }, { do: 'dispatch', temporal: 'answers', calls: Infinity });
          works = (await together(running().map((workflow) => () => goOn(ledger, workflow, { ...how, pick: turns, now })))).includes(true);
        }
        const isOver = [...last.registrations.values()].every(({ state, due_at: dueAt }) => state === 'closed' && dueAt === null);
        if (isOver && running().length === 0) break;
        await act({ do: 'wait', ms: MINUTE });
        await act({ do: 'sweep' });
      }
      checkAtRest(last);
    },
  };
}
