import { beforeEach, expect, it } from 'vitest';
import { searchLogs } from '../../src/search/search-logs.ts';
import type { Database } from '../../src/store/database.ts';
import { describeEachStore } from '../helpers/each-store.ts';
import { foundLogs, prepareTables, putLogs } from './search-store.ts';

describeEachStore('search in the log', (fresh) => {
  let database: Database;
  beforeEach(async () => {
    database = (await fresh()).open();
    await prepareTables(database);
    await putLogs(database, [
      { log_id: '1', type: 'ss', date: '2018-12-18T10:00:00Z', user_id: 'auth0|123', client_id: 'app', connection: 'customers' },
      { log_id: '2', type: 'fs', date: '2018-12-19T00:00:00Z', connection: 'Username-Password-Authentication' },
      { log_id: '3', type: 'sapi', date: '2018-12-19T00:00:00.001Z', client_id: 'App' },
    ]);
  });

  it('finds what it says, and case matters', async () => {
    const expected: Record<string, string[]> = {
      'type:ss': ['1'],
      'type:s*': ['1', '3'],
      'type:(ss OR fs)': ['1', '2'],
      'NOT type:ss': ['2', '3'],
      'user_id:"auth0|123"': ['1'],
      'client_id:app': ['1'],
      'log_id:2': ['2'],
      'connection:customers': ['1'],
      'NOT connection:customers': ['2', '3'],
      'connection_id:con_1': ['1'],
      'strategy:auth0': ['1', '2'],
      'strategy:Auth0': [],
      'NOT strategy:auth0': ['3'],
      'client_name:"My app"': ['1'],
      'client_name:(My* OR other) AND type:ss': ['1'],
      '_exists_:client_name': ['1'],
      'type:ss AND date:[2018-12-18 TO *]': ['1'],
    };
    const found: typeof expected = {};
    for (const q of Object.keys(expected)) found[q] = await foundLogs(database, q);
    expect(found).toEqual(expected);
  });

  it('ends a range at the first millisecond of a date, as Auth0 does for logs', async () => {
    expect(await foundLogs(database, 'date:[2018-12-18 TO 2018-12-19]')).toEqual(['1', '2']);
    expect(await foundLogs(database, 'date:[* TO 2018-12-19}')).toEqual(['1']);
    expect(await foundLogs(database, 'date:{2018-12-19 TO *]')).toEqual(['3']);
    expect(await foundLogs(database, 'date:[2018-12-18T10:00:00 TO 2018-12-18T10:00:01}')).toEqual(['1']);
    expect(await foundLogs(database, 'date:2018-12-19')).toEqual(['2', '3']);
  });

  it('says which fields are encrypted, and which can be searched', () => {
    expect(() => searchLogs(database, 'type:ss AND ip:"1.2.3.4"')).toThrow(
      'The search query string has an error at column 13: the field "ip" is kept encrypted and cannot be searched. ' +
        'Fields that can be: log_id, date, type, user_id, client_id, connection_id, connection, strategy, client_name.',
    );
    expect(() => searchLogs(database, 'user_email:x')).toThrow('unknown field "user_email"');
  });
});
