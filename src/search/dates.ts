/** The time that a date text means: from its first millisecond to, not including, the first one after it. */
export interface Period {
  from: number;
  to: number;
}

const FORM = /^([1-9]\d{3})(?:-(\d\d)(?:-(\d\d)(?:T(\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,9}))?)?(Z|[+-]\d\d:\d\d)?)?)?)?$/;

/**
 * Reads `2024`, `2024-01`, `2024-01-31`, `2024-01-31T10:20`, with seconds, with a fraction (read to the millisecond),
 * with `Z` or an offset; without one it is UTC. Null for anything else, and for days and times that do not exist.
 */
export function parsePeriod(text: string): Period | null {
  const match = FORM.exec(text);
  if (match === null) return null;
  const [, year, month, day, hour, minute, second, fraction, offset] = match;
  const parts = [year, month, day, hour, minute, second].filter((part) => part !== undefined).map(Number);
  // Months count from 1 in the text and from 0 here.
  const start = [parts[0]!, (parts[1] ?? 1) - 1, parts[2] ?? 1, parts[3] ?? 0, parts[4] ?? 0, parts[5] ?? 0] as const;
  const offsetMs = parseOffset(offset);
  if (offsetMs === null || !exists(start)) return null;
  const milliseconds = fraction === undefined ? 0 : Number(fraction.padEnd(3, '0').slice(0, 3));
  const from = Date.UTC(...start) + milliseconds - offsetMs;
  if (fraction !== undefined) return { from, to: from + 1 };
  // The last part that is there, one further.
  const next = start.map((part, index) => (index === parts.length - 1 ? part + 1 : part)) as unknown as typeof start;
  return { from, to: Date.UTC(...next) - offsetMs };
}

type Parts = readonly [year: number, month: number, day: number, hour: number, minute: number, second: number];

/** False for 30 February, 25 o'clock and the like, which `Date.UTC` carries over. */
function exists(parts: Parts): boolean {
  const date = new Date(Date.UTC(...parts));
  const there = [date.getUTCFullYear(), date.getUTCMonth(), date.getUTCDate(), date.getUTCHours(), date.getUTCMinutes(), date.getUTCSeconds()];
  return parts.every((part, index) => part === there[index]);
}

function parseOffset(offset: string | undefined): number | null {
  if (offset === undefined || offset === 'Z') return 0;
  const [hours, minutes] = offset.slice(1).split(':').map(Number) as [number, number];
  if (hours > 23 || minutes > 59) return null;
  return (offset.startsWith('-') ? -1 : 1) * (hours * 60 + minutes) * 60_000;
}
