/** Ids and stamps that are made in code, so that they are the same on every store. */

const COUNTER_BITS = 12;
let lastIdMs = 0;
let idCounter = 0;

/**
 * Makes an id (UUID version 7, RFC 9562) that sorts by time, and within this process by the order of the calls even
 * when the clock stands still or is set back.
 */
export function newId(): string {
  const now = Date.now();
  const random = crypto.getRandomValues(new Uint8Array(10));
  if (now > lastIdMs) {
    lastIdMs = now;
    // The highest bit stays free, so that a millisecond has room for at least 2048 ids.
    idCounter = ((random[0]! << 8) | random[1]!) & (2 ** (COUNTER_BITS - 1) - 1);
  } else if (++idCounter >= 2 ** COUNTER_BITS) {
    lastIdMs++;
    idCounter = 0;
  }
  const time = timePart(lastIdMs);
  const counter = idCounter.toString(16).padStart(3, '0');
  const variant = (0x80 | (random[2]! & 0x3f)).toString(16);
  const tail = hex(random.subarray(3));
  return `${time}-7${counter}-${variant}${tail.slice(0, 2)}-${tail.slice(2)}`;
}

/** The smallest id that `newId` can make at a time, in milliseconds since the epoch. */
export function firstIdOf(ms: number): string {
  return `${timePart(Math.max(0, ms))}-7000-8000-000000000000`;
}

function timePart(ms: number): string {
  const time = ms.toString(16).padStart(12, '0');
  return `${time.slice(0, 8)}-${time.slice(8)}`;
}

const processPart = hex(crypto.getRandomValues(new Uint8Array(5)));
let userCounter = crypto.getRandomValues(new Uint32Array(1))[0]! & 0xffffff;

/** Makes the part of a user's id after `auth0|`: 24 hex digits in the form of an ObjectId, as Auth0's are. */
export function newUserId(): string {
  userCounter = (userCounter + 1) & 0xffffff;
  const seconds = Math.floor(Date.now() / 1000);
  return seconds.toString(16).padStart(8, '0') + processPart + userCounter.toString(16).padStart(6, '0');
}

let lastNanos = 0n;

/** The time now as ISO text with nanoseconds, the form of Auth0's Action stamps; each call in a process gives a later one. */
export function nowIsoNanos(): string {
  const nanos = BigInt(Date.now()) * 1_000_000n + (process.hrtime.bigint() % 1_000_000n);
  lastNanos = nanos > lastNanos ? nanos : lastNanos + 1n;
  const seconds = new Date(Number(lastNanos / 1_000_000_000n) * 1000).toISOString().slice(0, 19);
  return `${seconds}.${String(lastNanos % 1_000_000_000n).padStart(9, '0')}Z`;
}

function hex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}
