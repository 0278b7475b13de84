import { pino } from 'pino';
import { expect, test } from 'vitest';
import { createAttackProtection } from '../../src/registration/attack-protection.ts';
import { createUserCreation } from '../../src/registration/create-user.ts';
import { createPasswordlessLogin, type PasswordlessLogin } from '../../src/registration/passwordless-login.ts';
import { createPreUserRegistration } from '../../src/registration/pre-user-registration.ts';
import { createClientStore } from '../../src/store/clients.ts';
import { createCodeStore } from '../../src/store/codes.ts';
import { createConnectionStore, newConnectionId } from '../../src/store/connections.ts';
import { createCounterStore } from '../../src/store/counters.ts';
import { createLoginStore } from '../../src/store/logins.ts';
import { describeEachStore } from '../helpers/each-store.ts';
import { prepareStore, type TestStore } from '../helpers/stores.ts';

/** A passwordless login as one process of the API has it; nothing is bound, so that no sandbox is asked. */
function loginOf({ database, keyring, register }: TestStore): PasswordlessLogin {
  const preUserRegistration = createPreUserRegistration({
    loadBoundActions: () => Promise.resolve([]),
    readCache: () => Promise.reject(new Error('nothing is bound')),
    versions: { load: () => Promise.reject(new Error('nothing is bound')) },
    sandbox: { run: () => Promise.reject(new Error('nothing is bound')) },
    logger: pino({ level: 'silent' }),
  });
  return createPasswordlessLogin({
    database,
    keyring,
    codes: createCodeStore({ database, keyring }),
    logins: createLoginStore({ database }),
    protection: createAttackProtection({ counters: createCounterStore({ database }), keyring }),
    userCreation: createUserCreation({ database, keyring, preUserRegistration, register }),
  });
}

describeEachStore('first passwordless logins in two processes at once', (fresh) => {
  test('with one code make one user, one registration and one login; with a code each, two logins', async () => {
    const empty = await fresh();
    const processes = [await prepareStore(empty.open()), await prepareStore(empty.open())] as const;
    const { db } = processes[0].database;
    await db.insertInto('connection').values({ id: newConnectionId(), name: 'email', strategy: 'email', options: '{}', metadata: '{}', created_at: 1 }).execute();
    const connection = (await createConnectionStore(processes[0]).findByName('email'))!;
    const clients = createClientStore(processes[0]);
    await clients.ensureFirst({ clientId: 'one', clientSecret: 's'.repeat(32) });
    const client = await clients.first();
    const logins = processes.map(loginOf);
    const codes = createCodeStore(processes[0]);

    for (let round = 0; round < 5; round++) {
      const recipient = `person${round}@example.com`;
      const separate = round % 2 === 1;
      const ids = separate ? ['one', 'two'] : ['one'];
      for (const clientId of ids) await codes.put(db, { connectionId: connection.id, recipient, clientId }, { code: '123456', tries: 3, lifetimeMs: 60_000 });
      const outcomes = await Promise.all(logins.map((login, index) => login({
        client: { ...client, id: ids[index % ids.length]! },
        connection,
        recipient,
        code: '123456',
        body: {},
        request: { ip: '203.0.113.1', hostname: '', method: 'POST' },
      })));

      expect(outcomes.filter(({ outcome }) => outcome === 'logged-in')).toHaveLength(separate ? 2 : 1);
      const users = await db.selectFrom('user_account').select(['id', 'logins_count']).where('email', '=', recipient).execute();
      expect(users).toMatchObject([{ logins_count: separate ? 2 : 1 }]);
      expect(await db.selectFrom('registration').select('source').where('user_id', '=', users[0]!.id).execute()).toEqual([{ source: 'passwordless-email' }]);
      expect(await db.selectFrom('passwordless_code').select('recipient').where('recipient', '=', recipient).execute()).toEqual([]);
    }
  });
});
