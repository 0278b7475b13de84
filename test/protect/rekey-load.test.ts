import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { createRegister } from '../../src/registration/register.ts';
import { createCodecKeys } from '../../src/store/codec-keys.ts';
import { createKeyring } from '../../src/store/keyring.ts';
import { createLedger } from '../../src/store/ledger.ts';
import { createRekey } from '../../src/store/rekey.ts';
import type { Database } from '../../src/store/database.ts';
import { describeEachStore } from '../helpers/each-store.ts';
import { bindActions, prepareStore, signUpOf, TEST_MASTER_KEY } from '../helpers/stores.ts';

const NEW_KEY = randomBytes(32);
/** Longer than a process may take to learn of the new key. */
const SETTLE_MS = 8_000;

describeEachStore('replacing the master key under load', (fresh) => {
  test('no sign-up and no Action fails, whatever each process was given so far, and then the key before is not needed', async () => {
    const store = await fresh();
    await bindActions(await prepareStore(store.open()), [{ name: 'Notify' }]);
    const ending = new AbortController();
    const errors: unknown[] = [];
    const made: string[] = [];
    let done = 0;

    /** What a role has of the store; `restart` gives it other keys while it works. */
    async function startProcess(work: (parts: { register: ReturnType<typeof createRegister>; ledger: ReturnType<typeof createLedger> }) => Promise<void>) {
      const database = store.open();
      const open = async (key: Buffer, previous: Buffer | null) => {
        const keyring = createKeyring(database, key, previous);
        await keyring.prepare();
        return { register: createRegister({ database, keyring, onCommitted: () => undefined }), ledger: createLedger({ database, keyring }) };
      };
      let parts = await open(TEST_MASTER_KEY, null);
      const running = (async () => {
        while (!ending.signal.aborted) {
          await work(parts).catch((error: unknown) => errors.push(error));
          await sleep(2);
        }
      })();
      return { running, restart: async (key: Buffer, previous: Buffer | null) => void (parts = await open(key, previous)) };
    }

    let count = 0;
    const signUp: Parameters<typeof startProcess>[0] = async ({ register }) => {
      const email = `user${count++}@example.com`;
      made.push((await register(signUpOf(email, { event: { user: { email } } }))).registrationId);
    };
    const run: Parameters<typeof startProcess>[0] = async ({ ledger }) => {
      const registrationId = made[done];
      if (registrationId === undefined) return;
      const [step] = await ledger.loadOpenSteps(registrationId);
      const claim = await ledger.claimStep({ registrationId, stepId: step!.stepId, phase: 'quick', workerId: 'w', leaseMs: 30_000 });
      if (claim.claim !== 'claimed') throw new Error(`not claimed but ${claim.claim}`);
      await ledger.settleAttempt({ attemptId: claim.step.attempt.id, outcome: 'succeeded', endedAt: 1, retryAfterMs: 0, logs: [{ at: 1, level: 'log', text: 'l' }], logsTruncated: false, calls: [], cacheChanges: [] });
      await ledger.closeRegistration(registrationId);
      done++;
    };
    const processes = [await startProcess(signUp), await startProcess(signUp), await startProcess(run)];
    const progress = async (more: number) => {
      const [signUps, runs] = [made.length, done];
      await expect.poll(() => made.length > signUps + more && done > runs + more, { timeout: 20_000 }).toBe(true);
    };

    await progress(20);
    for (const each of processes) {
      await each.restart(NEW_KEY, TEST_MASTER_KEY);
      await progress(5);
    }
    const database: Database = store.open();
    const both = createKeyring(database, NEW_KEY, TEST_MASTER_KEY);
    await both.prepare();
    const rekey = createRekey({ database, keyring: both, settleMs: SETTLE_MS });
    await rekey.begin('admin');
    await createCodecKeys({ database, keyring: both }).rotate('admin');
    await expect.poll(async () => {
      await rekey.step();
      return (await rekey.progress())!.endedAt !== null;
    }, { timeout: 30_000, interval: 20 }).toBe(true);
    for (const each of processes) {
      await each.restart(NEW_KEY, null);
      await progress(5);
    }
    ending.abort();
    await Promise.all(processes.map(({ running }) => running));

    expect(errors).toEqual([]);
    const under = await database.db.selectFrom('data_key').select('master_key_id').distinct().execute();
    expect(under).toEqual([{ master_key_id: both.masterKeyId }]);
    const alone = createKeyring(store.open(), NEW_KEY);
    await alone.prepare();
    for (const row of await database.db.selectFrom('registration').selectAll().execute()) {
      expect(await alone.openJson(row.key_id, `registration/${row.id}/event`, row.event_sealed)).toMatchObject({ user: {} });
    }
  });
});
