import { expect, test } from 'vitest';
import { UserExistsError } from '../../src/registration/register.ts';
import type { Schema } from '../../src/store/schema.ts';
import { createLogStore } from '../../src/store/logs.ts';
import { readPreExecution } from '../../src/store/executions.ts';
import { describeEachStore } from '../helpers/each-store.ts';
import { bindActions, openFor, prepareStore, signUpOf, type TestStore } from '../helpers/stores.ts';

const WRITTEN = ['user_account', 'data_key', 'registration', 'step', 'execution', 'log', 'cache_entry'] as const satisfies (keyof Schema)[];

async function rowCounts({ database }: TestStore): Promise<Record<string, number>> {
  const counts = WRITTEN.map(async (table) => {
    const { count } = await database.db.selectFrom(table).select((eb) => eb.fn.countAll<number>().as('count')).executeTakeFirstOrThrow();
    return [table, count] as const;
  });
  return Object.fromEntries(await Promise.all(counts));
}

describeEachStore('register', (fresh) => {
  async function store(): Promise<TestStore> {
    return await prepareStore((await fresh()).open());
  }

  test('a sign-up becomes a user and one pending step for each bound Action, in their order', async () => {
    const usher = await store();
    await bindActions(usher, [{ name: 'Notify Slack' }, { name: 'Update the CRM', policy: { onFailure: 'wait' } }]);

    const { registrationId, outcome } = await usher.register(signUpOf('ann@example.com'));

    expect(outcome).toBe('open');
    expect(usher.woken()).toBe(1);
    const open = await usher.ledger.loadOpenSteps(registrationId);
    expect(open.map(({ label, phase, delayMs, onFailure }) => ({ label, phase, delayMs, onFailure }))).toEqual([
      { label: 'Notify Slack v3', phase: 'quick', delayMs: 0, onFailure: 'continue' },
      { label: 'Update the CRM v3', phase: 'quick', delayMs: 0, onFailure: 'wait' },
    ]);
    expect(await usher.outbox.claimDue({ limit: 10, leaseMs: 1000 })).toMatchObject([
      { registrationId, dueSeq: 1, connectionName: 'Username-Password-Authentication', dispatchFailures: 0 },
    ]);
  });

  test('with nothing bound it is closed at once, and nobody is woken', async () => {
    const usher = await store();

    const { registrationId, outcome } = await usher.register(signUpOf('ann@example.com'));

    expect(outcome).toBe('nothing-bound');
    expect(usher.woken()).toBe(0);
    expect(await usher.ledger.readRegistration(registrationId)).toMatchObject({ state: 'closed', outcome: 'nothing-bound', dueAt: null, steps: [] });
    expect(await usher.outbox.claimDue({ limit: 10, leaseMs: 1000 })).toEqual([]);
    expect(await usher.ledger.closeRegistration(registrationId)).toEqual({ closed: true, result: { outcome: 'nothing-bound', steps: [] } });
  });

  test('what is bound, renamed or deleted later changes nothing for who has registered', async () => {
    const usher = await store();
    await bindActions(usher, [{ name: 'Notify Slack' }]);
    const { registrationId } = await usher.register(signUpOf('ann@example.com'));
    const before = await usher.ledger.readRegistration(registrationId);

    await bindActions(usher, [{ name: 'Another one' }, { name: 'And one more' }]);
    await usher.database.db.updateTable('action').set({ name: 'Renamed', deployed_version_id: null }).execute();

    expect(await usher.ledger.readRegistration(registrationId)).toEqual(before);
    expect((await usher.ledger.loadOpenSteps(registrationId)).map((step) => step.label)).toEqual(['Notify Slack v3']);
  });

  test('of 50 sign-ups with one e-mail address at once, one succeeds and the others leave nothing behind', async () => {
    const { open } = await fresh();
    const usher = await prepareStore(open());
    await bindActions(usher, [{ name: 'Notify Slack' }]);
    const all: TestStore[] = [];
    for (const database of await openFor(50, open)) all.push(await prepareStore(database));
    const before = await rowCounts(usher);

    const results = await Promise.allSettled(Array.from({ length: 50 }, (_, index) => all[index % all.length]!.register(signUpOf('ann@example.com'))));

    const refused = results.filter((result) => result.status === 'rejected').map((result) => result.reason as unknown);
    expect(refused).toHaveLength(49);
    for (const error of refused) expect(error).toMatchObject({ name: UserExistsError.name, field: 'email' });
    const after = await rowCounts(usher);
    const added = Object.fromEntries(WRITTEN.map((table) => [table, after[table]! - before[table]!]));
    expect(added).toEqual({ user_account: 1, data_key: 1, registration: 1, step: 1, execution: 0, log: 1, cache_entry: 0 });
    expect(all.reduce((sum, { woken }) => sum + woken(), 0)).toBe(1);
  });

  test('a taken username is told apart from a taken e-mail address', async () => {
    const usher = await store();
    await usher.register(signUpOf('ann@example.com', { username: 'ann' }));

    await expect(usher.register(signUpOf('other@example.com', { username: 'ann' }))).rejects.toMatchObject({ name: 'UserExistsError', field: 'username' });
  });

  test('the same address in two connections is two users', async () => {
    const usher = await store();
    await usher.database.db.insertInto('connection').values({ id: 'con_2', name: 'second', strategy: 'auth0', options: '{}', metadata: '{}', created_at: 0 }).execute();
    const first = signUpOf('ann@example.com');
    const second = signUpOf('ann@example.com');
    second.user.connection_id = 'con_2';

    await usher.register(first);

    await expect(usher.register(second)).resolves.toMatchObject({ outcome: 'nothing-bound' });
  });

  test('an error in the middle of the commit leaves no user, registration or log entry behind', async () => {
    const usher = await store();
    await bindActions(usher, [{ name: 'Notify Slack' }]);
    const before = await rowCounts(usher);
    const input = signUpOf('ann@example.com');
    // The last thing that is written cannot be: JSON has no cycles.
    const cyclic: Record<string, unknown> = {};
    cyclic['self'] = cyclic;
    input.log.item = cyclic;

    await expect(usher.register(input)).rejects.toThrow(/circular/);

    expect(await rowCounts(usher)).toEqual(before);
    expect(usher.woken()).toBe(0);
    await expect(usher.register(signUpOf('ann@example.com'))).resolves.toMatchObject({ outcome: 'open' });
  });

  test('the log entry names both executions, and the pre-user-registration one and its cache are kept', async () => {
    const usher = await store();
    await bindActions(usher, [{ name: 'Notify Slack' }]);
    const preExecution = { id: 'execution-1', status: 'final', results: [], createdAt: 1, updatedAt: 2 } as const;
    const expires = Date.now() + 60_000;

    const { registrationId } = await usher.register(signUpOf('ann@example.com', {
      preExecution: { ...preExecution, results: [] },
      cacheChanges: { triggerId: 'pre-user-registration', changes: [{ kind: 'set', key: 'k', record: { value: 'v', expires_at: expires } }] },
    }));

    const { db } = usher.database;
    const [entry] = await createLogStore(usher).page({ limit: 1, offset: 0, order: 'desc' });
    expect(entry).toMatchObject({
      type: 'ss',
      client_id: 'client1',
      user_name: 'ann@example.com',
      details: { prompts: [], actions: { executions: ['execution-1', registrationId] } },
    });
    expect(await readPreExecution(db, usher.keyring, 'execution-1')).toEqual({ ...preExecution, registrationId });
    expect(await usher.ledger.readCache('pre-user-registration')).toEqual({ k: { value: 'v', expires_at: expires } });
    expect(await usher.ledger.readCache('post-user-registration')).toEqual({});
  });
});
