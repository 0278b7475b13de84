import { lookSignal, workflowIdOf } from '../../workflows/messages.ts';
import { type Harness, HOUR, succeeds } from '../workflows/harness.ts';

/** The paths through the workflow whose histories are kept: each runs one registration and returns its id. */
export const SCENARIOS: Record<string, (harness: Harness) => Promise<string>> = {
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
    const { settleAttempt } = harness.ledger;
    let refused = false;
    harness.ledger.settleAttempt = (end) => {
      if (refused) return settleAttempt(end);
      refused = true;
      return Promise.reject(new Error('the disk is full'));
    };
    return await runAll(harness, [{ name: 'A', script: succeeds }]);
  },

  'signalled-while-closing': async (harness) => {
    const id = await harness.register([{ name: 'A', script: succeeds }]);
    const handle = await harness.start(id);
    let signalled = false;
    harness.before(async (activity) => {
      if (activity !== 'closeRegistration' || signalled) return;
      signalled = true;
      await handle.signal(lookSignal);
    });
    await handle.result();
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
