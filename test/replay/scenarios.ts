import { newId } from '../../src/domain/ids.ts';
import type { InvocationResult } from '../../src/domain/invocation.ts';
import { DEFAULT_STEP_POLICY } from '../../src/domain/policy.ts';
import { lookSignal, workflowIdOf } from '../../workflows/messages.ts';
import { until } from '../e2e/until.ts';
import { fails, hanging, type Harness, HOUR, type Script, succeeds } from '../workflows/harness.ts';

/** Runs one registration. @returns its id. */
type Scenario = (harness: Harness) => Promise<string>;

/** The paths through the workflow whose histories are kept. */
export const SCENARIOS: Record<string, Scenario> = {
  'all-succeeded': (harness) => runAll(harness, [{ name: 'A', script: succeeds }, { name: 'B', script: succeeds }]),

  'retried-then-succeeded': (harness) => runAll(harness, [{ name: 'A', script: ({ attempt }) => (attempt < 3 ? { error: {} } : {}) }]),

  'two-parked-then-succeeded': (harness) => runAll(harness, [
    { name: 'A', script: ({ now }) => (now < HOUR ? { error: {} } : {}) },
    { name: 'B', script: succeeds },
    { name: 'C', script: ({ now }) => (now < 2 * HOUR ? { error: {} } : {}) },
  ]),

  'failed-for-good': (harness) => runAll(harness, [{ name: 'A', script: () => ({ error: { retryable: false } }) }, { name: 'B', script: succeeds }]),

  'waited-then-blocked': (harness) => runAll(harness, [
    { name: 'A', script: ({ now }) => ({ error: { retryable: now < HOUR } }), policy: { onFailure: 'wait' } },
    { name: 'B', script: succeeds },
  ]),

  'held': (harness) => runAll(harness, [{ name: 'A', script: ({ attempt }) => (attempt < 3 ? 'not-run' : {}) }]),

  'unrecorded': async (harness) => {
    refuseFirstRecord(harness);
    return await runAll(harness, [{ name: 'A', script: succeeds }]);
  },

  'unrecorded-then-retried': async (harness) => {
    refuseFirstRecord(harness);
    return await runAll(harness, [{ name: 'A', script: ({ attempt }) => (attempt === 1 ? { error: {} } : {}) }]);
  },

  'unknown-registration': async (harness) => {
    const id = newId();
    await harness.start(id);
    return await ended(harness, id);
  },

  'signalled-while-loading': async (harness) => {
    const id = await harness.register([{ name: 'A', script: succeeds }]);
    lookBefore('loadOpenSteps', 1, harness, id);
    await harness.run(id);
    return id;
  },

  'signalled-while-closing': async (harness) => {
    const id = await harness.register([{ name: 'A', script: succeeds }]);
    lookBefore('closeRegistration', 1, harness, id);
    await harness.run(id);
    return id;
  },

  'cancelled-while-parked': async (harness) => {
    const id = await harness.register([{ name: 'A', script: () => ({ error: {} }) }, { name: 'B', script: succeeds }]);
    const handle = await harness.start(id);
    await harness.env.sleep(5 * 60_000);
    await handle.cancel();
    await handle.result().catch(() => undefined);
    return id;
  },

  'cancelled-by-look': async (harness) => {
    const id = await parked(harness, [{ name: 'A', script: () => ({ error: {} }) }, { name: 'B', script: succeeds }]);
    await harness.ask((commands, tx) => commands.cancel(tx, id));
    return await ended(harness, id);
  },

  'cancelled-while-an-attempt-runs': async (harness) => {
    const { id, handle } = await running(harness, hanging().script);
    await handle.cancel();
    return await ended(harness, id);
  },

  'cancelled-by-look-while-an-attempt-runs': async (harness) => {
    const { id } = await running(harness, hanging().script);
    await harness.ask((commands, tx) => commands.cancel(tx, id));
    return await ended(harness, id);
  },

  'skipped-while-an-attempt-runs': async (harness) => {
    const { id } = await running(harness, hanging().script);
    const stepId = await firstStep(harness, id);
    await harness.ask((commands, tx) => commands.skip(tx, id, stepId));
    return await ended(harness, id);
  },

  'redriven-while-an-attempt-runs': async (harness) => {
    const { seen, script } = hanging();
    const { id } = await running(harness, script);
    const { isStepOpen } = harness.ledger;
    // The attempt has been told that its workflow stops it, and asks whether it is still wanted.
    let asked = false;
    harness.ledger.isStepOpen = async (stepId) => {
      asked = true;
      return await isStepOpen(stepId);
    };
    await harness.ask((commands, tx) => commands.redrive(tx, id, { steps: 'all', version: 'pinned' }));
    await until('the attempt has asked', () => asked);
    seen.succeed();
    return await ended(harness, id);
  },

  'retried-now-while-parked': async (harness) => {
    const id = await parked(harness, [{ name: 'A', script: ({ attempt }) => (attempt < 7 ? { error: {} } : {}) }, { name: 'B', script: succeeds }]);
    const stepId = await firstStep(harness, id);
    await harness.ask((commands, tx) => commands.retryNow(tx, id, stepId));
    return await ended(harness, id);
  },

  'skipped-while-parked': async (harness) => {
    const id = await parked(harness, [{ name: 'A', script: () => ({ error: {} }), policy: { onFailure: 'wait' } }, { name: 'B', script: succeeds }]);
    const stepId = await firstStep(harness, id);
    await harness.ask((commands, tx) => commands.skip(tx, id, stepId));
    return await ended(harness, id);
  },

  'redriven-while-parked': async (harness) => {
    const id = await parked(harness, [
      { name: 'A', script: ({ attempt }) => (attempt === 1 ? { error: { retryable: false } } : {}) },
      { name: 'B', script: ({ now }) => (now < HOUR ? { error: {} } : {}) },
    ]);
    await harness.ask((commands, tx) => commands.redrive(tx, id, { steps: 'failed', version: 'pinned' }));
    return await ended(harness, id);
  },

  'let-go-after-a-pause': async (harness) => {
    await harness.flow.pauseTrigger('client1');
    const id = await harness.register([{ name: 'A', script: succeeds }, { name: 'B', script: succeeds }]);
    await harness.pass(10 * 60_000);
    await harness.flow.resumeTrigger('client1');
    await harness.pass(15_000);
    return await ended(harness, id);
  },
};

