import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { newId } from '../../src/domain/ids.ts';
import { createBulkOperationStore } from '../../src/store/bulk-operations.ts';
import { createErasureStore } from '../../src/store/erasure.ts';
import { createHistoryRemovals } from '../../src/store/history-removals.ts';
import { writeLog } from '../../src/store/logs.ts';
import { createMessageStore, writeMessage } from '../../src/store/messages.ts';
import { writeExecution } from '../../src/store/executions.ts';
import { describeEachStore } from '../helpers/each-store.ts';
import { bindActions, prepareStore, signUpOf, type TestStore } from '../helpers/stores.ts';

const EMAIL = 'canary-ann@example.com';
const PERSONAL = [EMAIL, 'Canary-Name', '+4915112345678', 'canary-metadata'];

async function finish(usher: TestStore): Promise<void> {
  const erasures = createErasureStore({ ...usher, settleMs: 0 });
  for (let batches = 0; batches < 500; batches++) if (!(await erasures.step())) return;
  throw new Error('it does not come to an end');
}

/** A user with everything that can be kept of one, and a second one beside. */
async function signUps(usher: TestStore): Promise<{ userId: string; registrationId: string; others: string }> {
  await bindActions(usher, [{ name: 'Notify' }]);
  const input = signUpOf(EMAIL, {
    event: { user: { email: EMAIL, name: 'Canary-Name', phone_number: '+4915112345678', user_metadata: { a: 'canary-metadata' } } },
    preExecution: { id: 'execution-1', status: 'final', results: [], createdAt: 1, updatedAt: 1 },
  });
  const { registrationId } = await usher.register({
    ...input,
    user: { ...input.user, profile: JSON.stringify({ name: 'Canary-Name' }), phone_number: '+4915112345678', user_metadata: '{"a":"canary-metadata"}' },
  });
  const other = signUpOf('bob@example.com', { event: { user: { email: 'bob@example.com' } } });
  const others = await usher.register(other);
  return { userId: input.userId, registrationId, others: others.registrationId };
}

async function everything({ database: { db } }: TestStore): Promise<string> {
  let content = '';
  for (const { name } of await db.introspection.getTables()) content += JSON.stringify(await db.withTables<Record<string, object>>().selectFrom(name).selectAll().execute());
  return content;
}

