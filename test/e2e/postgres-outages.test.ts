import { Client } from 'pg';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { postgresMissing, type PostgresServer, startPostgres } from '../../examples/cluster/postgres.ts';
import { mustSkip } from '../helpers/must-skip.ts';
import { startTcpProxy, type TcpProxy } from '../helpers/tcp-proxy.ts';
import { createUsherOnPostgres, type RoleOnPostgres, type UsherOnPostgres } from './postgres-usher.ts';
import { until } from './until.ts';
import { ask, NO_TEMPORAL, spawnUsher } from './usher-process.ts';

/** A client that is not told anything for so long has gone. */
const PATIENCE_MS = 20_000;
/** What the transaction of a sign-up sends. */
const SIGN_UP: [string, string] = ['insert into "user_account"', 'commit'];

describe.skipIf(mustSkip('an api whose PostgreSQL fails', postgresMissing()))('an api whose PostgreSQL fails', () => {
  let postgres: PostgresServer;
  let network: TcpProxy;
  let usher: UsherOnPostgres;
  let api: RoleOnPostgres;
  let people = 0;

  beforeAll(async () => {
    postgres = await startPostgres();
    const owned = await createOwnedDatabase(postgres);
    network = await startTcpProxy(Number(new URL(owned).port));
    usher = await createUsherOnPostgres({ databaseUrl: owned, temporalAddress: NO_TEMPORAL.TEMPORAL_ADDRESS });
    api = await usher.start('api', { DATABASE_URL: network.urlOf(owned) });
    const management = await usher.management(api);
    const action = await management.deployAction({ name: 'Bound', triggerId: 'post-user-registration', code: 'exports.onExecutePostUserRegistration = async () => {};' });
    await management.bind('post-user-registration', [action]);
  });
  afterAll(async () => {
    await usher?.close();
    await network?.close();
    await postgres?.stop();
  });

  async function signUp(email: string): Promise<{ status: number; retryAfter: string | null; body: Record<string, unknown>; ms: number }> {
    const startedAt = performance.now();
    const response = await fetch(`${api.address}/dbconnections/signup`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', connection: 'close' },
      body: JSON.stringify({ connection: 'Username-Password-Authentication', email, password: 'Correct-Horse-7' }),
      signal: AbortSignal.timeout(PATIENCE_MS),
    });
    const body = (await response.json()) as Record<string, unknown>;
    return { status: response.status, retryAfter: response.headers.get('retry-after'), body, ms: performance.now() - startedAt };
  }
  const somebody = () => `person-${++people}@example.com`;

  const unavailable = {
    status: 503,
    retryAfter: '5',
    body: { name: 'Error', code: 'temporarily_unavailable', description: expect.stringContaining('Try again') as string, statusCode: 503 },
  };

  /** The control: sign-ups are refused, and `/readyz` says why. */
  async function isOut(reason: RegExp, email = somebody()): Promise<void> {
    const refused = signUp(email);
    const { body } = await until('/readyz says it', async () => {
      const answer = await ask(api.address, '/readyz');
      return answer.status === 503 ? answer : null;
    });
    expect(await refused).toMatchObject(unavailable);
    expect(body.degraded['store']).toMatch(reason);
    expect((await ask(api.address, '/healthz')).status).toBe(200);
  }

  /** Without a restart. */
  async function isBack(): Promise<void> {
    await until('sign-ups are served again', async () => (await signUp(somebody())).status === 200, 15_000);
    await until('/readyz says it', async () => (await ask(api.address, '/readyz')).status === 200);
  }

  /** What is in the store of one e-mail. */
  async function kept(email: string): Promise<string[]> {
    return (await usher.registrations(email)).map(({ state, steps }) => `${state} with ${steps.length} step`);
  }

  test('it is restarted: sign-ups get 503 with a Retry-After meanwhile, and 200 as soon as it is back', async () => {
    await isBack();
    await postgres.kill();
    await isOut(/ECONN|terminat/);
    await postgres.start();
    await isBack();
  });

  test('the connection is lost at the commit: a sign-up that did not arrive is taken at the next try, one that did is there once', async () => {
    const [lost, arrived] = [somebody(), somebody()];

    const beforeCommit = network.cutAt(SIGN_UP, 'before-request');
    expect(await signUp(lost)).toMatchObject(unavailable);
    await beforeCommit;
    expect(await kept(lost)).toEqual([]);
    expect(await signUp(lost)).toMatchObject({ status: 200 });
    expect(await kept(lost)).toEqual(['open with 1 step']);

    const beforeAnswer = network.cutAt(SIGN_UP, 'before-answer');
    expect(await signUp(arrived)).toMatchObject(unavailable);
    await beforeAnswer;
    expect(await kept(arrived)).toEqual(['open with 1 step']);
    expect(await signUp(arrived)).toMatchObject({ status: 400, body: { code: 'user_exists' } });
    expect(await kept(arrived)).toEqual(['open with 1 step']);
    // Not waiting for a dispatcher that was told of it: it is found due.
    const [row] = await usher.query<{ due: boolean }>('select due_at is not null as due from registration r join user_account u on u.id = r.user_id where u.email = $1', arrived);
    expect(row).toEqual({ due: true });
  });

  test('it becomes a replica that takes no writes, and then not any more: also connections that stay open', async () => {
    await isBack();
    const name = new URL(usher.databaseUrl).pathname.slice(1);
    await usher.query(`alter database ${name} set default_transaction_read_only = on`);
    network.cut();
    await isOut(/read-only/);
    const opened = network.connections();
    await asAdmin(usher.databaseUrl, `alter database ${name} reset default_transaction_read_only`);
    await isBack();
    expect(opened).toBeGreaterThan(0);
  });

  test('it takes no more connections', async () => {
    const name = new URL(usher.databaseUrl).pathname.slice(1);
    await asAdmin(usher.databaseUrl, `alter database ${name} connection limit 0`);
    network.cut();
    await isOut(/too many connections/);
    await asAdmin(usher.databaseUrl, `alter database ${name} connection limit -1`);
    await isBack();
  });

  test('it is slow, so that more sign-ups wait than there are connections: each is told within seconds', async () => {
    const holder = new Client({ connectionString: usher.databaseUrl });
    await holder.connect();
    await holder.query('begin; lock table user_account in access exclusive mode');

    const answers = await Promise.all(Array.from({ length: 25 }, () => signUp(somebody())));

    for (const answer of answers) expect(answer).toMatchObject(unavailable);
    expect(Math.max(...answers.map(({ ms }) => ms))).toBeLessThan(15_000);
    await holder.query('rollback');
    await holder.end();
    await isBack();
  });

  test('the network swallows everything: sign-ups are told, all goes on with new connections, and it can be stopped meanwhile', async () => {
    const [before, caught] = [somebody(), somebody()];
    expect((await signUp(before)).status).toBe(200);
    network.blackHole();
    await isOut(/timeout/, caught);
    network.heal();
    await isBack();
    expect(await kept(before)).toEqual(['open with 1 step']);
    expect(await signUp(caught)).toMatchObject({ status: 200 });

    network.blackHole();
    expect(await api.stop()).toBe(0);
    network.heal();
  });

  test.each([
    ['a server that is not there', { port: '1' }, /ECONNREFUSED/],
    ['a database that is not there', { pathname: '/nowhere' }, /database "nowhere" does not exist/],
    ['TLS that the server does not speak', { search: '?sslmode=verify-full' }, /does not support SSL/],
  ])('a start with %s says in one sentence what is wrong and what to do', async (_, change, reason) => {
    const url = Object.assign(new URL(usher.databaseUrl), change);
    const started = spawnUsher({ args: ['--role', 'api'], env: { ...NO_TEMPORAL, DATABASE_URL: url.href, USHER_PORT: '0', USHER_DATA_DIR: api.dataDir } });
    expect(await started.ended()).toBe(1);
    expect(started.said()).toEqual([expect.stringMatching(reason)]);
    expect(started.said()[0]).toMatch(/^The PostgreSQL store \S+ at 127\.0\.0\.1:\d+ cannot be used now .*: see that PostgreSQL runs there and takes writes, and that DATABASE_URL names it; nothing was changed\.$/);
  });

  test('what every sign-up was told is true: no user without a registration, none twice', async () => {
    const [counts] = await usher.query('select count(*)::int as users, count(distinct u.id)::int as people, count(r.id)::int as registrations from user_account u left join registration r on r.user_id = u.id');
    const { users, people: distinct, registrations } = counts as { users: number; people: number; registrations: number };
    expect(users).toBeGreaterThan(5);
    expect({ distinct, registrations }).toEqual({ distinct: users, registrations: users });
  });
});

/** One whose owner is nobody special, as in production. */
async function createOwnedDatabase(postgres: PostgresServer): Promise<string> {
  const url = new URL(await postgres.createDatabase());
  await asAdmin(url.href, 'create role usher login');
  await asAdmin(url.href, `alter database ${url.pathname.slice(1)} owner to usher`);
  url.username = 'usher';
  return url.href;
}

async function asAdmin(databaseUrl: string, statement: string): Promise<void> {
  const url = new URL(databaseUrl);
  url.username = 'postgres';
  url.pathname = '/postgres';
  const client = new Client({ connectionString: url.href });
  await client.connect();
  await client.query(statement);
  await client.end();
}
