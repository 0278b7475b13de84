import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { expect, test } from 'vitest';
import { describeEachStore, type EmptyStore } from '../helpers/each-store.ts';
import { bindActions, prepareStore } from '../helpers/stores.ts';

const SIGN_UP = new URL('processes/sign-up.ts', import.meta.url).pathname;

function signUpElsewhere(store: EmptyStore, prefix: string, count: number): { child: ChildProcess; committed: string[]; ended: Promise<unknown> } {
  const child = spawn(process.execPath, [SIGN_UP, store.place, prefix, String(count)], { stdio: ['ignore', 'pipe', 'inherit'] });
  const committed: string[] = [];
  createInterface(child.stdout).on('line', (line) => committed.push(line));
  return { child, committed, ended: once(child, 'close') };
}

describeEachStore('several processes on one store', (fresh) => {
  test('sign-ups of two processes and the claims of a third go on side by side', { timeout: 280_000 }, async () => {
    const store = await fresh();
    const usher = await prepareStore(store.open());
    await bindActions(usher, [{ name: 'Notify Slack' }]);
    const count = 150;

    const processes = ['ann', 'bob'].map((prefix) => signUpElsewhere(store, prefix, count));
    let done = 0;
    while (done < 2 * count) {
      for (const due of await usher.outbox.claimDue({ limit: 20, leaseMs: 60_000 })) {
        const [step] = await usher.ledger.loadOpenSteps(due.registrationId);
        const claim = await usher.ledger.claimStep({ registrationId: due.registrationId, stepId: step!.stepId, phase: 'quick', workerId: 'w', leaseMs: 30_000 });
        if (claim.claim !== 'claimed') throw new Error(`not claimed: ${JSON.stringify(claim)}`);
        await usher.ledger.settleAttempt({ attemptId: claim.step.attempt.id, outcome: 'succeeded', endedAt: Date.now(), retryAfterMs: 0, logs: [], logsTruncated: false, calls: [], cacheChanges: [] });
        expect(await usher.ledger.closeRegistration(due.registrationId)).toMatchObject({ closed: true });
        done++;
      }
    }

    expect(done).toBe(2 * count);
    await Promise.all(processes.map(({ ended }) => ended));
    for (const { child, committed } of processes) {
      expect(child.exitCode).toBe(0);
      expect(new Set(committed).size).toBe(count);
    }
  });

  test('a process that is killed with -9 in the middle of sign-ups has lost none that it had acknowledged', async () => {
    const store = await fresh();
    const usher = await prepareStore(store.open());
    await bindActions(usher, [{ name: 'Notify Slack' }, { name: 'Update the CRM' }]);
    let survived = 0;

    for (let round = 0; round < 3; round++) {
      const { child, committed, ended } = signUpElsewhere(store, `round-${round}`, 100_000);
      const enough = 20 + round * 17;
      while (committed.length < enough && child.exitCode === null) await once(child.stdout!, 'data');
      child.kill('SIGKILL');
      await ended;
      expect(child.signalCode).toBe('SIGKILL');
      expect(committed.length).toBeGreaterThanOrEqual(enough);
      for (const id of committed) {
        const record = await usher.ledger.readRegistration(id);
        expect(record).toMatchObject({ state: 'open', steps: { length: 2 } });
      }
      survived += committed.length;
    }

    const { db } = usher.database;
    const users = await db.selectFrom('user_account').select('id').execute();
    const registrations = await db.selectFrom('registration').select('user_id').execute();
    const steps = await db.selectFrom('step').select('id').execute();
    expect(registrations.map((row) => row.user_id).toSorted()).toEqual(users.map((row) => row.id).toSorted());
    expect(steps.length).toBe(2 * registrations.length);
    // At most the one under way at each kill was committed without having been acknowledged.
    expect(registrations.length - survived).toBeLessThanOrEqual(3);
  });
});
