import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { postgresMissing, type PostgresServer, startPostgres } from '../../examples/cluster/postgres.ts';
import { type Receiver, startReceiver } from '../../examples/receiver.ts';
import { mustSkip } from '../helpers/must-skip.ts';
import { bindTellingActions, deliveries } from './actions.ts';
import { until } from './until.ts';
import { startTestUsher, type TestUsher } from './usher.ts';

describe.skipIf(mustSkip('npm start with DATABASE_URL', postgresMissing()))('npm start with DATABASE_URL', () => {
  let postgres: PostgresServer;
  let receiver: Receiver;
  let usher: TestUsher;

  beforeAll(async () => {
    [postgres, receiver] = await Promise.all([startPostgres(), startReceiver(() => ({ status: 200 }))]);
    usher = await startTestUsher({ DATABASE_URL: await postgres.createDatabase() });
  });
  afterAll(async () => {
    await usher?.close();
    await receiver?.close();
    await postgres?.stop();
  });

  test('it signs up and runs Actions, goes on after a restart of everything, and makes no file for a store', async () => {
    await bindTellingActions(usher.management, receiver, ['Tell']);
    expect((await usher.signUp('one@example.com')).status).toBe(200);
    await until('it has run', () => deliveries(receiver).length === 1);

    expect(await usher.terminate()).toBe(0);
    await usher.start();
    expect((await usher.signUp('two@example.com')).status).toBe(200);
    await until('the second has run', () => deliveries(receiver).length === 2);

    expect(deliveries(receiver).map(({ email }) => email)).toEqual(['one@example.com', 'two@example.com']);
    expect(existsSync(join(usher.dataDir, 'usher.db'))).toBe(false);
    expect((await usher.signUp('one@example.com')).body['code']).toBe('user_exists');
  });
});
