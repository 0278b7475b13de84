import { pino } from 'pino';
import { expect, test } from 'vitest';
import { createUpkeep } from '../../src/roles/upkeep.ts';

test('what has much to do does not keep the others waiting, nor one that fails', async () => {
  const done = { much: 0, little: 0 };
  const upkeep = createUpkeep({
    logger: pino({ level: 'silent' }),
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
