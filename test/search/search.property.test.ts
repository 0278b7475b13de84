import * as fc from 'fast-check';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { parseQuery } from '../../src/search/parse-query.ts';
import { SearchSyntaxError } from '../../src/search/search-syntax-error.ts';
import type { Database } from '../../src/store/database.ts';
import { describeEachStore } from '../helpers/each-store.ts';
import { search, userDetails } from './naive-matcher.ts';
import { foundLogs, foundUsers, prepareTables, putUsers, type TestUser } from './search-store.ts';

const ROUNDS = { sqlite: 150, postgres: 60 };
const QUERIES = 15;

/** The parts of queries, in any order, so that many of them are nearly right. */
const fragment = fc.oneof(
  fc.constantFrom(
    'email:', 'name:', 'user_metadata.', 'app_metadata.a:', 'created_at:', 'blocked:', '_exists_:', 'identities.connection:', 'type:', 'date:', 'a', '"a"', '2024', 'true', '*', '.',
    ' ', ' ', ' AND ', ' OR ', 'NOT ', '-', '!', '(', ')', '[', '{', ' TO ', ']', '}', '"', '\\', '>', '<=', '~2', '^', '/', '?', '+', '&&', '||', ':', '\0', '\ud800', '\t', '%', "'",
  ),
  fc.string({ unit: 'binary', maxLength: 3 }),
);
const garbage = fc.array(fragment, { maxLength: 12 }).map((parts) => parts.join(''));

describeEachStore('any search', (fresh) => {
  let database: Database;
  let dialect: 'sqlite' | 'postgres';
  beforeEach(async () => {
    const store = await fresh();
    dialect = store.dialect;
    database = store.open();
    await prepareTables(database);
    // By which SQLite gives up a search after 2 seconds; a busy machine can stop for as long.
    vi.useFakeTimers({ toFake: ['performance'] });
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  it('finds what a naive matcher finds, in any users', { timeout: 280_000 }, async () => {
    let [found, missed] = [0, 0];
    await fc.assert(
      fc.asyncProperty(fc.array(userDetails, { minLength: 1, maxLength: 8 }), fc.array(search, { minLength: 1, maxLength: 2 * QUERIES, size: 'max' }), async (details, searches) => {
        const users = details.map((each, index): TestUser => {
          const identified = index % 2 === 0 ? { user_id: `auth0|${index}`, email: `${index}@é.example`, username: `a${index}` } : { user_id: `email|a${index}` };
          return { ...each, ...identified };
        });
        await putUsers(database, users);
        for (const { q, matches } of searches) {
          const expected = users.filter(matches).map(({ user_id }) => user_id).toSorted();
          expect(await foundUsers(database, q), q).toEqual(expected);
          found += expected.length;
          missed += users.length - expected.length;
        }
      }),
      { numRuns: ROUNDS[dialect] },
    );
    // Control: the queries neither find nearly everything nor nearly nothing.
    expect(Math.min(found, missed) / (found + missed)).toBeGreaterThan(0.1);
  });

  it('is answered or refused with a place, whatever is written', { timeout: 280_000 }, async () => {
    let answered = 0;
    await fc.assert(
      fc.asyncProperty(garbage, async (q) => {
        for (const find of [foundUsers, foundLogs]) {
          try {
            await find(database, q);
            answered++;
          } catch (error) {
            if (!(error instanceof SearchSyntaxError)) throw error;
            expect(error.column).toBeGreaterThanOrEqual(1);
            expect(error.column).toBeLessThanOrEqual(Array.from(q).length + 1);
          }
        }
      }),
      { numRuns: 20 * ROUNDS[dialect] },
    );
    expect(answered).toBeGreaterThan(0);
  });

  it('takes the longest queries there can be', async () => {
    const longest = [
      Array(200).fill('name:a').join(' OR '),
      Array(200).fill('-user_metadata.a.b.c:1').join(' '),
      `${'('.repeat(20)}${Array(200).fill('created_at:2024').join(' AND ')}${')'.repeat(20)}`,
      `${'NOT ('.repeat(20)}email:a${')'.repeat(20)}`,
      `user_metadata${'.a'.repeat(20)}:1`,
      `name:"${'😀'.repeat(4990)}"`,
    ];
    for (const q of longest) expect(await foundUsers(database, q)).toEqual([]);
  });
});

it.each(['(', '-', '!', 'a:b ', 'a:(', '"', '\\', 'AND ', 'a:[', ' ', 'a', 'a.', '*', 'NOT ', '😀', 'a:"', ':', '\\"', '_exists_:'])('5000 characters of %j are read quickly', (part) => {
  const q = part.repeat(5000 / part.length);
  const start = performance.now();
  try {
    parseQuery(q);
  } catch (error) {
    expect(error).toBeInstanceOf(SearchSyntaxError);
  }
  // Usually 1 ms; anything that is not linear takes minutes.
  expect(performance.now() - start).toBeLessThan(20_000);
});

it('no text makes the parser throw anything else', () => {
  fc.assert(
    fc.property(fc.oneof(garbage, fc.string({ unit: 'binary' }), fc.string({ unit: fc.integer({ min: 0, max: 0xffff }).map((code) => String.fromCharCode(code)) })), (q) => {
      try {
        parseQuery(q);
      } catch (error) {
        expect(error).toBeInstanceOf(SearchSyntaxError);
      }
    }),
    { numRuns: 20_000 },
  );
});

