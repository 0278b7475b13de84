import { sql } from 'kysely';
import { Writable } from 'node:stream';
import { pino } from 'pino';
import { expect, onTestFinished, test, vi } from 'vitest';
import { watchBacklog } from '../../src/observe/backlog-metrics.ts';
import { createMetrics, type Metrics } from '../../src/observe/metrics.ts';
import type { Database } from '../../src/store/database.ts';
import { writeMessage } from '../../src/store/messages.ts';
import { describeEachStore } from '../helpers/each-store.ts';
import { bindActions, letTimePass, prepareStore, signUpOf, type TestStore } from '../helpers/stores.ts';
import { MINUTE, park, registered } from '../store/steps.ts';
import { parseScrape, type Scrape, valueOf } from './scrape.ts';

/** As a process that has just started sees it: nothing is kept of an earlier scrape. */
async function scrapeOf(database: Database): Promise<Scrape> {
  return parseScrape(await watched(database).metrics.registry.metrics());
}

function watched(database: Database): { metrics: Metrics; logged: string[] } {
  const logged: string[] = [];
  const metrics = createMetrics({ role: 'api', version: 'test' });
  watchBacklog({ metrics, database, logger: pino(new Writable({ write: (line, _, done) => (logged.push(String(line)), done()) })) });
  return { metrics, logged };
}

describeEachStore('what waits in the store', (fresh) => {
  async function store(): Promise<TestStore> {
    return await prepareStore((await fresh()).open());
  }

  test('an empty store shows an empty outbox, and no series of Actions', async () => {
    const scrape = await scrapeOf((await store()).database);
    expect(valueOf(scrape, 'usher_outbox_registrations')).toBe(0);
    expect(valueOf(scrape, 'usher_outbox_refused_registrations')).toBe(0);
    expect(valueOf(scrape, 'usher_outbox_oldest_age_seconds')).toBe(0);
    expect(scrape.samples.filter(({ name }) => /^usher_(steps|messages)/.test(name))).toEqual([]);
  });

  test('the outbox is as deep and as old as what is due', async () => {
    const usher = await store();
    await bindActions(usher, [{ name: 'Notify Slack' }]);
    await usher.register(signUpOf('ann@example.com'));
    await letTimePass(usher, 2 * MINUTE);
    await usher.register(signUpOf('ben@example.com'));
    const [due] = await usher.outbox.claimDue({ limit: 1, leaseMs: MINUTE });

    const scrape = await scrapeOf(usher.database);
    expect(valueOf(scrape, 'usher_outbox_registrations')).toBe(2);
    expect(valueOf(scrape, 'usher_outbox_oldest_age_seconds')).toBeGreaterThanOrEqual(120);
    expect(valueOf(scrape, 'usher_outbox_oldest_age_seconds')).toBeLessThan(180);

    await usher.outbox.backOff({ registrationId: due!.registrationId, dueSeq: due!.dueSeq, delayMs: MINUTE, error: 'no' });
    const refused = await scrapeOf(usher.database);
    expect(valueOf(refused, 'usher_outbox_refused_registrations')).toBe(1);
    expect(valueOf(refused, 'usher_outbox_oldest_age_seconds')).toBeLessThan(60);
  });

  test('parked and held steps are counted by Action', async () => {
    const usher = await store();
    const { steps, claimed } = await registered(usher, [{ name: 'Notify Slack' }, { name: 'Tell' }]);
    await park(usher, claimed, 0);
    await usher.database.db.updateTable('step').set({ held_reason: 'down', held_at: 1 }).where('id', '=', steps[1]!).execute();

    const { samples } = await scrapeOf(usher.database);
    expect(samples.filter(({ name }) => name.startsWith('usher_steps'))).toEqual([
      { name: 'usher_steps_held', labels: { action: 'Tell', reason: 'down' }, value: 1 },
      { name: 'usher_steps_parked', labels: { action: 'Notify Slack' }, value: 1 },
    ]);
  });

  test('messages that wait are counted, and those that are kept to be shown are not', async () => {
    const usher = await store();
    for (const to of ['ann@example.com', 'ben@example.com']) {
      await writeMessage(usher.database.db, usher.keyring, { channel: 'email', to, subject: 's', text: 't', html: 'h', usefulUntil: Date.now() + MINUTE });
    }
    expect(valueOf(await scrapeOf(usher.database), 'usher_messages', { channel: 'email', state: 'due' })).toBe(2);
    await usher.database.db.updateTable('message').set({ state: 'kept', due_at: null }).execute();
    expect(valueOf(await scrapeOf(usher.database), 'usher_messages')).toBeUndefined();
  });

  test('parked steps are found by their own index, not by reading all steps', async () => {
    const { database } = await store();
    const query = sql`select action_name from step where state = 'parked'`;
    if (database.dialect === 'postgres') {
      await database.transaction(async (tx) => {
        // An empty table is read whole by a planner that may.
        await sql`set local enable_seqscan = off`.execute(tx);
        const { rows } = await sql<object>`explain ${query}`.execute(tx);
        expect(JSON.stringify(rows)).toContain('step_parked');
      });
    } else {
      const { rows } = await sql<object>`explain query plan ${query}`.execute(database.db);
      expect(JSON.stringify(rows)).toContain('step_parked');
    }
  });

  test('two scrapes in a row read the store once', async () => {
    const usher = await store();
    await bindActions(usher, [{ name: 'Notify Slack' }]);
    const { metrics } = watched(usher.database);
    // No time passes: what is read is kept for 5 s.
    const clock = vi.spyOn(performance, 'now').mockReturnValue(performance.now());
    onTestFinished(() => clock.mockRestore());
    expect(valueOf(parseScrape(await metrics.registry.metrics()), 'usher_outbox_registrations')).toBe(0);
    await usher.register(signUpOf('ann@example.com'));
    expect(valueOf(parseScrape(await metrics.registry.metrics()), 'usher_outbox_registrations')).toBe(0);
    expect(valueOf(await scrapeOf(usher.database), 'usher_outbox_registrations')).toBe(1);
  });

  test('while the store cannot be read its series are left out, all others are there, and the log says why', async () => {
    const usher = await store();
    const { metrics, logged } = watched(usher.database);
    await usher.database.close();
    const scrape = parseScrape(await metrics.registry.metrics());
    expect(scrape.samples.filter(({ name }) => /^usher_(outbox|steps|messages)/.test(name))).toEqual([]);
    expect(valueOf(scrape, 'usher_build_info')).toBe(1);
    expect(logged.join('')).toContain('could not be counted for the metrics');
  });
});

test('so many names of Actions become series, and further ones are one more', () => {
  const { postAction } = createMetrics({ role: 'worker', version: 'test' });
  const labels = new Set(Array.from({ length: 1000 }, (_, index) => postAction(`Action ${index}`)));
  expect(labels.size).toBe(301);
  expect(postAction('Action 0')).toBe('Action 0');
  expect(postAction('Action 999')).toBe('other');
});
