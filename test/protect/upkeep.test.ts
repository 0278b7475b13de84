import { pino } from 'pino';
import { expect, test } from 'vitest';
import { createUpkeep } from '../../src/roles/upkeep.ts';
import { upkeepTasks } from '../../src/roles/upkeep-tasks.ts';
import { createCodecKeys } from '../../src/store/codec-keys.ts';
import { createErasureStore } from '../../src/store/erasure.ts';
import { describeEachStore } from '../helpers/each-store.ts';
import { bindActions, prepareStore, signUpOf } from '../helpers/stores.ts';

const logger = pino({ level: 'silent' });

test('what has much to do does not keep the others waiting, nor one that fails', async () => {
  const done = { much: 0, little: 0 };
  const upkeep = createUpkeep({
    logger,
    tasks: [
      { name: 'a failure', step: () => Promise.reject(new Error('no luck')) },
      { name: 'much', step: () => Promise.resolve(++done.much > 0) },
      { name: 'little', step: () => Promise.resolve(++done.little < 0) },
    ],
  });
  upkeep.start();
  await expect.poll(() => done.little).toBe(1);
  const before = done.much;
  upkeep.wake();
  await expect.poll(() => done.little).toBe(2);
  await expect.poll(() => done.much).toBeGreaterThan(before + 1);
  await upkeep.stop();
  expect(done.little).toBe(2);
});

describeEachStore('the deletion of histories', (fresh) => {
  test('one that Temporal does not delete keeps the others from nothing, and is deleted once it can be', async () => {
    const usher = await prepareStore((await fresh()).open());
    await bindActions(usher, [{ name: 'Notify' }]);
    const histories = new Set<string>();
    let stuck: string | undefined;
    const tasks = upkeepTasks({
      ...usher,
      codecKeys: createCodecKeys(usher),
      retention: { registrations: null, logs: null },
      erasureSettleMs: 0,
      logger,
      histories: {
        remove: (id) => (id === stuck ? Promise.reject(new Error('internal error')) : Promise.resolve(!histories.delete(id))),
        retentionMs: () => Promise.resolve(0),
      },
    });
    const round = async () => {
      for (const { step } of tasks) while (await step());
    };
    const ids: string[] = [];
    for (let n = 0; n < 30; n++) {
      const input = signUpOf(`user${n}@example.com`);
      histories.add((await usher.register(input)).registrationId);
      ids.push((await createErasureStore(usher).begin({ userId: input.userId, clientId: 'admin' })).id);
    }
    stuck = [...histories][0];
    const statuses = async () => (await Promise.all(ids.map((id) => createErasureStore(usher).find(id)))).map(({ status }) => status);

    for (let n = 0; n < 3; n++) await round();
    expect(histories).toEqual(new Set([stuck]));
    expect(await statuses()).toEqual(['running', ...Array.from({ length: 29 }, () => 'done')]);

    stuck = undefined;
    for (let n = 0; n < 3; n++) await round();
    expect(histories).toEqual(new Set());
    expect(await statuses()).toEqual(Array.from({ length: 30 }, () => 'done'));
  });
}, ['sqlite']);
