import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { DEFAULT_STEP_POLICY } from '../../src/domain/policy.ts';
import { policyAnswer, POLICY_CHANGE } from '../../src/http/actions/policy-settings.ts';
import { BINDINGS_BODY } from '../../src/http/actions/requests.ts';

const page = readFileSync(new URL('../../docs/policies.md', import.meta.url), 'utf8');

/** `retry.quick.attempts` and the like: name, default as JSON, what it may be. */
const rows = [...page.matchAll(/^\| `([a-z_.]+)` \| `(.+?)` \| (.+?) \|/gm)].map(([, name, value, range]) => ({ name: name!, value: value!, range: range! }));

function flat(settings: object, prefix = ''): [string, unknown][] {
  return Object.entries(settings).flatMap(([name, value]: [string, unknown]) =>
    typeof value === 'object' && value !== null ? flat(value, `${prefix}${name}.`) : [[prefix + name, value] as [string, unknown]]);
}

/** `{retry: {quick: {attempts: 3}}}` */
function setting(name: string, value: unknown): object {
  return name.split('.').reduceRight<unknown>((inner, part) => ({ [part]: inner }), value) as object;
}

test('the page tells each setting with its default, and no other', () => {
  expect(new Map(rows.map(({ name, value }) => [name, JSON.parse(value)]))).toEqual(new Map(flat(policyAnswer(DEFAULT_STEP_POLICY))));
});

test.each(rows)('the page tells what $name may be: $range', ({ name, range }) => {
  const isTaken = (value: unknown): boolean => POLICY_CHANGE.safeParse(setting(name, value)).success;
  const numbers = /(\d+) to (\d+)$/.exec(range);
  const words = [...range.matchAll(/`([^`]+)`/g)].map(([, word]) => (word === 'null' ? null : word));
  for (const word of words) expect(isTaken(word), String(word)).toBe(true);
  if (numbers === null) {
    expect(words.length).toBeGreaterThan(0);
    return;
  }
  const [min, max] = [Number(numbers[1]), Number(numbers[2])];
  expect([min - 1, min, max, max + 1].map(isTaken)).toEqual([false, true, true, false]);
});

test('the page\'s requests and settings are taken as they stand', () => {
  const [, body] = /-d '(\{\n[\s\S]+?\n\})'/.exec(page) ?? [];
  expect(BINDINGS_BODY.parse(JSON.parse(body!)).bindings).toHaveLength(2);
  const advice = page.slice(page.indexOf('## Which for what')).split('\n').filter((line) => line.startsWith('| A')).map((line) => line.split('|')[2]!);
  const settings = advice.map((cell) => /`([\w.]+)`?: `?(.+?)`/.exec(cell)!).map(([, name, value]) => setting(name!, JSON.parse(value!)));
  expect(settings.length).toBeGreaterThan(3);
  for (const each of settings) expect(POLICY_CHANGE.safeParse(each)).toMatchObject({ success: true });
});