/** Those on a server that asks for a new run soon: of each, the history of the first run is kept. */
export const CONTINUED: Record<string, Scenario> = {
  'continued-as-new-by-look': async (harness) => {
    const policy = { quick: { ...DEFAULT_STEP_POLICY.quick, attempts: 1 } };
    const id = await harness.register([{ name: 'A', script: fails, policy }]);
    await harness.dispatch();
    const firstRun = await runIdOf(harness, id);
    const stepId = await firstStep(harness, id);
    const isParked = async () => (await harness.ledger.readRegistration(id))!.steps[0]!.state === 'parked';
    for (let attempts = 1; (await runIdOf(harness, id)) === firstRun; attempts++) {
      await until('it is parked', async () => harness.made.length === attempts && (await isParked()));
      await harness.ask((commands, tx) => commands.retryNow(tx, id, stepId));
      await until('it is tried again', () => harness.made.length > attempts);
    }
    await harness.ask((commands, tx) => commands.cancel(tx, id));
    return await ended(harness, id);
  },

  'continued-as-new-while-held': (harness) => runAll(harness, [
    { name: 'A', script: ({ attempt }) => (attempt < 5 ? Promise.resolve({ outcome: 'not-run', reason: 'no free slot', delayMs: 100 }) : {}) },
  ]),

  'continued-as-new-while-closing': async (harness) => {
    const id = await harness.register([{ name: 'A', script: succeeds }]);
    lookBefore('closeRegistration', 4, harness, id);
    await harness.run(id);
    return id;
  },

  'continued-as-new-after-a-cancellation': async (harness) => {
    let die: (() => void) | undefined;
    const script: Script = ({ attempt, signal }) => {
      if (attempt > 1) return {};
      return new Promise<InvocationResult>((resolve) => signal.addEventListener('abort', () => (die = () => resolve({ outcome: 'cancelled' }))));
    };
    const { id, handle } = await running(harness, script);
    await handle.cancel();
    const kill = await until('the attempt is to die', () => die);
    await harness.ask((commands, tx) => commands.redrive(tx, id, { steps: 'failed', version: 'pinned' }));
    kill();
    return await ended(harness, id);
  },
};

/** A registration with an attempt under way. */
async function running(harness: Harness, script: Script) {
  const id = await harness.register([{ name: 'A', script }, { name: 'B', script: succeeds }]);
  await harness.dispatch();
  await until('the attempt is under way', () => harness.made.length === 1);
  return { id, handle: harness.env.client.workflow.getHandle(workflowIdOf(id)) };
}

/** The end of the first attempt cannot be written by whoever made it. */
function refuseFirstRecord({ ledger }: Harness): void {
  const { settleAttempt } = ledger;
  let refused = false;
  ledger.settleAttempt = (end) => {
    if (refused) return settleAttempt(end);
    refused = true;
    return Promise.reject(new Error('the disk is full'));
  };
}

/** Sends a look while this activity is under way, the first `times` that it is. */
function lookBefore(name: string, times: number, harness: Harness, id: string): void {
  let looks = 0;
  harness.before(async (activity) => {
    if (activity === name && looks++ < times) await harness.env.client.workflow.getHandle(workflowIdOf(id)).signal(lookSignal);
  });
}

async function runIdOf(harness: Harness, id: string): Promise<string> {
  return (await harness.env.client.workflow.getHandle(workflowIdOf(id)).describe()).runId;
}

/** A registration of which something is parked, and waits. */
async function parked(harness: Harness, actions: Parameters<Harness['register']>[0]): Promise<string> {
  const id = await harness.register(actions);
  await harness.dispatch();
  await harness.env.sleep(90_000);
  return id;
}

async function ended(harness: Harness, id: string): Promise<string> {
  await harness.env.client.workflow.getHandle(workflowIdOf(id)).result().catch(() => undefined);
  return id;
}

async function firstStep(harness: Harness, id: string): Promise<string> {
  return (await harness.ledger.readRegistration(id))!.steps[0]!.id;
}

async function runAll(harness: Harness, actions: Parameters<Harness['register']>[0]): Promise<string> {
  const id = await harness.register(actions);
  await harness.run(id);
  return id;
}
