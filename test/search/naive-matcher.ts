import * as fc from 'fast-check';
import type { TestUser } from './search-store.ts';

/** A query as text, and by plain JavaScript whether a user matches. */
export interface Search {
  q: string;
  matches(user: TestUser): boolean;
}

/** Texts that SQL, Lucene, JSON or Unicode could trip over. */
const WORDS = [
  'a', 'A', 'ab', 'a b', 'É', 'é', 'İ', 'ΑΣ', 'ας', '😀', 'a😀', 'a\uffff', '\ud7ff', '\ue000', '\u{10ffff}', '%', 'a%', '_', '*', 'a*', '?', '"', "'", '\\', '\\u0000', ';--', '$1', '(', ')', '[', '-a',
  '+1', 'OR', 'NOT', 'TO', '>=1', '&&', 'null', 'true', 'false', '0', '13', '13.0', '-5', '1e3', '1e999', '0x10', ' ', 'a\tb', 'a|b', 'a.b',
];
const KEYS = ['k', 'l', 'a.b', '__proto__', 'constructor', '0', '', '$', '"', 'é', '*'];
/** Keys that a query can name. */
const NAMES = KEYS.filter((key) => key !== '');
const DATES = ['2023-12-31T23:59:59.999Z', '2024-01-01T00:00:00.000Z', '2024-01-31T12:30:15.500Z', '2024-02-01T00:00:00.000Z', '2024-02-29T10:00:00.001Z', '2025-06-15T08:00:00.000Z'];
const DATE_LENGTHS = [4, 7, 10, 16, 19, 23];

const word = fc.constantFrom(...WORDS);
const optional = <T>(value: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> => fc.option(value, { nil: undefined });
const name = fc.constantFrom(...NAMES);

/** Objects of metadata; NUL and a half surrogate pair are among the texts. */
const metadata = fc.letrec<{ value: unknown; object: object }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 4, depthSize: 'small' },
    word, fc.constantFrom('a\0', '\ud800', '\ud800\u0000'), fc.constantFrom(0, 13, -5, 1000, 0.1, 1e21), fc.boolean(), fc.constant(null),
    fc.array(tie('value'), { maxLength: 3 }), tie('object'),
  ),
  object: fc.array(fc.tuple(fc.constantFrom(...KEYS), tie('value')), { maxLength: 4 }).map((entries) => Object.fromEntries(entries) as object),
})).object;

/** Users without ids, which must differ, and without an address twice. */
export const userDetails: fc.Arbitrary<Partial<TestUser>> = fc.record({
  connection: fc.constantFrom('Username-Password-Authentication', 'customers', 'sms'),
  email_verified: fc.boolean(),
  phone_number: optional(word),
  phone_verified: fc.boolean(),
  blocked: fc.boolean(),
  logins_count: fc.constantFrom(0, 13, 1000),
  last_ip: optional(word),
  last_login: optional(fc.constantFrom(...DATES)),
  created_at: fc.constantFrom(...DATES),
  name: optional(word),
  nickname: optional(word),
  picture: optional(word),
  user_metadata: metadata,
  app_metadata: metadata,
}) as fc.Arbitrary<Partial<TestUser>>;

type Column = Exclude<keyof TestUser, 'user_metadata' | 'app_metadata' | 'connection'>;
const textColumns = fc.constantFrom<{ column: Column; ignoresCase: boolean }>(
  ...(['name', 'nickname', 'email'] as const).map((column) => ({ column, ignoresCase: true })),
  ...(['picture', 'username', 'phone_number', 'last_ip', 'user_id'] as const).map((column) => ({ column, ignoresCase: false })),
);

const text: fc.Arbitrary<Search> = fc.tuple(textColumns, fc.constantFrom('equals', 'prefix', '[]', '{}', '>', '<=', 'exists'), word, word, fc.boolean()).map(
  ([{ column, ignoresCase }, form, first, second, inQuotes]) => {
    const fold = (each: string): string => (ignoresCase ? each.toLowerCase() : each);
    const compare = (value: string, other: string): number => Buffer.compare(Buffer.from(value), Buffer.from(fold(other)));
    const [q, test] = ({
      equals: [written(first, inQuotes), (value: string) => value === fold(first)],
      prefix: [`${written(first, false)}*`, (value: string) => value.startsWith(fold(first))],
      '[]': [`[${written(first, inQuotes)} TO ${written(second, true)}]`, (value: string) => compare(value, first) >= 0 && compare(value, second) <= 0],
      '{}': [`{${written(first, inQuotes)} TO ${written(second, false)}}`, (value: string) => compare(value, first) > 0 && compare(value, second) < 0],
      '>': [`>${written(first, inQuotes)}`, (value: string) => compare(value, first) > 0],
      '<=': [`<=${written(first, inQuotes)}`, (value: string) => compare(value, first) <= 0],
      exists: ['*', () => true],
    } satisfies Record<string, [string, (value: string) => boolean]>)[form as 'equals'];
    return { q: `${column}:${q}`, matches: (user) => user[column] !== undefined && test(fold(String(user[column]))) };
  },
);

const date: fc.Arbitrary<Search> = fc.tuple(fc.constantFrom('created_at' as const, 'last_login' as const), fc.constantFrom('equals', '[*]', '[*}', '{*]', '[]'), fc.constantFrom(...DATES), fc.constantFrom(...DATE_LENGTHS)).map(
  ([column, form, at, length]) => {
    const operand = at.slice(0, length);
    // What is left out of the operand does not matter in the user's date either.
    const [q, test] = ({
      equals: [`"${operand}"`, (shown: string) => shown === operand],
      '[*]': [`[* TO ${operand}]`, (shown: string) => shown <= operand],
      '[*}': [`[* TO ${operand}}`, (shown: string) => shown < operand],
      '{*]': [`{${operand} TO *]`, (shown: string) => shown > operand],
      '[]': [`[${operand} TO "${operand}"]`, (shown: string) => shown === operand],
    } satisfies Record<string, [string, (shown: string) => boolean]>)[form as 'equals'];
    return { q: `${column}:${q}`, matches: (user) => user[column] !== undefined && test(user[column].slice(0, length)) };
  },
);

