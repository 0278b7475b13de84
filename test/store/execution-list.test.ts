import { type CompiledQuery, type KyselyPlugin, sql } from 'kysely';
import { beforeEach, expect, test } from 'vitest';
import { firstIdOf } from '../../src/domain/ids.ts';
import type { Database } from '../../src/store/database.ts';
import type { ExecutionFilter } from '../../src/store/execution-filter.ts';
import { createListExecutions, type ExecutionSummary } from '../../src/store/execution-list.ts';
import { migrate } from '../../src/store/migrate.ts';
import type { NewRow } from '../../src/store/schema.ts';
import { describeEachStore } from '../helpers/each-store.ts';

const START = Date.UTC(2026, 10, 24);
const MINUTE = 60_000;
const COUNT = 60;

/** Registrations of every kind, one a minute. The numbers share few factors, so that all combinations are there. */
async function fill({ db }: Database): Promise<void> {
  const registrations: NewRow<'registration'>[] = [];
  const steps: NewRow<'step'>[] = [];
  const attempts: NewRow<'attempt'>[] = [];
  for (let n = 0; n < COUNT; n++) {
    const at = START + n * MINUTE;
    const id = firstIdOf(at).slice(0, 24) + String(n).padStart(12, '0');
    const outcome = ([null, 'succeeded', 'failed', 'cancelled', 'nothing-bound'] as const)[n % 5]!;
    registrations.push({
      id, user_id: `auth0|${n % 7}`, connection_id: 'con_1', connection_name: n % 4 === 0 ? 'Other' : 'Users', source: n % 3 === 0 ? 'outside' : 'signup', event_sealed: 'e', key_id: 'k',
      state: outcome === null ? 'open' : 'closed', outcome, due_seq: 1, dispatch_failures: 0, created_at: at, closed_at: outcome === null ? null : at,
    });
    if (outcome === 'nothing-bound') continue;
    for (const [position, action] of ['A', n % 2 === 0 ? 'B' : 'C'].entries()) {
      const state = outcome === null ? (n % 10 === 0 ? 'parked' : 'pending') : outcome;
      steps.push({
        id: `${id}-${position}`, registration_id: id, position, action_id: action, action_name: action, binding_id: 'b', version_id: 'v', version_number: 1, policy: '{}', run: 1, state, phase: 'quick',
        counted: 0, last_attempt: 2, next_at: state === 'parked' && position === 1 ? at : null, held_reason: state === 'pending' && n % 3 === 0 ? 'paused' : null,
      });
      for (const number of [1, 2]) {
        attempts.push({
          id: `${id}-${position}-${number}`, step_id: `${id}-${position}`, registration_id: id, run: 1, number, phase: 'quick', worker_id: 'w', started_at: at, leased_until: at, counted: 1,
          error_type: number === 2 && n % 2 === 0 ? 'ACTION_THREW' : 'ACTION_CRASHED', failed_calls: number,
        });
      }
    }
  }
  await db.insertInto('registration').values(registrations).execute();
  await db.insertInto('step').values(steps).execute();
  await db.insertInto('attempt').values(attempts).execute();
}

function matches({ steps, ...registration }: ExecutionSummary, filter: ExecutionFilter): boolean {
  const says = <T>(wanted: T | undefined, is: T): boolean => wanted === undefined || wanted === is;
  const { createdFrom = 0, createdTo = Infinity, actionId, stepStates, waiting, errorType } = filter;
  const isAboutStep = (actionId ?? stepStates ?? waiting ?? errorType) !== undefined;
  return (
    says(filter.userId, registration.userId) && says(filter.connection, registration.connectionName) && says(filter.source, registration.source) &&
    says(filter.state, registration.state) && says<string | null>(filter.outcome, registration.outcome) &&
    registration.createdAt >= createdFrom && registration.createdAt <= createdTo &&
    (!isAboutStep || steps.some((step) =>
      says(actionId, step.actionId) && (stepStates?.includes(step.state) ?? true) && says<string | null>(errorType, step.errorType) &&
      (waiting === undefined || step.nextAt !== null || step.heldReason !== null)))
  );
}

