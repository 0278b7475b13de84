import { pino } from 'pino';
import { expect, test } from 'vitest';
import { createUpkeep } from '../../src/roles/upkeep.ts';
import { removeExpired } from '../../src/store/expired.ts';
import { createCodeStore } from '../../src/store/codes.ts';
import { createCounterStore } from '../../src/store/counters.ts';
import { createTicketStore } from '../../src/store/tickets.ts';
import { describeEachStore } from '../helpers/each-store.ts';
import { prepareStore, signUpOf } from '../helpers/stores.ts';
import { until } from '../messages/mail-server.ts';

describeEachStore('what has ended', (fresh) => {
  test('goes, and what has not stays', async () => {
    const usher = await prepareStore((await fresh()).open());
    const { database } = usher;
    const signUp = signUpOf('ada@example.com');
    await usher.register(signUp);
    const [codes, tickets, counters] = [createCodeStore(usher), createTicketStore(usher), createCounterStore(usher)];
    for (const [name, lifetimeMs] of [['old', -1], ['young', 60_000]] as const) {
      await codes.put(database.db, { connectionId: 'con', recipient: name, clientId: 'client' }, { code: '123456', tries: 3, lifetimeMs });
      await tickets.create(database.db, { kind: 'verify_email', userId: signUp.userId, email: name, clientId: null, resultUrl: null, lifetimeMs });
      await counters.increment(name, lifetimeMs);
    }
    const left = async () => [
      ...(await database.db.selectFrom('passwordless_code').select('recipient as name').execute()),
      ...(await database.db.selectFrom('ticket').select('email as name').execute()),
      ...(await database.db.selectFrom('counter').select('key as name').execute()),
    ].map(({ name }) => name);
    expect(await left()).toHaveLength(6);

    const sweep = createUpkeep({ tasks: [{ name: 'the removal', step: () => removeExpired(database).then(() => false) }], logger: pino({ level: 'silent' }), intervalMs: 5 });
    sweep.start();
    await until(async () => (await left()).length === 3, 'the sweep');
    await sweep.stop();
    expect(await left()).toEqual(['young', 'young', 'young']);
  });
});

describeEachStore('codes', (fresh) => {
  test('tries that come at once are counted one by one, and a code is spent once', async () => {
    const empty = await fresh();
    const stores = [await prepareStore(empty.open()), await prepareStore(empty.open())].map((usher) => ({ database: usher.database, codes: createCodeStore(usher) }));
    const owner = { connectionId: 'con', recipient: 'ada@example.com', clientId: 'client' };
    const [{ database, codes }] = stores as [(typeof stores)[number]];
    await codes.put(database.db, owner, { code: '123456', tries: 3, lifetimeMs: 60_000 });
    const matched = (await Promise.all(Array.from({ length: 10 }, (_, index) => stores[index % 2]!.codes.match(owner, '123456')))).filter((each) => each !== null);
    expect(matched).toHaveLength(3);

    const spent = await Promise.all(matched.map((code, index) => stores[index % 2]!.database.transaction((tx) => stores[index % 2]!.codes.spend(tx, code))));
    expect(spent.filter(Boolean)).toHaveLength(1);
    await codes.put(database.db, owner, { code: '123456', tries: 3, lifetimeMs: 60_000 });
    expect(await codes.match({ ...owner, clientId: 'another' }, '123456')).toBeNull();
  });
});
