import { readdirSync } from 'node:fs';
import { type Kysely, sql } from 'kysely';
import { expect, test } from 'vitest';
import { newId } from '../../src/domain/ids.ts';
import type { Database } from '../../src/store/database.ts';
import { describeEachStore } from '../helpers/each-store.ts';

const MIGRATIONS = new URL('../../src/store/migrations/', import.meta.url);
/** The first with which several processes could share a store; from it on, each migration only adds. */
const FIRST = '0002-contract';
const names = readdirSync(MIGRATIONS).map((name) => name.replace('.ts', '')).toSorted();

/** What a running process of an older version goes on with: the tables as it knows them. */
interface Column {
  table: string;
  name: string;
  type: string;
  needed: boolean;
}

async function apply(database: Database, name: string): Promise<void> {
  const { up } = (await import(new URL(`${name}.ts`, MIGRATIONS).href)) as { up(db: Kysely<unknown>): Promise<void> };
  await database.transaction((tx) => up(tx as unknown as Kysely<unknown>));
}

async function columnsOf({ db }: Database): Promise<Column[]> {
  const { rows } = await sql<Column>`
    select table_name as "table", column_name as name, data_type as type, is_nullable = 'NO' and column_default is null as needed
    from information_schema.columns where table_schema = 'public' order by 1, 2`.execute(db);
  return rows;
}

/** What makes PostgreSQL refuse rows: keys, checks and unique indexes. */
async function rulesOf({ db }: Database): Promise<{ table: string; rule: string }[]> {
  const { rows } = await sql<{ table: string; rule: string }>`
    select conrelid::regclass::text as "table", pg_get_constraintdef(oid) as rule from pg_constraint where contype in ('c', 'f', 'p', 'u') and connamespace = 'public'::regnamespace
    union select tablename, indexdef from pg_indexes where schemaname = 'public' and indexdef like 'CREATE UNIQUE%' order by 1, 2`.execute(db);
  return rows;
}

describeEachStore('a process of the version before, on a store that was migrated meanwhile', (fresh) => {
  test.each(names.filter((name) => name > FIRST))('after %s it still finds every column, and may leave out every new one', async (name) => {
    const database = (await fresh()).open();
    for (const each of names.filter((other) => other < name)) await apply(database, each);
    const [columns, rules] = [await columnsOf(database), await rulesOf(database)];

    await apply(database, name);

    const after = await columnsOf(database);
    expect(after).toEqual(expect.arrayContaining(columns.map(({ table, name: column, type }) => expect.objectContaining({ table, name: column, type }) as Column)));
    const tables = new Set(columns.map(({ table }) => table));
    const isNew = ({ table, name: column }: Column) => tables.has(table) && !columns.some((old) => old.table === table && old.name === column);
    const added = after.filter(isNew);
    expect(added.filter(({ needed }) => needed)).toEqual([]);
    expect((await rulesOf(database)).filter(({ table }) => tables.has(table))).toEqual(rules.filter(({ table }) => tables.has(table)));
    // The control: there is something to leave out.
    expect(added.length).toBeGreaterThan(0);
  });

  test('it signs up, claims and settles with the statements that it had before 0003, and they mean the same', async () => {
    const database = (await fresh()).open();
    for (const name of names) await apply(database, name);
    const { db } = database;
    const [keyId, registrationId, stepId] = [newId(), newId(), newId()];

    await sql`insert into data_key (id, wrapped, master_key_id, created_at) values (${keyId}, 'w', 'm', 1)`.execute(db);
    await sql`insert into registration (id, source, user_id, connection_id, connection_name, client_id, event_sealed, key_id, dispatch_failures, created_at, state, due_at, due_seq)
      values (${registrationId}, 'signup', 'auth0|1', 'con_1', 'Username-Password-Authentication', 'c', 'sealed', ${keyId}, 0, 1, 'open', 1, 1)`.execute(db);
    await sql`insert into step (id, registration_id, position, action_id, action_name, binding_id, version_id, version_number, binding_secrets_id, policy, run, state, phase, counted, last_attempt)
      values (${stepId}, ${registrationId}, 0, 'a', 'A', 'b', 'v', 1, null, '{}', 1, 'pending', 'quick', 0, 0)`.execute(db);
    await sql`insert into attempt (id, step_id, registration_id, run, number, phase, worker_id, started_at, leased_until, counted)
      values (${newId()}, ${stepId}, ${registrationId}, 1, 1, 'quick', 'w', 1, 2, 0)`.execute(db);
    await sql`update step set state = 'succeeded', ended_at = 3, next_at = null where id = ${stepId}`.execute(db);
    await sql`update attempt set ended_at = 3, outcome = 'succeeded' where step_id = ${stepId}`.execute(db);

    expect(await db.selectFrom('step').select(['wish', 'redrives', 'held_reason', 'held_at', 'state']).execute()).toEqual([{ wish: 0, redrives: 0, held_reason: null, held_at: null, state: 'succeeded' }]);
    expect(await db.selectFrom('registration').select(['trace_parent']).execute()).toEqual([{ trace_parent: null }]);
    expect(await db.selectFrom('attempt').select(['action_id', 'failed_calls', 'outcome']).execute()).toEqual([{ action_id: null, failed_calls: 0, outcome: 'succeeded' }]);
  });
}, ['postgres']);
