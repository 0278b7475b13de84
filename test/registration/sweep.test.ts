import { pino } from 'pino';
import { afterEach, expect, test } from 'vitest';
import { createSweep, type Sweep } from '../../src/registration/sweep.ts';
import type { KnownWorkflow, RegistrationStarter } from '../../src/temporal/registration-starter.ts';
import { describeEachStore } from '../helpers/each-store.ts';
import { bindActions, letTimePass, prepareStore, signUpOf, type TestStore } from '../helpers/stores.ts';

const MINUTE = 60_000;
const UNREACHABLE = new Error('Temporal is unreachable');
const RUNNING: KnownWorkflow = { status: 'running', endedAt: null };

let sweep: Sweep | undefined;

afterEach(async () => {
  await sweep?.stop();
});

describeEachStore('the sweep', (fresh) => {
  /** Registrations that Temporal took some minutes ago, and that it is asked about now. */
  async function silent(count: number): Promise<{ usher: TestStore; ids: string[] }> {
    const usher = await prepareStore((await fresh()).open());
    await bindActions(usher, [{ name: 'Notify Slack' }]);
    const ids: string[] = [];
    for (let index = 0; index < count; index++) {
      const { registrationId } = await usher.register(signUpOf(`user-${index}@example.com`));
      await usher.outbox.markHandedOver([{ registrationId, dueSeq: 1 }], { checkAfterMs: MINUTE });
      await letTimePass(usher, 2 * MINUTE);
      ids.push(registrationId);
    }
    return { usher, ids };
  }

  /** @param say what Temporal knows of a registration. @returns the ids that it is asked about, as they come. */
  function start({ outbox, ledger }: TestStore, say: (id: string) => KnownWorkflow): string[] {
    const asked: string[] = [];
    const starter: Pick<RegistrationStarter, 'describe' | 'isUnreachable'> = {
      async describe(id) {
        asked.push(id);
        return say(id);
      },
      isUnreachable: (error) => error === UNREACHABLE,
    };
    sweep = createSweep({ outbox, ledger, starter: starter as RegistrationStarter, histories: { remove: () => Promise.resolve(true) }, wake: () => undefined, logger: pino({ level: 'silent' }), intervalMs: 10 });
    sweep.start();
    return asked;
  }

  const due = async ({ database }: TestStore): Promise<string[]> => {
    const rows = await database.db.selectFrom('registration').select('id').where('due_at', 'is not', null).orderBy('id').execute();
    return rows.map(({ id }) => id);
  };

  test('tells a workflow to look that sleeps over something that is due, and leaves one alone that is at work or waits for a worker', async () => {
    const { usher, ids: [asleep, busy] } = await silent(2);
    const asked = start(usher, (id) => (id === asleep ? { status: 'idle', endedAt: null } : RUNNING));
    await expect.poll(() => asked).toEqual([asleep, busy]);
    await expect.poll(() => due(usher)).toEqual([asleep]);
  });

  test('starts what Temporal does not know, and records what a person has ended', async () => {
    const { usher, ids: [unknown, terminated] } = await silent(2);
    start(usher, (id) => (id === unknown ? { status: 'unknown', endedAt: null } : { status: 'terminated', endedAt: Date.now() }));
    await expect.poll(async () => (await usher.ledger.readRegistration(terminated!))!.outcome).toBe('cancelled');
    await expect.poll(() => due(usher)).toEqual([unknown]);
  });

  test('starts again what was handed over long after the end that a restored Temporal still knows', async () => {
    const { usher, ids: [redriven] } = await silent(1);
    start(usher, () => ({ status: 'terminated', endedAt: Date.now() - 60 * MINUTE }));
    await expect.poll(() => due(usher)).toEqual([redriven]);
    expect(await usher.ledger.readRegistration(redriven!)).toMatchObject({ state: 'open', outcome: null });
  });

  test('is not held up by one that cannot be asked about, and stops at once while Temporal is away', async () => {
    const { usher, ids } = await silent(3);
    const asked = start(usher, (id) => {
      if (id === ids[0]) throw new Error('this one cannot be read');
      if (id === ids[1]) return { status: 'unknown', endedAt: null };
      throw UNREACHABLE;
    });
    await expect.poll(() => asked).toEqual(ids);
    await expect.poll(() => due(usher)).toEqual([ids[1]]);
  });
}, ['sqlite']);
