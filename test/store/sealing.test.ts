import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { createKeyring, INSTALLATION_KEY, WrongMasterKeyError } from '../../src/store/keyring.ts';
import { open, seal, SealError } from '../../src/store/sealing.ts';
import { describeEachStore } from '../helpers/each-store.ts';
import { bindActions, prepareStore, signUpOf, TEST_MASTER_KEY } from '../helpers/stores.ts';

test('any text opens again under its key and context, and only so', () => {
  const key = randomBytes(32);
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), fc.string(), (text, context) => {
      const sealed = seal(key, context, text);
      expect(open(key, context, sealed)).toBe(text);
      expect(() => open(randomBytes(32), context, sealed)).toThrow(SealError);
      expect(() => open(key, `${context}x`, sealed)).toThrow(SealError);
    }),
  );
});

test('a sealed text that was altered, cut or is no sealed text does not open, and the error does not quote it', () => {
  const key = randomBytes(32);
  const sealed = seal(key, 'row/1', 'a secret');
  const [version, nonce, body] = sealed.split('.') as [string, string, string];
  const flipped = Buffer.from(body, 'base64url');
  flipped[0]! ^= 1;
  const short = Buffer.from(body, 'base64url').subarray(0, -8).toString('base64url');
  const broken = ['', 'a secret', `v2.${nonce}.${body}`, `${version}.${nonce}.${flipped.toString('base64url')}`, `${version}.${nonce}.${short}`, `${version}.${nonce}.`, `${sealed}.x`];

  for (const text of broken) {
    expect(() => open(key, 'row/1', text)).toThrow(SealError);
    expect(() => open(key, 'row/1', text)).toThrow(/^What was sealed as "row\/1" cannot be opened: [^.]*/);
  }
});

test('the same text is sealed differently each time', () => {
  const key = randomBytes(32);
  expect(seal(key, 'a', 'text')).not.toBe(seal(key, 'a', 'text'));
});

test('a master key of the wrong length is refused', () => {
  expect(() => createKeyring({} as never, randomBytes(16))).toThrow(/16 bytes and must have 32/);
});

function canary(place: string): string {
  return `canary-${place}-4f1b`;
}

describeEachStore('keyring', (fresh) => {
  test('another master key is refused with what to do, and the store stays as it is', async () => {
    const store = await fresh();
    const { database, keyring } = await prepareStore(store.open());
    const sealed = await keyring.seal(INSTALLATION_KEY, 'x', 'text');
    const before = [await database.db.selectFrom('setting').selectAll().execute(), await database.db.selectFrom('data_key').selectAll().execute()];

    const refused = createKeyring(store.open(), randomBytes(32)).prepare();

    await expect(refused).rejects.toThrow(WrongMasterKeyError);
    await expect(refused).rejects.toThrow(/USHER_MASTER_KEY/);
    expect([await database.db.selectFrom('setting').selectAll().execute(), await database.db.selectFrom('data_key').selectAll().execute()]).toEqual(before);
    const again = createKeyring(store.open(), TEST_MASTER_KEY);
    await again.prepare();
    expect(await again.open(INSTALLATION_KEY, 'x', sealed)).toBe('text');
  });

  test('several processes that start at once on a new store read what each other has sealed', async () => {
    const store = await fresh();
    const first = await prepareStore(store.open());
    await first.database.db.deleteFrom('setting').execute();
    await first.database.db.deleteFrom('data_key').execute();
    const keyrings = Array.from({ length: 4 }, () => createKeyring(store.open(), TEST_MASTER_KEY));

    await Promise.all(keyrings.map((keyring) => keyring.prepare()));

    const sealed = await keyrings[0]!.sealJson(INSTALLATION_KEY, 'x', { a: 1 });
    for (const keyring of keyrings) expect(await keyring.openJson(INSTALLATION_KEY, 'x', sealed)).toEqual({ a: 1 });
  });

  test('what was sealed under a data key that is gone cannot be opened by a new process', async () => {
    const store = await fresh();
    const { database, keyring } = await prepareStore(store.open());
    const keyId = await database.transaction((tx) => keyring.newDataKey(tx));
    const sealed = await keyring.seal(keyId, 'x', 'text');
    await database.db.deleteFrom('data_key').where('id', '=', keyId).execute();

    await expect(createKeyring(database, TEST_MASTER_KEY).open(keyId, 'x', sealed)).rejects.toThrow(/erased/);
  });

  test('nothing that belongs to a registration is readable in the store, except its user', async () => {
    const store = await fresh();
    const usher = await prepareStore(store.open());
    await bindActions(usher, [{ name: 'Notify Slack' }]);
    const { registrationId } = await usher.register(signUpOf('ann@example.com', {
      event: { user: { email: canary('event') } },
      log: { type: 'ss', item: { user_name: canary('log') } },
      preExecution: { id: 'execution-1', status: 'final', results: [{ actionName: canary('execution') } as never], createdAt: 1, updatedAt: 1 },
      cacheChanges: { triggerId: 'pre-user-registration', changes: [{ kind: 'set', key: 'k', record: { value: canary('cache'), expires_at: Date.now() + 60_000 } }] },
    }));
    const [open] = await usher.ledger.loadOpenSteps(registrationId);
    const claim = await usher.ledger.claimStep({ registrationId, stepId: open!.stepId, phase: 'quick', workerId: 'w', leaseMs: 1000 });
    if (claim.claim !== 'claimed') throw new Error('not claimed');
    await usher.ledger.settleAttempt({
      attemptId: claim.step.attempt.id,
      outcome: 'failed',
      endedAt: 1,
      error: { type: 'ACTION_THREW', name: 'Error', message: canary('error'), retryable: true },
      retryAfterMs: 0,
      logs: [{ at: 1, level: 'log', text: canary('attempt-log') }],
      logsTruncated: false,
      calls: [{ method: 'GET', host: canary('call'), startedAt: 1, durationMs: 1 }],
      cacheChanges: [],
    });
    await usher.ledger.appendLateOutput(claim.step.attempt.id, [{ at: 1, level: 'log', text: canary('late-log') }]);

    let content = '';
    for (const { name } of await usher.database.db.introspection.getTables()) {
      content += JSON.stringify(await usher.database.db.withTables<Record<string, object>>().selectFrom(name).selectAll().execute());
    }
    if (store.dialect === 'sqlite') content += readFileSync(store.place, 'latin1') + readFileSync(`${store.place}-wal`, 'latin1');

    // The control: what is not sealed is found by this search.
    expect(content).toContain('ann@example.com');
    expect(content).not.toContain('canary');
    expect((await usher.ledger.readRegistration(registrationId))!.steps[0]!.attempts[0]!.logs[0]!.text).toBe(canary('attempt-log'));
  });
});