describeEachStore('erasing a user', (fresh) => {
  test('nothing of the person is left, and everybody else is untouched', async () => {
    const usher = await prepareStore((await fresh()).open());
    const { userId, registrationId, others } = await signUps(usher);
    const { registrationId: ofBob } = await usher.register(signUpOf('canary-joann@example.com.au'));
    const { db } = usher.database;
    // What belongs to no user: a failed login, a denied sign-up, a mail.
    await writeLog(db, usher.keyring, { type: 'fu', date: 1, item: { user_name: EMAIL.toUpperCase() } });
    await writeLog(db, usher.keyring, { type: 'fu', date: 1, item: { user_name: `jo${EMAIL}` } });
    await writeExecution(db, usher.keyring, { id: 'denied', status: 'final', results: [{ logs: [{ at: 1, level: 'log', text: `denied +4915112345678.` }] } as never], createdAt: 1, updatedAt: 1 }, null);
    await writeMessage(db, usher.keyring, { channel: 'email', to: EMAIL, subject: 's', text: 't', html: 'h', usefulUntil: Date.now() + 60_000 });
    await db.insertInto('passwordless_code').values({ connection_id: 'c', recipient: EMAIL, client_id: 'x', code_hash: 'h', tries_left: 1, created_at: 1, expires_at: Date.now() + 60_000 }).execute();
    expect(await everything(usher)).toContain(EMAIL);

    const { id } = await createErasureStore(usher).begin({ userId, clientId: 'admin' });
    await finish(usher);

    const erasure = await createErasureStore(usher).find(id);
    expect(erasure).toMatchObject({ status: 'running', historiesLeft: 1, removed: { registrations: 1, logs: 1, executions: 1, messages: 1 } });
    await createHistoryRemovals(usher.database).done(registrationId);
    expect(await createErasureStore(usher).find(id)).toMatchObject({ status: 'done', historiesLeft: 0 });
    const left = await everything(usher);
    for (const text of [...PERSONAL, userId, registrationId]) expect(left).not.toContain(text);
    expect(await usher.ledger.readRegistration(registrationId)).toBeNull();
    expect(await createMessageStore(usher).listKept()).toEqual([]);

    expect((await usher.ledger.readRegistration(others))!.state).toBe('open');
    expect(await usher.ledger.loadOpenSteps(ofBob)).toHaveLength(1);
    expect(left).toContain('bob@example.com');
    expect(left).toContain('canary-joann@example.com.au');
    const logs = await db.selectFrom('log').select(['type', 'user_id']).execute();
    // The two other sign-ups, the login of somebody with a longer address, and who has erased.
    expect(logs.map(({ type }) => type).toSorted()).toEqual(['fu', 'sapi', 'ss', 'ss']);
  });

  test('an attempt that runs just then leaves nothing behind, and its Action is not run again', async () => {
    const usher = await prepareStore((await fresh()).open());
    const { userId, registrationId } = await signUps(usher);
    const [step] = await usher.ledger.loadOpenSteps(registrationId);
    const claim = await usher.ledger.claimStep({ registrationId, stepId: step!.stepId, phase: 'quick', workerId: 'w', leaseMs: 30_000 });
    if (claim.claim !== 'claimed') throw new Error('not claimed');

    await createErasureStore(usher).begin({ userId, clientId: 'admin' });
    await finish(usher);

    const attemptId = claim.step.attempt.id;
    // Its worker finds that the lease is not its own any more, and kills it.
    expect(await usher.ledger.renewLeases({ attemptIds: [attemptId], leaseMs: 30_000 })).toEqual(new Set());
    const end = usher.ledger.settleAttempt({ attemptId, outcome: 'failed', endedAt: 1, retryAfterMs: 0, logs: [{ at: 1, level: 'log', text: EMAIL }], logsTruncated: false, calls: [], cacheChanges: [], error: { type: 'ACTION_THREW', name: 'Error', message: EMAIL, retryable: true } });
    await expect(end).rejects.toThrow(/no attempt/);
    await expect(usher.ledger.claimStep({ registrationId, stepId: step!.stepId, phase: 'quick', workerId: 'w', leaseMs: 1000 })).rejects.toThrow(/no registration/);
    expect(await usher.ledger.isStepOpen(step!.stepId)).toBe(false);
    expect(await everything(usher)).not.toContain(EMAIL);
  });

  test('a user who lives elsewhere is erased by the id and the address of the event that was handed in', async () => {
    const usher = await prepareStore((await fresh()).open());
    await bindActions(usher, [{ name: 'Notify' }]);
    const { user: _user, ...outside } = signUpOf(EMAIL, { source: 'outside', userId: 'samlp|acme|canary-ann@example.com', event: { user: { email: 'canary-other@example.com' } } });
    await usher.register(outside);
    await writeLog(usher.database.db, usher.keyring, { type: 'fu', date: 1, item: { user_name: 'canary-other@example.com' } });

    await createErasureStore(usher).begin({ userId: outside.userId, clientId: 'admin' });
    await finish(usher);

    expect(await everything(usher)).not.toContain('canary');
    expect((await usher.database.db.selectFrom('log').select('type').execute()).map(({ type }) => type)).toEqual(['sapi']);
  });

  test('a name or an id that is a word of ours takes nothing of others along', async () => {
    const usher = await prepareStore((await fresh()).open());
    const { db } = usher.database;
    // By sign-up anybody may choose such a username, and who hands registrations in chooses id and address.
    const { user: _user, ...outside } = signUpOf(EMAIL, { source: 'outside', userId: 'subject', event: { user: { username: 'html', email: 'log', phone_number: 'ok' } } });
    await bindActions(usher, [{ name: 'Notify' }]);
    await usher.register(outside);
    await writeMessage(db, usher.keyring, { channel: 'email', to: 'bob@example.com', subject: 'log', text: 'the subject is ok', html: 'h', usefulUntil: Date.now() + 60_000 });
    await writeExecution(db, usher.keyring, { id: 'denied', status: 'final', results: [{ logs: [{ at: 1, level: 'log', text: 'not ok' }] } as never], createdAt: 1, updatedAt: 1 }, null);
    await writeLog(db, usher.keyring, { type: 'fu', date: 1, item: { user_name: 'bob', description: 'html' } });
    await writeLog(db, usher.keyring, { type: 'fu', date: 1, item: { user_name: 'HTML' } });

    const { id } = await createErasureStore(usher).begin({ userId: outside.userId, clientId: 'admin' });
    await finish(usher);

    expect((await createErasureStore(usher).find(id)).removed).toEqual({ registrations: 1, logs: 1, executions: 0, messages: 0 });
  });

  test('bulk operations about the person are about nobody afterwards', async () => {
    const usher = await prepareStore((await fresh()).open());
    const operations = createBulkOperationStore(usher);
    await bindActions(usher, [{ name: 'Notify' }]);
    const { user: _user, ...outside } = signUpOf(EMAIL, { source: 'outside', userId: `samlp|acme|${EMAIL}`, event: { user: {} } });
    await usher.register(outside);
    const about = (userId: string) => operations.create({ task: { kind: 'cancel' }, filter: { userId }, rate: 1, total: 1, createdBy: 'admin', createdAt: Date.now() });
    const [his, others] = [await about(outside.userId), await about('auth0|bob')];

    await createErasureStore(usher).begin({ userId: outside.userId, clientId: 'admin' });
    await finish(usher);

    expect(await everything(usher)).not.toContain(EMAIL);
    expect((await operations.find(his.id)).filter).toEqual({ userId: 'erased' });
    expect((await operations.find(others.id)).filter).toEqual({ userId: 'auth0|bob' });
  });

  test('what is written of the person by a request that was under way just then is erased, too', async () => {
    const usher = await prepareStore((await fresh()).open());
    const { userId } = await signUps(usher);
    const { db } = usher.database;
    const erasures = createErasureStore(usher);
    const { id } = await erasures.begin({ userId, clientId: 'admin' });
    while (await erasures.step());
    expect(await erasures.find(id)).toMatchObject({ status: 'running', endedAt: null, removed: { registrations: 1 } });

    // A login whose password was being checked, one by code, a code and its mail that were asked for, and a sign-up that was denied.
    await writeLog(db, usher.keyring, { type: 'fp', date: 1, userId, item: { user_name: EMAIL, ip: '192.0.2.7' } });
    await writeLog(db, usher.keyring, { type: 'fepotpft', date: 1, item: { user_name: EMAIL } });
    await writeMessage(db, usher.keyring, { channel: 'email', to: EMAIL, subject: 's', text: 't', html: 'h', usefulUntil: Date.now() + 60_000 });
    await writeExecution(db, usher.keyring, { id: newId(), status: 'final', results: [{ logs: [{ at: 1, level: 'log', text: EMAIL }] } as never], createdAt: 1, updatedAt: 1 }, null);
    await db.insertInto('passwordless_code').values({ connection_id: 'c', recipient: EMAIL, client_id: 'x', code_hash: 'h', tries_left: 1, created_at: 1, expires_at: Date.now() + 60_000 }).execute();
    await finish(usher);

    const erasure = await erasures.find(id);
    expect(erasure.removed).toEqual({ registrations: 1, logs: 2, executions: 1, messages: 1 });
    expect(erasure.endedAt).not.toBeNull();
    expect((await db.selectFrom('log').select('type').execute()).map(({ type }) => type).toSorted()).toEqual(['sapi', 'ss']);
    for (const table of ['message', 'passwordless_code', 'execution'] as const) expect(await db.selectFrom(table).selectAll().execute(), table).toEqual([]);
  });

  test('one that cannot be done keeps nobody else waiting, and is done once it can', async () => {
    const usher = await prepareStore((await fresh()).open());
    const { db } = usher.database;
    const erasures = createErasureStore({ ...usher, settleMs: 0 });
    const { userId } = await signUps(usher);
    const stuck = await erasures.begin({ userId, clientId: 'admin' });
    const { subject_sealed: subject } = await db.selectFrom('erasure').select('subject_sealed').executeTakeFirstOrThrow();
    await db.updateTable('erasure').set({ subject_sealed: 'broken' }).execute();
    const bob = await db.selectFrom('user_account').select('id').executeTakeFirstOrThrow();
    const other = await erasures.begin({ userId: bob.id, clientId: 'admin' });

    await expect(erasures.step()).rejects.toThrow(/cannot be opened/);
    while (await erasures.step());
    expect((await erasures.find(other.id)).endedAt).not.toBeNull();

    await db.updateTable('erasure').set({ subject_sealed: subject }).where('id', '=', stuck.id).execute();
    while (await erasures.step());
    expect((await erasures.find(stuck.id)).endedAt).not.toBeNull();
  });

  test('somebody of whom nothing is known is not found', async () => {
    const usher = await prepareStore((await fresh()).open());
    await expect(createErasureStore(usher).begin({ userId: 'auth0|nobody', clientId: 'admin' })).rejects.toMatchObject({ status: 404 });
    await expect(createErasureStore(usher).find('nothing')).rejects.toMatchObject({ status: 404 });
  });

  test('one that was interrupted goes on in another process', async () => {
    const store = await fresh();
    const usher = await prepareStore(store.open());
    const { userId } = await signUps(usher);
    const { id } = await createErasureStore(usher).begin({ userId, clientId: 'admin' });
    await createErasureStore(usher).step();

    const another = await prepareStore(store.open());
    await finish(another);

    expect(await createErasureStore(another).find(id)).toMatchObject({ removed: { registrations: 1 }, historiesLeft: 1 });
    expect((await createErasureStore(another).find(id)).endedAt).not.toBeNull();
  });
});

describeEachStore('the files after an erasure', (fresh) => {
  test('hold nothing of the person, among those of hundreds of others', async () => {
    const store = await fresh();
    const usher = await prepareStore(store.open());
    await bindActions(usher, []);
    const erased: string[] = [];
    for (let n = 0; n < 600; n++) {
      const input = signUpOf(n % 20 === 7 ? `canary${n}@example.com` : `user${n}@example.com`);
      if (n % 20 === 7) erased.push(input.userId);
      await usher.register({ ...input, user: { ...input.user, user_metadata: JSON.stringify({ note: n % 20 === 7 ? 'canary'.repeat(50) : 'other'.repeat(60) }) } });
    }
    const files = () => readFileSync(store.place, 'latin1') + readFileSync(`${store.place}-wal`, 'latin1');
    expect(files()).toContain('canary');

    for (const userId of erased) await createErasureStore(usher).begin({ userId, clientId: 'admin' });
    await finish(usher);

    // The control: the search finds those who were not erased.
    expect(files()).toContain('user8@example.com');
    expect(files()).not.toContain('canary');
  });
}, ['sqlite']);
