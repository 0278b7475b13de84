import type { Bound, FieldName, Query, Value } from './query.ts';
import { createScanner, indexIn, isPlain, textOf, type Word } from './scanner.ts';
import { quoted } from './search-syntax-error.ts';

/** Parentheses within parentheses. */
const MAX_DEPTH = 20;
/** Each is a condition of the SQL statement; SQLite takes expressions up to a depth of 1000. */
const MAX_TERMS = 200;

/** A clause with the operator that stands before it. */
interface Clause {
  query: Query;
  operator: 'and' | 'or' | null;
  isNegated: boolean;
  column: number;
}

const OPERATORS = ['AND', '&&', 'OR', '||', 'NOT', '!'];

/**
 * Understands a search query: a subset of Lucene's syntax, which `docs/user-search.md` describes.
 *
 * Precedence as Auth0's documentation has it: NOT before AND before OR. Terms without an operator between them: one of
 * those that are not negated must match, and none of the negated ones (Lucene's default, and what Auth0's page "User
 * Search Query Syntax" of version 2 says; that of version 3 says nothing else). Operators partly written and partly
 * left out in one group are refused, because there the engines' answers differ.
 *
 * @throws {SearchSyntaxError} for anything else.
 */
export function parseQuery(text: string): Query {
  const scanner = createScanner(text);
  let terms = 0;
  let depth = 0;

  const query = readClauses(null);
  if (scanner.peek() === ')') scanner.fail(scanner.column(), 'this parenthesis was not opened');
  return query;

  /** Clauses up to a closing parenthesis or the end. `field`: the one of `field:(…)`, whose values these are. */
  function readClauses(field: FieldName | null): Query {
    const clauses: Clause[] = [];
    do {
      const operator = clauses.length === 0 ? null : readOperator();
      scanner.skipSpaces();
      const column = scanner.column();
      const isNegated = scanner.take('-') || scanner.take('!') || scanner.takeOperator('NOT') !== null;
      const query = readClause(field);
      clauses.push({ query: isNegated ? { type: 'not', clause: query } : query, operator, isNegated, column });
      scanner.skipSpaces();
    } while (scanner.peek() !== undefined && scanner.peek() !== ')');
    return combine(clauses);
  }

  function readOperator(): 'and' | 'or' | null {
    if (scanner.takeOperator('AND', '&&') !== null) return 'and';
    return scanner.takeOperator('OR', '||') === null ? null : 'or';
  }

  function combine(clauses: Clause[]): Query {
    const [first, ...rest] = clauses;
    if (rest.every(({ operator }) => operator === null)) {
      const wanted = clauses.filter(({ isNegated }) => !isNegated).map(({ query }) => query);
      const unwanted = clauses.filter(({ isNegated }) => isNegated).map(({ query }) => query);
      return join('and', [...(wanted.length === 0 ? [] : [join('or', wanted)]), ...unwanted]);
    }
    const bare = rest.find(({ operator }) => operator === null);
    if (bare !== undefined) scanner.fail(bare.column, 'AND or OR is missing before this, as the other operators here are written');
    const alternatives: Query[][] = [[first!.query]];
    for (const { query, operator } of rest) {
      if (operator === 'or') alternatives.push([query]);
      else alternatives.at(-1)!.push(query);
    }
    return join('or', alternatives.map((queries) => join('and', queries)));
  }

  function readClause(field: FieldName | null): Query {
    scanner.skipSpaces();
    if (scanner.peek() === '(') return readGroup(field);
    if (field !== null) return readValue(field);
    if (scanner.peek() === '"') scanner.fail(scanner.column(), 'a phrase without a field is not supported: write field:"a phrase"');
    const word = scanner.readWord();
    if (word.chars.length === 0 || OPERATORS.some((each) => isPlain(word, each))) failAt(word, 'field:value');
    scanner.skipSpaces();
    if (!scanner.take(':')) {
      scanner.fail(word.column, `${quoted(textOf(word))} is a term without a field, which is not supported: write field:value, and a value with spaces in quotes`);
    }
    if (!isPlain(word, '_exists_')) return readValue(fieldName(word));
    scanner.skipSpaces();
    const name = scanner.readWord();
    if (name.chars.length === 0) scanner.failHere('the name of a field, as in _exists_:field,');
    scanner.expectGap();
    count(name.column);
    return { type: 'exists', field: fieldName(name) };
  }

  function readGroup(field: FieldName | null): Query {
    const column = scanner.column();
    scanner.take('(');
    if (++depth > MAX_DEPTH) scanner.fail(column, `parentheses are nested more than ${MAX_DEPTH} deep`);
    const query = readClauses(field);
    if (!scanner.take(')')) scanner.fail(column, 'this parenthesis is not closed');
    depth--;
    scanner.expectGap();
    return query;
  }

  function readValue(field: FieldName): Query {
    scanner.skipSpaces();
    const next = scanner.peek();
    if (next === '(') return readGroup(field);
    const query = next === '[' || next === '{' ? readRange(field) : readSingle(field);
    scanner.expectGap();
    count(field.column);
    return query;
  }

  function readSingle(field: FieldName): Query {
    if (scanner.peek() === '"') return { type: 'equals', field, value: scanner.readPhrase() };
    const word = scanner.readWord();
    if (word.chars.length === 0 || OPERATORS.some((each) => isPlain(word, each))) failAt(word, 'a value');
    const comparison = readComparison(field, word);
    if (comparison !== null) return comparison;
    const star = indexIn(word, '*');
    if (star === -1) return { type: 'equals', field, value: valueOf(word) };
    if (star !== word.chars.length - 1) {
      scanner.fail(word.column + columnsOf(word, star), 'a wildcard is supported only at the end of a value, as in field:start*');
    }
    if (star === 0) return { type: 'exists', field };
    return { type: 'prefix', field, value: valueOf({ ...word, chars: word.chars.slice(0, -1) }) };
  }

  /** `>5`, `>=5`, `<5`, `<=5`; null when the word is none of them. */
  function readComparison(field: FieldName, word: Word): Query | null {
    const isPlainChar = (index: number, char: string): boolean => word.chars[index]?.char === char && !word.chars[index].escaped;
    const isGreater = isPlainChar(0, '>');
    if (!isGreater && !isPlainChar(0, '<')) return null;
    const inclusive = isPlainChar(1, '=');
    const length = inclusive ? 2 : 1;
    const rest: Word = { chars: word.chars.slice(length), column: word.column + length };
    if (rest.chars.length === 0 && scanner.peek() !== '"') scanner.failHere(`a value after ${quoted(textOf(word))}`);
    const value = rest.chars.length === 0 ? scanner.readPhrase() : boundOf(rest);
    if (value === null) scanner.fail(rest.column, 'a wildcard cannot be compared with');
    const bound = toBound(value, inclusive);
    return { type: 'range', field, from: isGreater ? bound : null, to: isGreater ? null : bound };
  }

  function readRange(field: FieldName): Query {
    const column = scanner.column();
    const isFromInclusive = scanner.take('[') || !scanner.take('{');
    const from = readBound();
    scanner.skipSpaces();
    if (!isPlain(scanner.readBound(), 'TO')) scanner.fail(column, 'this range is not of the form [from TO to]');
    const to = readBound();
    scanner.skipSpaces();
    const isToInclusive = scanner.take(']');
    if (!isToInclusive && !scanner.take('}')) scanner.fail(column, 'this range is not closed by ] or }');
    if (from === null && to === null) return { type: 'exists', field };
    return { type: 'range', field, from: toBound(from, isFromInclusive), to: toBound(to, isToInclusive) };
  }

  /** One end of a range; null when it is open. */
  function readBound(): Value | null {
    scanner.skipSpaces();
    if (scanner.peek() === '"') return scanner.readPhrase();
    const word = scanner.readBound();
    if (word.chars.length === 0 || isPlain(word, 'TO')) failAt(word, 'an end of the range, as in [from TO to],');
    return boundOf(word);
  }

  function boundOf(word: Word): Value | null {
    if (isPlain(word, '*')) return null;
    const star = indexIn(word, '*');
    if (star !== -1) scanner.fail(word.column + columnsOf(word, star), 'a wildcard in a range is supported only as its open end');
    return valueOf(word);
  }

  /** Refuses a word; an empty one means that the character after it is in the way. */
  function failAt(word: Word, expected: string): never {
    if (word.chars.length === 0) return scanner.failHere(expected);
    return scanner.fail(word.column, `${quoted(textOf(word))} stands where ${expected} is expected`);
  }

  function fieldName(word: Word): FieldName {
    const path: string[] = [''];
    for (const { char, escaped } of word.chars) {
      if (char === '*' && !escaped) scanner.fail(word.column, 'a wildcard in the name of a field is not supported');
      if (char === '.' && !escaped) path.push('');
      else path[path.length - 1] += char;
    }
    if (path.includes('')) scanner.fail(word.column, `${quoted(textOf(word))} is not the name of a field: a part is empty`);
    return { path, column: word.column };
  }

  function count(column: number): void {
    if (++terms > MAX_TERMS) scanner.fail(column, `the query has more than ${MAX_TERMS} terms`);
  }
}

function join(type: 'and' | 'or', clauses: Query[]): Query {
  return clauses.length === 1 ? clauses[0]! : { type, clauses };
}

function toBound(value: Value | null, inclusive: boolean): Bound | null {
  return value === null ? null : { ...value, inclusive };
}

function valueOf(word: Word): Value {
  return { text: textOf(word), column: word.column };
}

/** How many characters of the query, backslashes counted, stand before the one at `index` of the word. */
function columnsOf(word: Word, index: number): number {
  return word.chars.slice(0, index).reduce((sum, { escaped }) => sum + (escaped ? 2 : 1), 0);
}
