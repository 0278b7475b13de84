import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { readFileSync } from 'node:fs';
import { beforeAll, describe, expect, it } from 'vitest';
import { searchLogs } from '../../src/search/search-logs.ts';
import { SearchSyntaxError } from '../../src/search/search-syntax-error.ts';
import { searchUsers, sortUsers } from '../../src/search/search-users.ts';
import { openSqlite } from '../../src/store/sqlite.ts';
import { foundLogs, foundUsers, prepareTables, putLogs, putUsers, sortedUsers, type TestLog, type TestUser } from './search-store.ts';

const page = readFileSync(new URL('../../docs/user-search.md', import.meta.url), 'utf8');

/** The part of the page under this heading. */
function section(heading: string): string {
  const text = page.split(/^## /m).find((part) => part.startsWith(`${heading}\n`));
  if (text === undefined) throw new Error(`no heading ${heading}`);
  return text;
}

/** The rows of the table whose first heading this is, as the texts in code font and the plain text of their cells. */
function table(part: string, heading: string): { code: string[]; text: string }[][] {
  const lines = part.split('\n');
  const start = lines.findIndex((line) => line.startsWith(`| ${heading} |`));
  const rows = lines.slice(start + 2);
  return rows.slice(0, rows.findIndex((line) => !line.startsWith('|'))).map((line) =>
    line.slice(1, -1).split(/(?<!\\)\|/).map((cell) => {
      const text = cell.trim().replaceAll(String.raw`\|`, '|');
      return { text, code: [...text.matchAll(/`([^`]+)`/g)].map(([, code]) => code!) };
    }),
  );
}

const json = (part: string): unknown => JSON.parse(/```json\n(.*?)```/s.exec(part)![1]!);

/** `q` and what it finds. */
const examples = (heading: string, first: string): [string, string[]][] =>
  table(section(heading), first).map(([q, ids]) => [q!.code[0]!, ids!.code]);

describe('docs/user-search.md', () => {
  const database = openSqlite(join(mkdtempSync(join(tmpdir(), 'usher-search-')), 'usher.db'));
  beforeAll(async () => {
    await prepareTables(database);
    await putUsers(database, json(section('Users')) as TestUser[]);
    await putLogs(database, json(section('Logs')) as TestLog[]);
    return () => database.close();
  });

  it.each(examples('Users', '`q`'))('%s finds these users', async (q, ids) => {
    expect(await foundUsers(database, q)).toEqual(ids);
  });

  it.each(examples('Logs', '`q`'))('%s finds these log entries', async (q, ids) => {
    expect(await foundLogs(database, q)).toEqual(ids);
  });

  it.each(examples('Sorting users', '`sort`'))('%s is this order', async (sort, ids) => {
    expect(await sortedUsers(database, sort)).toEqual(ids);
  });

  it.each(table(section('What is refused'), '`q`').map(([q, column, reason]): [string, number, string] => [q!.code[0]!, Number(column!.text), reason!.text]))(
    '%s is refused at column %i',
    (q, column, reason) => {
      const refuse = (): unknown => searchUsers(database, q);
      expect(refuse).toThrow(SearchSyntaxError);
      expect(refuse).toThrow(`The search query string has an error at column ${column}: `);
      expect(refuse).toThrow(reason);
    },
  );

  it.each([
    ['Users', (q: string) => searchUsers(database, q)],
    ['Logs', (q: string) => searchLogs(database, q)],
  ])('names every field of %s', (heading, search) => {
    const inPage = table(section(heading), 'Field').flatMap(([names]) => names!.code);
    const message = messageOf(() => search('unknown:x'));
    const known = /searched: (.*)\.$/.exec(message)![1]!.split(', ');
    expect(inPage.toSorted()).toEqual(known.toSorted());
  });

  it('names the limits', () => {
    expect(page).toContain('at most 5000 characters, 200 terms, and parentheses 20 deep');
    expect(() => searchUsers(database, `name:${'x'.repeat(4995)}`)).not.toThrow();
    expect(() => searchUsers(database, `name:${'x'.repeat(4996)}`)).toThrow('longer than 5000 characters');
    expect(() => searchUsers(database, Array(200).fill('name:x').join(' '))).not.toThrow();
    expect(() => searchUsers(database, Array(201).fill('name:x').join(' '))).toThrow('more than 200 terms');
    expect(() => searchUsers(database, `${'('.repeat(20)}name:x${')'.repeat(20)}`)).not.toThrow();
    expect(() => searchUsers(database, `${'('.repeat(21)}name:x${')'.repeat(21)}`)).toThrow('nested more than 20 deep');
  });

  it('says rightly what can be sorted by', () => {
    const allowed = /one of (.*)\.$/.exec(messageOf(() => sortUsers(database, '')))![1]!.split(', ');
    const fields = table(section('Users'), 'Field').flatMap(([names]) => names!.code);
    expect(allowed.toSorted()).toEqual(fields.filter((name) => !name.includes('.')).toSorted());
  });
});

function messageOf(fn: () => unknown): string {
  try {
    fn();
  } catch (error) {
    return (error as Error).message;
  }
  throw new Error('nothing was thrown');
}
