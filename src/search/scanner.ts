import { quoted, SearchSyntaxError } from './search-syntax-error.ts';

/** One character of a word; with a backslash before it, it has no meaning but itself. */
interface Char {
  char: string;
  escaped: boolean;
}

/** Characters without a space, e.g. a field's name, an operator or a value. Empty where something else stands. */
export interface Word {
  chars: Char[];
  column: number;
}

/** Longer queries are refused; 100 user ids with their quotes and ORs fit. */
const MAX_CHARS = 5000;

/** Lucene's whitespace; https://github.com/apache/lucene, `QueryParser.jj`. */
const SPACES = new Set([' ', '\t', '\n', '\r', '\u3000']);

/** What ends a word. A `*` is a part of it, so that its place can be checked. */
const WORD_ENDS = new Set([...SPACES, ...Array.from('()[]{}":^~?/!')]);

/** In a range colons and the like are plain, so that times need no quotes. */
const BOUND_ENDS = new Set([...SPACES, ...Array.from('()[]{}"')]);

/** What the characters mean to Lucene that mean nothing here. */
const NOT_SUPPORTED: Record<string, string> = {
  '~': 'fuzzy and proximity searches are not supported',
  '^': 'boosting is not supported',
  '?': 'a wildcard for one character is not supported',
  '/': 'regular expressions are not supported',
  ':': 'a colon in a value needs a backslash or quotes',
};

const SUPPORTED =
  'Supported are field:value, field:"a phrase", field:start*, field:[from TO to], field:{from TO to}, field:>=value, ' +
  'field:(…), _exists_:field, AND, OR, NOT, - and parentheses; other special characters need a backslash or quotes.';

export type Scanner = ReturnType<typeof createScanner>;

/**
 * Reads a query character by character; every function leaves off behind what it has read.
 *
 * @throws {SearchSyntaxError} at once for a query that is empty or too long, or that no stored text can equal: NUL and
 * halves of surrogate pairs, which PostgreSQL refuses.
 */
export function createScanner(query: string) {
  const chars = Array.from(query);
  let at = 0;

  if (chars.length > MAX_CHARS) throw new SearchSyntaxError(MAX_CHARS + 1, `the query is longer than ${MAX_CHARS} characters.`);
  const bad = chars.findIndex((char) => char === '\0' || !char.isWellFormed());
  if (bad >= 0) throw new SearchSyntaxError(bad + 1, 'here stands a character that no text can have (NUL or half a surrogate pair).');

  function fail(column: number, problem: string): never {
    throw new SearchSyntaxError(column, `${problem}. ${SUPPORTED}`);
  }

  function peek(): string | undefined {
    return chars[at];
  }

  /** Refuses what stands next. */
  function failHere(expected: string): never {
    const char = peek();
    if (char === undefined) return fail(at + 1, `the query ends where ${expected} is expected`);
    const meaning = NOT_SUPPORTED[char];
    return fail(at + 1, `${quoted(char)} stands where ${expected} is expected${meaning === undefined ? '' : ` (${meaning})`}`);
  }

  function readUntil(ends: Set<string>): Word {
    const word: Word = { chars: [], column: at + 1 };
    for (let char = peek(); char !== undefined && !ends.has(char); char = peek()) {
      const escaped = char === '\\';
      if (escaped) at++;
      const meant = chars[at];
      if (meant === undefined) fail(at, 'a backslash stands at the end, with nothing to escape');
      word.chars.push({ char: meant, escaped });
      at++;
    }
    return word;
  }

  return {
    fail,
    failHere,
    peek,
    column: (): number => at + 1,

    /** Takes the next character if it is `char`. */
    take(char: string): boolean {
      const isThere = peek() === char;
      if (isThere) at++;
      return isThere;
    },

    skipSpaces(): void {
      while (SPACES.has(chars[at] ?? '')) at++;
    },

    readWord(): Word {
      // Within a word they are plain characters, at its beginning operators.
      const isOperator = peek() === '-' || peek() === '+';
      return isOperator ? { chars: [], column: at + 1 } : readUntil(WORD_ENDS);
    },

    /** Reads an end of a range. */
    readBound: (): Word => readUntil(BOUND_ENDS),

    /** Takes the next word if it is one of `operators`, which mean something in capitals only. */
    takeOperator(...operators: string[]): string | null {
      const start = at;
      const word = readUntil(WORD_ENDS);
      const operator = operators.find((each) => isPlain(word, each));
      if (operator === undefined) at = start;
      return operator ?? null;
    },

    /** Reads what stands in double quotes; the first one is next. */
    readPhrase(): { text: string; column: number } {
      const column = at + 1;
      at++;
      let text = '';
      for (let char = peek(); char !== '"'; char = peek()) {
        if (char === '\\') at++;
        const meant = chars[at];
        if (meant === undefined) fail(column, 'these quotes are not closed');
        text += meant;
        at++;
      }
      at++;
      return { text, column };
    },

    /** A value or a parenthesis is over: only a space, a closing parenthesis or the end may be next. */
    expectGap(): void {
      const char = peek();
      if (char !== undefined && char !== ')' && !SPACES.has(char)) failHere('a space or the end');
    },
  };
}

/** The word without its backslashes. */
export function textOf(word: Word): string {
  return word.chars.map(({ char }) => char).join('');
}

/** True when the word is `text` without any backslash. */
export function isPlain(word: Word, text: string): boolean {
  return textOf(word) === text && word.chars.every(({ escaped }) => !escaped);
}

/** Where in the word the first `char` without a backslash is; -1 when there is none. */
export function indexIn(word: Word, char: string): number {
  return word.chars.findIndex((each) => each.char === char && !each.escaped);
}
