import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { sql } from 'kysely';
import { beforeEach, describe, expect, it } from 'vitest';
import { searchUsers, sortUsers } from '../../src/search/search-users.ts';
import type { Database } from '../../src/store/database.ts';
import { openSqlite } from '../../src/store/sqlite.ts';
import { describeEachStore } from '../helpers/each-store.ts';
import { foundUsers, prepareTables, putUsers, sortedUsers, type TestUser } from './search-store.ts';

const USERS: TestUser[] = [
  {
    user_id: 'auth0|ann',
    email: 'ann@example.com',
    email_verified: true,
    username: 'ann',
    name: 'Ann Élodie',
    nickname: 'ΑΣ',
    given_name: '100%_*',
    logins_count: 7,
    last_login: '2024-02-29T23:59:59.999Z',
    created_at: '2024-01-31T12:00:00Z',
    user_metadata: {
      plan: 'gold',
      age: 13,
      approved: false,
      nothing: null,
      empty: [],
      'dotted.key': 'x',
      strange: 'a\0b',
      deep: [[{ city: [['Paris'], 'Seattle'] }]],
      deeper: [[[[{ city: [[[['Bern']]]] }]]]],
      addresses: [{ city: 'Rome' }, { city: 'Oslo', zip: '13' }],
    },
    app_metadata: { broken: '\ud800', quote: `' or "1"="1`, __proto__: 1, big: 1e21, tiny: 0.1, slash: '\\u0000' },
  },
  { user_id: 'auth0|bob', email: 'bob@sub.example.com', name: 'bob', connection: 'customers', blocked: true, created_at: '2024-02-01T00:00:00Z', user_metadata: { age: '13', plan: 'Gold', approved: 'false' } },
  { user_id: 'sms|cyd', phone_number: '+15551234', phone_verified: true, connection: 'sms', name: 'anna', created_at: '2023-12-31T23:59:59.999Z' },
];

