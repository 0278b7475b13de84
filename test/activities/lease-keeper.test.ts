import { pino } from 'pino';
import { afterEach, expect, test, vi } from 'vitest';
import { createLeaseKeeper, LEASE_MS } from '../../activities/lease-keeper.ts';
import type { Claim } from '../../src/store/ledger.ts';
import { describeEachStore } from '../helpers/each-store.ts';
import { letTimePass, prepareStore } from '../helpers/stores.ts';
import { registered, SECOND } from '../store/steps.ts';

/** Rounds of renewal that go beyond a lease together. */
const ROUNDS = 5;
const ROUND_MS = 8 * SECOND;

afterEach(() => {
  vi.useRealTimers();
});

describeEachStore('the leases of a worker', (fresh) => {
  async function start() {
    const usher = await prepareStore((await fresh()).open());
    const steps = await registered(usher, [{ name: 'One' }, { name: 'Two' }]);
    // From here on: opening a store has timers of its own.
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval', 'performance', 'Date'] });
    let renewed = Promise.resolve();
    const keeper = createLeaseKeeper({
      logger: pino({ level: 'silent' }),
      ledger: {
        renewLeases(options) {
          const renewal = usher.ledger.renewLeases(options);
          renewed = renewal.then(() => undefined, () => undefined);
          return renewal;
        },
      },
    });
    keeper.start();
    return {
      usher,
      keeper,
      ...steps,
      async pass(ms: number) {
        await letTimePass(usher, ms);
        vi.advanceTimersByTime(ms);
        await renewed;
      },
    };
  }

  test('are renewed as long as their attempts run; one of which the worker knows nothing runs out meanwhile', async () => {
    const { keeper, claim, claimed, pass } = await start();
    const kept = keeper.keep((await claimed(0)).attempt.id, keeper.beforeClaim());
    await claimed(1);

    for (let round = 0; round < ROUNDS; round++) await pass(ROUND_MS);

    expect(kept.signal.aborted).toBe(false);
    expect(await claim(0, { workerId: 'another' })).toMatchObject({ claim: 'held' });
    expect(await claim(1)).toMatchObject({ claim: 'claimed', step: { attempt: { number: 2 } } });
    keeper.stop();
  });

  test('that another has taken over end their attempts', async () => {
    const { usher, keeper, claim, claimed, pass } = await start();
    const kept = keeper.keep((await claimed(0)).attempt.id, keeper.beforeClaim());
    await letTimePass(usher, LEASE_MS);
    expect(await claim(0, { workerId: 'another' })).toMatchObject({ claim: 'claimed' } satisfies Partial<Claim>);

    await pass(ROUND_MS);

    expect(kept.signal.aborted).toBe(true);
    keeper.stop();
  });

  test('that ran out while the machine slept end their attempts before the worker claims again', async () => {
    const { keeper, claimed } = await start();
    const kept = keeper.keep((await claimed(0)).attempt.id, keeper.beforeClaim());

    // The clock of the wall goes on alone.
    vi.setSystemTime(Date.now() + LEASE_MS);
    keeper.beforeClaim();

    expect(kept.signal.aborted).toBe(true);
    keeper.stop();
  });
});

test('a store that is silent ends the attempts before their leases end', async () => {
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval', 'performance', 'Date'] });
  const keeper = createLeaseKeeper({ logger: pino({ level: 'silent' }), ledger: { renewLeases: () => new Promise(() => undefined) } });
  keeper.start();
  const kept = keeper.keep('attempt', keeper.beforeClaim());

  vi.advanceTimersByTime(LEASE_MS - 6 * SECOND);
  expect(kept.signal.aborted).toBe(false);
  vi.advanceTimersByTime(2 * SECOND);
  expect(kept.signal.aborted).toBe(true);
  keeper.stop();
});
