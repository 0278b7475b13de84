/** What keeps us from trying can be over any moment, so the pauses between our tries grow to no more than this. */
const MAX_HOLD_MS = 30_000;

/**
 * How long a step that is held waits until it is asked about again, in milliseconds: each time twice as long, to an end.
 *
 * @param held as `RunActionResult` has it. @param holds how often it has been held before.
 */
export function holdPauseMs({ delayMs, leaseEndsInMs = Infinity }: { delayMs: number; leaseEndsInMs?: number }, holds: number): number {
  return Math.max(delayMs, Math.min(delayMs * 2 ** holds, MAX_HOLD_MS, leaseEndsInMs));
}