describeEachStore('search for users', (fresh) => {
  let database: Database;
  beforeEach(async () => {
    database = (await fresh()).open();
    await prepareTables(database);
    await putUsers(database, USERS);
  });

  async function expectFound(expected: Record<string, string[]>): Promise<void> {
    const found: Record<string, string[]> = {};
    for (const q of Object.keys(expected)) found[q] = (await foundUsers(database, q)).map((id) => id.split('|')[1]!);
    expect(found).toEqual(expected);
  }

  it('ignores case where Auth0 does, also of letters that are not ASCII, and nowhere else', async () => {
    await expectFound({
      'email:ANN@example.com': ['ann'],
      'name:"ANN éLODIE"': ['ann'],
      'name:AN*': ['ann', 'cyd'],
      'nickname:"ας"': ['ann'],
      'username:ANN': [],
      'user_metadata.plan:gold': ['ann'],
      'user_id:AUTH0*': [],
    });
  });

  it('compares whole values, never words of them', async () => {
    await expectFound({ 'name:ann': [], 'name:Ann\\ Élodie': ['ann'], 'user_id:auth0': [], 'user_id:auth0*': ['ann', 'bob'], 'name:an': [] });
  });

  it('takes characters that SQL knows as wildcards or quotes for what they are', async () => {
    await expectFound({
      'given_name:"100%_*"': ['ann'],
      'given_name:100%_\\**': ['ann'],
      'given_name:100%_x*': [],
      'given_name:1_0*': [],
      'name:%*': [],
      [String.raw`app_metadata.quote:"' or \"1\"=\"1"`]: ['ann'],
      [`user_metadata.x\\'\\"y:1`]: [],
      'name:(")" OR "\'" OR "--" OR "${x}" OR "$1" OR "?")': [],
    });
  });

  it('negates what is missing as well', async () => {
    await expectFound({
      'NOT username:ann': ['bob', 'cyd'],
      '-email:bob@sub.example.com': ['ann', 'cyd'],
      'NOT (email:ann@example.com OR NOT _exists_:email)': ['bob'],
      'NOT user_metadata.plan:gold': ['bob', 'cyd'],
      'NOT email_verified:true': ['bob', 'cyd'],
      '_exists_:name -name:bob -name:anna': ['ann'],
    });
  });

  it('knows whether an address is verified only of users who have one', async () => {
    await expectFound({
      'email_verified:false': ['bob'],
      'phone_verified:true': ['cyd'],
      '_exists_:phone_verified': ['cyd'],
      'phone_number:"+15551234"': ['cyd'],
      'phone_number:\\+1*': ['cyd'],
      'blocked:true': ['bob'],
      'blocked:false': ['ann', 'cyd'],
    });
  });

  it('takes a date without a time for the whole day, month or year', async () => {
    await expectFound({
      'created_at:2024-01-31': ['ann'],
      'created_at:2024-01': ['ann'],
      'created_at:2024': ['ann', 'bob'],
      'created_at:[2023 TO 2024-01-31]': ['ann', 'cyd'],
      'created_at:[* TO 2024-01-31}': ['cyd'],
      'created_at:{2023 TO *]': ['ann', 'bob'],
      'created_at:{2024-01 TO *]': ['bob'],
      'created_at:>=2024-02-01': ['bob'],
      'created_at:>2024-01-31': ['bob'],
      'created_at:<2024-01-31': ['cyd'],
      'created_at:<=2024-01-31': ['ann', 'cyd'],
      'created_at:"2024-01-31T14:00+02:00"': ['ann'],
      'created_at:"2024-01-31T12:00:00.000Z"': ['ann'],
      'created_at:{2024-01-31T12:00:00.000Z TO 2024-02-01T00:00:00.000Z]': ['bob'],
      'last_login:2024-02-29': ['ann'],
      '_exists_:last_login': ['ann'],
      'last_login:[* TO *]': ['ann'],
    });
  });

  it('compares numbers as numbers', async () => {
    await expectFound({ 'logins_count:7.0': ['ann'], 'logins_count:[6.5 TO 10}': ['ann'], 'logins_count:>7': [], 'logins_count:<"1e30"': ['ann', 'bob', 'cyd'] });
  });

  it('finds the identity: connection by its name, provider and id', async () => {
    await expectFound({
      'identities.connection:customers': ['bob'],
      'identities.connection:(customers OR s*)': ['bob', 'cyd'],
      'NOT identities.connection:"customers"': ['ann', 'cyd'],
      '_exists_:identities.connection': ['ann', 'bob', 'cyd'],
      'identities.provider:auth0': ['ann', 'bob'],
      'identities.user_id:bob': ['bob'],
      'identities.user_id:auth0*': [],
      'email.domain:EXAMPLE.com': ['ann'],
      'email.domain:sub*': ['bob'],
    });
  });

  it('finds a value of metadata whatever its type, through objects and arrays', async () => {
    await expectFound({
      'user_metadata.age:13': ['ann', 'bob'],
      'user_metadata.age:13.0': ['ann'],
      'user_metadata.approved:"false"': ['ann', 'bob'],
      'user_metadata.addresses.city:"Oslo"': ['ann'],
      'user_metadata.addresses.zip:13': ['ann'],
      'user_metadata.deep.city:Paris': ['ann'],
      'user_metadata.deep.city:Seattle': ['ann'],
      'user_metadata.deeper.city:Bern': ['ann'],
      'user_metadata.city:Paris': [],
      'user_metadata.nothing:null': [],
      'user_metadata.addresses:Oslo': [],
      'user_metadata.dotted\\.key:x': ['ann'],
      'user_metadata.dotted.key:x': [],
      'app_metadata.big:1000000000000000000000': ['ann'],
      'app_metadata.tiny:1e-1': ['ann'],
      'app_metadata.constructor:x': [],
    });
  });

  it('finds metadata that exists, which empty arrays, empty objects and null do not', async () => {
    await expectFound({
      '_exists_:user_metadata.addresses.zip': ['ann'],
      '_exists_:user_metadata.addresses': ['ann'],
      '_exists_:user_metadata': ['ann', 'bob'],
      '_exists_:user_metadata.approved': ['ann', 'bob'],
      '_exists_:user_metadata.nothing': [],
      '_exists_:user_metadata.empty': [],
      'user_metadata.plan:*': ['ann', 'bob'],
      '_exists_:app_metadata.toString': [],
    });
  });

  it('is not broken by what no text of PostgreSQL can have', async () => {
    await putUsers(database, [...USERS, { user_id: 'auth0|dan', name: 'Xx\0y', user_metadata: { 'k\0': 'v' } }]);
    await expectFound({
      'name:xx*': ['dan'],
      'name:xx': [],
      '_exists_:user_metadata.k': [],
      '_exists_:user_metadata.strange': ['ann'],
      'user_metadata.strange:a': [],
      '_exists_:app_metadata.broken': ['ann'],
      'app_metadata.slash:"\\\\u0000"': ['ann'],
    });
  });

  it('sorts as it compares, with those last that have nothing to be sorted by', async () => {
    expect(await sortedUsers(database, 'created_at:1')).toEqual(['sms|cyd', 'auth0|ann', 'auth0|bob']);
    expect(await sortedUsers(database, 'created_at:-1')).toEqual(['auth0|bob', 'auth0|ann', 'sms|cyd']);
    expect(await sortedUsers(database, 'name:-1')).toEqual(['auth0|bob', 'sms|cyd', 'auth0|ann']);
    expect(await sortedUsers(database, 'email:1')).toEqual(['auth0|ann', 'auth0|bob', 'sms|cyd']);
    expect(await sortedUsers(database, 'email:-1')).toEqual(['auth0|bob', 'auth0|ann', 'sms|cyd']);
    expect(await sortedUsers(database, 'blocked:1')).toEqual(['auth0|ann', 'sms|cyd', 'auth0|bob']);
  });
});

