import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { VARIABLES } from '../src/config.ts';

const ROOT = new URL('..', import.meta.url).pathname;
const read = (file: string): string => readFileSync(join(ROOT, file), 'utf8');
const readme = read('README.md');

/** The rows of the table whose first heading this is, as their cells. */
function table(heading: string): string[][] {
  const lines = readme.split('\n');
  const start = lines.findIndex((line) => line.startsWith(`| ${heading} |`));
  expect(start, `a table "${heading}"`).toBeGreaterThan(-1);
  const rest = lines.slice(start + 2);
  const rows = rest.slice(0, rest.findIndex((line) => !line.startsWith('|')));
  return rows.map((row) => row.slice(1, -1).split('|').map((cell) => cell.trim()));
}

test('the README tells each variable as the program knows it: name, default, what it is', () => {
  const known = Object.entries(VARIABLES).map(([name, variable]) => [`\`${name}\``, variable.default, variable.about]);
  expect(table('Variable')).toEqual(known);
});

test('the README tells each type of an Action\'s error, and no other', () => {
  const [, union] = /export type ActionErrorType =([^;]+);/.exec(read('src/domain/invocation.ts'))!;
  const types = [...union!.matchAll(/'(\w+)'/g)].map(([, type]) => `\`${type}\``);
  expect(types.length).toBeGreaterThan(3);
  expect(new Set(table('Type').map(([type]) => type))).toEqual(new Set(types));
});

test('the README\'s map names folders and files that are there', () => {
  const names = table('Folder').flatMap(([cell]) => [...cell!.matchAll(/`([^`]+)`/g)].map(([, name]) => name!));
  expect(names).toContain('workflows/');
  for (const name of names) expect(statSync(join(ROOT, name)).isDirectory(), name).toBe(name.endsWith('/'));
});

test('the README\'s commands are those of package.json', () => {
  const { scripts } = JSON.parse(read('package.json')) as { scripts: Record<string, string> };
  const named = [...readme.matchAll(/npm run ([\w:-]+)|npm (start|test)\b/g)].map(([, script, short]) => script ?? short!);
  expect(new Set(named)).toContain('start');
  for (const name of named) expect(Object.keys(scripts)).toContain(name);
});

test.each(['docs/a-hundred-lines-of-temporal.md', 'docs/reliability.md'])('%s names tests that are there', (page) => {
  const named = [...read(page).matchAll(/`(test\/[\w/.-]+\.test\.ts)`: "([^"]+)"/g)];
  expect(named.length).toBeGreaterThan(5);
  for (const [, file, title] of named) expect(read(file!).replaceAll("\\'", "'"), `${file}: ${title}`).toContain(title);
});
