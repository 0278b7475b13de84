import { LIMITS } from './limits.ts';

/**
 * What no store and no Action can take in a value that came as JSON: NUL characters, half surrogate pairs, and nesting
 * deeper than `LIMITS.jsonDepth`: the rest of a sentence about it, or null when there is none of it.
 */
export function unsafeText(json: unknown): string | null {
  // Without recursion: the nesting comes from outside.
  const open: { value: unknown; depth: number }[] = [{ value: json, depth: 0 }];
  for (let item = open.pop(); item !== undefined; item = open.pop()) {
    const { value, depth } = item;
    if (typeof value === 'string') {
      const problem = problemInText(value);
      if (problem !== null) return problem;
    } else if (typeof value === 'object' && value !== null) {
      if (depth >= LIMITS.jsonDepth) return `is nested deeper than ${LIMITS.jsonDepth} levels`;
      for (const [key, inner] of Object.entries(value)) open.push({ value: key, depth }, { value: inner, depth: depth + 1 });
    }
  }
  return null;
}

function problemInText(text: string): string | null {
  if (text.includes('\0')) return 'holds a NUL character';
  return text.isWellFormed() ? null : 'holds half of a surrogate pair';
}