it('a search that stops SQLite for 2 seconds is given up with 503, and the next one works', async () => {
  const database = openSqlite(join(mkdtempSync(join(tmpdir(), 'usher-search-')), 'usher.db'));
  await prepareTables(database);
  await putUsers(database, USERS);
  await sql`insert into user_account (id, connection_id, email_verified, phone_verified, profile, user_metadata, app_metadata, created_at, updated_at)
    with recursive n (i) as (select 1 union all select i + 1 from n where i < 50000)
    select 'auth0|' || i, 'con_0', 0, 0, '{}', '{"a":{"b":1}}', '{}', 0, 0 from n`.execute(database.db);
  await expect(foundUsers(database, Array(200).fill('user_metadata.a.b:2').join(' '))).rejects.toMatchObject({ status: 503, message: expect.stringContaining('longer than 2 seconds') as string });
  // Without the 50,000, which take any search some of its 2 seconds.
  await putUsers(database, USERS);
  expect(await foundUsers(database, 'user_metadata.addresses.city:Oslo AND name:ann*')).toEqual(['auth0|ann']);
  await database.close();
});

describeEachStore('what a search for users refuses', (fresh) => {
  let database: Database;
  beforeEach(async () => {
    database = (await fresh()).open();
  });

  describe.each([
    ['emial:x', 1, 'unknown field "emial". Fields that can be searched: user_id, email, email.domain,'],
    ['name:x AND connection:y', 12, 'unknown field "connection"'],
    ['__proto__:x', 1, 'unknown field'],
    ['email.x:y', 1, 'unknown field'],
    ['blocked:yes', 9, '"yes" is neither true nor false'],
    ['blocked:[true TO false]', 10, 'ranges are for dates, numbers and texts'],
    ['created_at:2024-02-30', 12, '"2024-02-30" is not a date'],
    ['created_at:[yesterday TO *]', 13, '"yesterday" is not a date'],
    ['created_at:2024*', 12, 'the field "created_at" is a date: wildcards are for texts'],
    ['logins_count:many', 14, '"many" is not a number'],
    ['user_metadata:gold', 1, 'user_metadata is an object: name a field of it'],
    ['user_metadata.plan:go*', 1, 'ranges and wildcards are not available in user_metadata'],
    ['app_metadata.n:[1 TO 2]', 1, 'ranges and wildcards are not available in app_metadata'],
    [`user_metadata.${'a.'.repeat(30)}b:1`, 1, 'deeper than metadata can be (20 levels)'],
  ])('%s', (q, column, problem) => {
    it(`is an error at column ${column}`, () => {
      const message = expect.stringContaining(problem) as string;
      const body = { statusCode: 400, error: 'Bad Request', message, errorCode: 'invalid_query_string' };
      expect(() => searchUsers(database, q)).toThrow(expect.objectContaining({ name: 'SearchSyntaxError', status: 400, column, body }) as Error);
      expect(() => searchUsers(database, q)).toThrow(`The search query string has an error at column ${column}: `);
    });
  });

  it.each(['name', 'name:2', 'name:1,email:1', 'user_metadata.plan:1', 'identities.connection:1', 'nobody:1', ''])('a sort order %j', (sort) => {
    expect(() => sortUsers(database, sort)).toThrow(/Query validation error: .* write field:1 or field:-1 with one of user_id, email, email_verified/);
  });
});