const FILTERS: ExecutionFilter[] = [
  {},
  { userId: 'auth0|3' },
  { userId: 'auth0|3', outcome: 'failed' },
  { connection: 'Other' },
  { source: 'outside', connection: 'Users' },
  { state: 'open' },
  { state: 'closed' },
  { outcome: 'nothing-bound' },
  { outcome: 'failed', state: 'open' },
  { outcome: 'failed', connection: 'Other', source: 'outside' },
  { waiting: true },
  { waiting: true, connection: 'Other' },
  { actionId: 'A' },
  { actionId: 'B', stepStates: ['failed'] },
  { actionId: 'C', stepStates: ['failed', 'parked', 'pending'] },
  { actionId: 'B', waiting: true },
  { actionId: 'A', errorType: 'ACTION_CRASHED', outcome: 'failed' },
  { actionId: 'none' },
  { createdFrom: START + 7 * MINUTE, createdTo: START + 31 * MINUTE },
  { createdFrom: START + 7 * MINUTE, actionId: 'B', userId: 'auth0|2' },
  { createdTo: START + 31 * MINUTE, actionId: 'B', stepStates: ['cancelled', 'succeeded'] },
];

describeEachStore('the list of executions', (fresh) => {
  let database: Database;
  beforeEach(async () => {
    database = (await fresh()).open();
    await migrate(database);
    await fill(database);
  });

  test('has what matches, newest first, each once however it is paged', async () => {
    const list = createListExecutions({ database });
    const all = await list({}, { before: null, limit: COUNT });
    expect(all).toHaveLength(COUNT);
    expect(all[3]).toMatchObject({ steps: [{ actionId: 'A', attemptsBegun: 2, failedCalls: 2, errorType: 'ACTION_THREW' }, { actionId: 'B' }] });
    for (const filter of FILTERS) {
      const paged: ExecutionSummary[] = [];
      for (let before: string | null = null, page = 0; page <= COUNT; page++) {
        const next: ExecutionSummary[] = await list(filter, { before, limit: 4 });
        paged.push(...next);
        if (next.length < 4) break;
        before = next.at(-1)!.id;
      }
      const said = JSON.stringify(filter);
      expect(paged.map(({ id }) => id), said).toEqual(all.filter((each) => matches(each, filter)).map(({ id }) => id));
      if (!['{"actionId":"none"}', '{"outcome":"failed","state":"open"}'].includes(said)) expect(paged.length, said).toBeGreaterThan(0);
    }
  });

  test('reads each page from an index in its order, without a sort', async ({ skip }) => {
    // PostgreSQL plans by how many rows there are, and so few it reads anyhow.
    if (database.dialect !== 'sqlite') skip();
    for (const filter of FILTERS.filter(({ userId, createdFrom, createdTo }) => [userId, createdFrom, createdTo].every((each) => each === undefined))) {
      const queries: CompiledQuery[] = [];
      const watched: KyselyPlugin = {
        transformQuery({ node, queryId }) {
          queries.push(database.db.getExecutor().compileQuery(node, queryId));
          return node;
        },
        transformResult: ({ result }) => Promise.resolve(result),
      };
      await createListExecutions({ database: { ...database, db: database.db.withPlugin(watched) } })(filter, { before: firstIdOf(START + 50 * MINUTE), limit: 10 });
      for (const query of queries) {
        const plan = await sql<{ detail: string }>`explain query plan ${sql.raw(inlined(query))}`.execute(database.db);
        const steps = plan.rows.map(({ detail }) => detail).join('\n');
        expect(steps, `${JSON.stringify(filter)}: ${query.sql}`).not.toMatch(/^SCAN (registration|step|attempt)/m);
        if (!query.sql.includes('limit')) continue;
        expect(steps, query.sql).toMatch(/^SEARCH (registration USING( COVERING)? INDEX registration_listed|step USING( COVERING)? INDEX step_(action|waiting)) /);
        expect(steps, query.sql).not.toContain('TEMP B-TREE');
      }
    }
  });
});

function inlined({ sql: text, parameters }: CompiledQuery): string {
  let index = 0;
  return text.replaceAll('?', () => {
    const value = parameters[index++];
    return typeof value === 'number' ? String(value) : `'${String(value)}'`;
  });
}