const flag: fc.Arbitrary<Search> = fc.tuple(fc.constantFrom('blocked' as const, 'email_verified' as const, 'phone_verified' as const), fc.boolean()).map(([column, wanted]) => {
  const address = { blocked: 'user_id', email_verified: 'email', phone_verified: 'phone_number' }[column] as Column;
  return { q: `${column}:${wanted}`, matches: (user) => user[address] !== undefined && user[column] === wanted };
});

const number: fc.Arbitrary<Search> = fc.constantFrom(0, 12.5, 13, 1e30, -1).chain((than) => fc.constantFrom<Search>(
  { q: `logins_count:"${than}"`, matches: (user) => user.logins_count === than },
  { q: `logins_count:>="${than}"`, matches: (user) => user.logins_count! >= than },
  { q: `logins_count:{* TO ${than}}`, matches: (user) => user.logins_count! < than },
));

const connection: fc.Arbitrary<Search> = fc.constantFrom<Search>(
  { q: 'identities.connection:customers', matches: (user) => user.connection === 'customers' },
  { q: 'identities.connection:U*', matches: (user) => user.connection!.startsWith('U') },
  { q: 'identities.connection:{customers TO *]', matches: (user) => user.connection === 'sms' },
);

const inMetadata: fc.Arbitrary<Search> = fc.tuple(fc.constantFrom('user_metadata' as const, 'app_metadata' as const), fc.array(name, { minLength: 1, maxLength: 3 }), optional(word), fc.boolean()).map(
  ([root, path, wanted, inQuotes]) => {
    const field = [root, ...path.map((part) => written(part, false))].join('.');
    const found = (user: TestUser): Leaf[] => leaves(JSON.parse(JSON.stringify(user[root])), []).filter(({ value }) => value !== null);
    const isBelow = (leaf: Leaf): boolean => path.every((part, index) => leaf.path[index] === part);
    if (wanted === undefined) return { q: `_exists_:${field}`, matches: (user) => found(user).some(isBelow) };
    const isWanted = ({ value }: Leaf): boolean =>
      value === wanted || (typeof value === 'boolean' && String(value) === wanted) || (typeof value === 'number' && /^[-\d][\d.e]*$/.test(wanted) && value === Number(wanted));
    return { q: `${field}:${written(wanted, inQuotes)}`, matches: (user) => found(user).some((leaf) => leaf.path.length === path.length && isBelow(leaf) && isWanted(leaf)) };
  },
);

interface Leaf {
  path: string[];
  value: unknown;
}

/** All scalars with their paths, in which arrays do not count. */
function leaves(value: unknown, path: string[]): Leaf[] {
  if (Array.isArray(value)) return value.flatMap((each) => leaves(each, path));
  if (typeof value !== 'object' || value === null) return [{ path, value }];
  return Object.entries(value).flatMap(([key, each]) => leaves(each, [...path, key]));
}

/** A value or a name as a query has it: in quotes, or with a backslash before all that could mean something. */
function written(value: string, inQuotes: boolean): string {
  if (inQuotes) return `"${value.replaceAll(/["\\]/g, String.raw`\$&`)}"`;
  return /^(OR|NOT|TO|&&)$/.test(value) ? `\\${value}` : value.replaceAll(/[^\w]/gu, String.raw`\$&`);
}

/** Queries of every form, nested. */
export const search: fc.Arbitrary<Search> = fc.letrec<{ search: Search; term: Search }>((tie) => ({
  term: fc.oneof({ weight: 3, arbitrary: text }, date, flag, number, connection, { weight: 3, arbitrary: inMetadata }),
  search: fc.oneof(
    { maxDepth: 4, depthSize: 'small' },
    tie('term'),
    fc.tuple(tie('search'), fc.constantFrom('NOT ', '-', '!')).map(([{ q, matches }, not]) => ({ q: `${not}(${q})`, matches: (user: TestUser) => !matches(user) })),
    fc.array(tie('search'), { minLength: 2, maxLength: 4 }).map((all) => ({ q: group(all, ' AND '), matches: (user: TestUser) => all.every(({ matches }) => matches(user)) })),
    fc.array(tie('search'), { minLength: 2, maxLength: 4 }).map((all) => ({ q: group(all, ' || '), matches: (user: TestUser) => all.some(({ matches }) => matches(user)) })),
    // AND before OR, without parentheses.
    fc.tuple(tie('search'), tie('search'), tie('search')).map(([a, b, c]) => ({
      q: `(${a.q}) OR (${b.q}) && NOT (${c.q})`,
      matches: (user: TestUser) => a.matches(user) || (b.matches(user) && !c.matches(user)),
    })),
    // No operators: one of those without a minus, and none of those with it.
    fc.tuple(fc.array(tie('search'), { minLength: 1, maxLength: 3 }), fc.array(tie('search'), { maxLength: 2 })).map(([wanted, unwanted]) => ({
      q: [group(wanted, ' '), ...unwanted.map(({ q }) => `-(${q})`)].join(' '),
      matches: (user: TestUser) => wanted.some(({ matches }) => matches(user)) && !unwanted.some(({ matches }) => matches(user)),
    })),
  ),
})).search;

function group(searches: Search[], operator: string): string {
  return searches.map(({ q }) => `(${q})`).join(operator);
}
