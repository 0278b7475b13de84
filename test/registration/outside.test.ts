import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { expect, test } from 'vitest';
import { createHandIn, type HandInRegistration, type OutsideEvent } from '../../src/registration/outside.ts';
import type { Database } from '../../src/store/database.ts';
import { sealedAs } from '../../src/store/ledger-rows.ts';
import { describeEachStore, type EmptyStore } from '../helpers/each-store.ts';
import { bindActions, openFor, prepareStore, type TestStore } from '../helpers/stores.ts';
import { outsideEvent } from './outside-event.ts';

const HAND_IN = new URL('processes/hand-in.ts', import.meta.url).pathname;

interface Outside extends TestStore {
  handIn: HandInRegistration;
}

async function open(store: EmptyStore): Promise<Outside> {
  return await prepare(store.open());
}

async function prepare(database: Database): Promise<Outside> {
  const usher = await prepareStore(database);
  return { ...usher, handIn: createHandIn(usher) };
}

async function countOf({ database }: TestStore, table: 'registration' | 'handed_in' | 'step' | 'user_account' | 'log'): Promise<number> {
  const { count } = await database.db.selectFrom(table).select((eb) => eb.fn.countAll<number>().as('count')).executeTakeFirstOrThrow();
  return count;
}

async function storedEvent({ database, keyring }: TestStore, id: string): Promise<Record<string, unknown>> {
  const row = await database.db.selectFrom('registration').selectAll().where('id', '=', id).executeTakeFirstOrThrow();
  return await keyring.openJson(row.key_id, sealedAs.event(id), row.event_sealed);
}

function handInElsewhere(place: string, key: string, times: number) {
  const child = spawn(process.execPath, [HAND_IN, place, key, String(times)], { stdio: ['pipe', 'pipe', 'inherit'] });
  const lines: string[] = [];
  const reader = createInterface(child.stdout);
  reader.on('line', (line) => lines.push(line));
  return { child, lines, ready: once(reader, 'line'), ended: once(child, 'close') };
}

describeEachStore('a registration handed in from outside', (fresh) => {
  test('100 times at once with one key is one registration, and all are told its id', async () => {
    const store = await fresh();
    const usher = await open(store);
    await bindActions(usher, [{ name: 'Notify Slack' }]);
    const all: Outside[] = [];
    for (const database of await openFor(100, store.open)) all.push(await prepare(database));

    const answers = await Promise.all(Array.from({ length: 100 }, (_, index) => all[index % all.length]!.handIn({ clientId: 'client1', idempotencyKey: 'one', event: outsideEvent() })));

    expect(new Set(answers.map(({ registrationId }) => registrationId)).size).toBe(1);
    expect(new Set(answers.map(({ createdAt }) => createdAt)).size).toBe(1);
    expect(await Promise.all((['registration', 'handed_in', 'step', 'log'] as const).map((table) => countOf(usher, table)))).toEqual([1, 1, 1, 1]);
    expect(all.reduce((sum, { woken }) => sum + woken(), 0)).toBe(1);
    // The control: without the key in common there would have been 100.
    await Promise.all(Array.from({ length: 3 }, (_, index) => usher.handIn({ clientId: 'client1', idempotencyKey: `other ${index}`, event: outsideEvent() })));
    expect(await countOf(usher, 'registration')).toBe(4);
  });

  test('from two processes, 50 times at once from each, is one registration', async () => {
    const store = await fresh();
    const usher = await open(store);
    await bindActions(usher, [{ name: 'Notify Slack' }]);

    const processes = [1, 2].map(() => handInElsewhere(store.place, 'one', 50));
    await Promise.all(processes.map(({ ready }) => ready));
    for (const { child } of processes) child.stdin.write('go\n');
    await Promise.all(processes.map(({ ended }) => ended));

    for (const { child } of processes) expect(child.exitCode).toBe(0);
    const ids = processes.flatMap(({ lines }) => lines.slice(1));
    expect(ids).toHaveLength(100);
    expect(new Set(ids).size).toBe(1);
    expect(await countOf(usher, 'registration')).toBe(1);
    expect(await countOf(usher, 'step')).toBe(1);
  });

  test('again after a restart gives the same answer', async () => {
    const store = await fresh();
    const before = await open(store);
    const first = await before.handIn({ clientId: 'client1', idempotencyKey: 'one', event: outsideEvent() });
    await before.database.close();

    const after = await open(store);
    expect(await after.handIn({ clientId: 'client1', idempotencyKey: 'one', event: outsideEvent() })).toEqual(first);
    expect(await countOf(after, 'registration')).toBe(1);
  });

  test('with the key of another event is refused, and the same event written in another order is not', async () => {
    const usher = await open(await fresh());
    const first = await usher.handIn({ clientId: 'client1', idempotencyKey: 'one', event: outsideEvent() });
    const { user, ...rest } = outsideEvent();
    const reordered = { user: Object.fromEntries(Object.entries(user).toReversed()) as OutsideEvent['user'], ...rest };

    await expect(usher.handIn({ clientId: 'client1', idempotencyKey: 'one', event: outsideEvent({ email: 'bob@example.com' }) }))
      .rejects.toMatchObject({ status: 409, body: { message: expect.stringMatching(/Idempotency-Key was used with another event/) } });
    expect(await usher.handIn({ clientId: 'client1', idempotencyKey: 'one', event: reordered })).toEqual(first);
    expect(await countOf(usher, 'registration')).toBe(1);
  });

  test("two clients' keys have nothing to do with each other", async () => {
    const usher = await open(await fresh());
    const [one, other] = await Promise.all(['client1', 'client2'].map((clientId) => usher.handIn({ clientId, idempotencyKey: 'one', event: outsideEvent() })));
    expect(one!.registrationId).not.toBe(other!.registrationId);
  });

  test('makes no user, and Actions get the event that was handed in, without the secrets of where it comes from', async () => {
    const usher = await open(await fresh());
    const { registrationId } = await usher.handIn({ clientId: 'client1', idempotencyKey: 'one', event: { ...outsideEvent({ loyalty: 'gold' }), secrets: { API_KEY: 'theirs' }, usher: { execution_id: 'theirs' } } });

    expect(await countOf(usher, 'user_account')).toBe(0);
    const event = await storedEvent(usher, registrationId);
    const date = expect.stringMatching(/^\d{4}-.*Z$/);
    expect(event).toEqual({
      configuration: {},
      ...outsideEvent(),
      connection: { ...outsideEvent().connection, metadata: {} },
      user: { ...outsideEvent().user, loyalty: 'gold', app_metadata: {}, user_metadata: {}, created_at: date, updated_at: date },
    });
    expect(await usher.ledger.readRegistration(registrationId)).toMatchObject({
      source: 'outside', userId: 'google-oauth2|1029384756', connectionId: 'con_elsewhere0001', connectionName: 'google-oauth2', clientId: 'client1',
    });
  });
});
